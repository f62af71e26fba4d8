"""Data speed, side by side: 200,000 Chinese rows, CSV → dataset, in turns, as ratios.

    python benchmarks/data_speed.py
    python benchmarks/data_speed.py --peer-python PEER/bin/python

Peers do the plain mapping only: read, make chat rows, leave out empty rows and exact duplicates,
write JSONL. Tunewright is measured twice: doing the same, and as the whole gate with every check,
token lengths, split and report.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
LIBRARIES = ("datasets", "pandas", "polars", "csv")
_PAIRS = (
    "合同押金房东租客公司工资加班劳动社保辞退赔偿起诉法院证据协议离婚抚养财产继承遗嘱借款利息担保抵押交通事故责任保险医院手术病历消费退款商家平台快递质量维修物业业主"
    "邻居噪音装修定金违约解除期限通知书面口头签字盖章仲裁申请材料流程时间费用律师咨询应当可以不能必须建议先行保留及时协商调解投诉举报主张承担支付返还拒绝同意认为根据"
)
WORDS = [_PAIRS[place : place + 2] for place in range(0, len(_PAIRS), 2)]


def make_table(path: Path, rows: int, seed: int = 0) -> None:
    """Questions of about 30 characters and answers of about 120; 5 % repeated, 1 % empty."""
    draw = random.Random(seed)

    def text(words: int, end: str) -> str:
        return "".join(draw.choices(WORDS, k=words)) + end

    written: list[tuple[str, str]] = []
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["question", "answer"])
        for _ in range(rows):
            kind = draw.random()
            if kind < 0.05 and written:
                pair = draw.choice(written[-5000:])
            elif kind < 0.06:
                pair = (text(14, "？"), "")
            else:
                pair = (text(draw.randint(8, 20), "？"), text(draw.randint(30, 90), "。"))
                written.append(pair)
            writer.writerow(pair)


def measure(command: list[str], limit: float) -> dict[str, float]:
    """Run one side once.

    Raises:
        RuntimeError: when it fails or leaves no measurement.
    """
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_DATASETS_DISABLE_PROGRESS_BARS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=limit, env=environment)
    lines = [line for line in done.stdout.splitlines() if line.startswith("METER ")]
    if done.returncode or not lines:
        raise RuntimeError(f"{' '.join(command[:3])} failed:\n{done.stderr[-2000:]}")
    report: dict[str, float] = json.loads(lines[-1].removeprefix("METER "))
    return report


def sides(source: Path, folder: Path, pythons: list[str]) -> dict[str, list[str]]:
    """Name → command line."""
    ours = [sys.executable, str(HERE / "ours_data_worker.py")]
    found = {
        "tunewright, the same mapping": [*ours, "mapping", str(source), str(folder / "ours.jsonl")],
        "tunewright, the whole gate": [*ours, "gate", str(source), str(folder / "home")],
    }
    worker = str(HERE / "peers" / "mapping_worker.py")
    for library in LIBRARIES:
        for python in [*pythons, sys.executable]:
            if _has(python, library):
                target = str(folder / f"{library}.jsonl")
                found[library] = [python, worker, library, str(source), target]
                break
    return found


def _has(python: str, module: str) -> bool:
    program = f"import importlib.util as u, sys; sys.exit(u.find_spec({module!r}) is None)"
    return subprocess.run([python, "-c", program]).returncode == 0


def table(results: dict[str, list[dict[str, float]]], rows: int) -> str:
    """Medians of every side, and how many times our two sides are faster."""
    seconds = {
        name: statistics.median(r["seconds"] for r in runs) for name, runs in results.items()
    }
    mapping, gate = (seconds[name] for name in list(results)[:2])
    lines = [
        "| run | rows/s | same mapping ÷ this | whole gate ÷ this | peak memory, MB | rows out |",
        "|---|---|---|---|---|---|",
    ]
    for name, runs in results.items():
        peak = statistics.median(run["peak"] for run in runs)
        lines.append(
            f"| {name} | {rows / seconds[name]:,.0f} | {seconds[name] / mapping:.2f} "
            f"| {seconds[name] / gate:.2f} | {peak / 1e6:,.0f} | {runs[0]['rows']:,} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Make the table, let the sides take turns, print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--repeats", type=int, default=3, help="rounds; the median counts")
    parser.add_argument("--limit", type=float, default=900, help="seconds one run may take")
    parser.add_argument("--only", action="append", help="sides whose name contains this")
    parser.add_argument("--peer-python", action="append", default=[], help="Python with peers")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        source = folder / "rows.csv"
        make_table(source, options.rows)
        commands = sides(source, folder, options.peer_python)
        chosen = {
            name: command
            for name, command in commands.items()
            if "tunewright" in name or not options.only or any(o in name for o in options.only)
        }
        print(
            f"{options.rows:,} rows, {source.stat().st_size / 1e6:.0f} MB, {os.cpu_count()} cores"
        )
        results: dict[str, list[dict[str, float]]] = {name: [] for name in chosen}
        for _ in range(options.repeats):
            for name, command in chosen.items():
                print(f"running {name} …", file=sys.stderr, flush=True)
                results[name].append(measure(command, options.limit))
    print(table(results, options.rows))


if __name__ == "__main__":
    main()
