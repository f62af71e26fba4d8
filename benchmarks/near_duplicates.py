"""Near-duplicate search, side by side: Chinese questions → those that nearly repeat another.

    python benchmarks/near_duplicates.py
    python benchmarks/near_duplicates.py --peer-python PEER/bin/python

Every side works with 128 permutations of runs of three characters and looks for a Jaccard
similarity of 0.8. Peers stop at candidates from their bands; Tunewright also brings texts to
their normal form, confirms each pair exactly, and joins pairs into clusters. One text in twenty
is another with one character put in: the share of these that is found stands in the table.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
_PAIRS = (
    "合同押金房东租客公司工资加班劳动社保辞退赔偿起诉法院证据协议离婚抚养财产继承遗嘱借款利息担保抵押"
    "交通事故责任保险医院手术病历消费退款商家平台快递质量维修物业业主邻居噪音装修定金违约解除期限通知"
)
WORDS = [_PAIRS[place : place + 2] for place in range(0, len(_PAIRS), 2)]
PLANTED = 0.05


def make_texts(path: Path, rows: int, seed: int = 0) -> int:
    """Write one question of about 30 characters a line.

    Returns:
        How many texts at the end nearly repeat one before them.
    """
    draw = random.Random(seed)
    planted = int(rows * PLANTED)
    texts = ["".join(draw.choices(WORDS, k=draw.randint(12, 18))) for _ in range(rows - planted)]
    for text in draw.sample(texts, planted):
        place = draw.randrange(len(text))
        texts.append(text[:place] + draw.choice("的了吗呢") + text[place:])
    path.write_text("\n".join(texts) + "\n", encoding="utf-8")
    return planted


def sides(pythons: list[str]) -> dict[str, list[str]]:
    """Name → command line, without the file."""
    worker = str(HERE / "peers" / "near_worker.py")
    found = {"tunewright": [sys.executable, str(HERE / "ours_near_worker.py")]}
    for python in pythons:
        for module, ways in (("datasketch", ("datasketch",)), ("rensa", ("rensa", "rensa-matrix"))):
            if _has(python, module):
                found.update({way: [python, worker, way] for way in ways})
    return found


def _has(python: str, module: str) -> bool:
    program = f"import importlib.util as u, sys; sys.exit(u.find_spec({module!r}) is None)"
    return subprocess.run([python, "-c", program]).returncode == 0


def measure(command: list[str], source: Path, planted: int, limit: float) -> dict[str, float]:
    """Run one side once.

    Raises:
        RuntimeError: when it fails or leaves no measurement.
    """
    done = subprocess.run(
        [*command, str(source), str(planted)], capture_output=True, text=True, timeout=limit
    )
    lines = [line for line in done.stdout.splitlines() if line.startswith("METER ")]
    if done.returncode or not lines:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stderr[-2000:]}")
    report: dict[str, float] = json.loads(lines[-1].removeprefix("METER "))
    return report


def table(results: dict[str, list[dict[str, float]]], rows: int) -> str:
    """Medians of every side, and how many times Tunewright is faster."""
    seconds = {n: statistics.median(run["seconds"] for run in runs) for n, runs in results.items()}
    ours = next(iter(seconds.values()))
    lines = [
        "| run | texts/s | ours ÷ theirs | planted ones found | peak memory, MB |",
        "|---|---|---|---|---|",
    ]
    for name, runs in results.items():
        peak = statistics.median(run["peak"] for run in runs)
        lines.append(
            f"| {name} | {rows / seconds[name]:,.0f} | {seconds[name] / ours:.1f} "
            f"| {runs[0]['found']:.1%} | {peak / 1e6:,.0f} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Make the texts, let the sides take turns, print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rows", type=int, default=50_000)
    parser.add_argument("--repeats", type=int, default=3, help="rounds; the median counts")
    parser.add_argument("--limit", type=float, default=900, help="seconds one run may take")
    parser.add_argument("--peer-python", action="append", default=[], help="Python with a peer")
    options = parser.parse_args()
    commands = sides(options.peer_python)
    results: dict[str, list[dict[str, float]]] = {name: [] for name in commands}
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "texts.txt"
        planted = make_texts(source, options.rows)
        print(f"{options.rows:,} texts, {planted:,} of them planted, {os.cpu_count()} cores")
        for _ in range(options.repeats):
            for name, command in commands.items():
                print(f"running {name} …", file=sys.stderr, flush=True)
                results[name].append(measure(command, source, planted, options.limit))
    print(table(results, options.rows))


if __name__ == "__main__":
    main()
