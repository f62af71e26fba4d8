"""``python -m tools.malformed``: make malformed files of every class and prepare each."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tools.malformed.making import CLASSES, make_all
from tools.malformed.outcomes import MEMORY, Outcome, Peaks

_BATCH = 14


def run_apart(names: Sequence[str], seeds: Sequence[int]) -> tuple[list[Outcome], Peaks]:
    """Make files and prepare them, each in a process of its own.

    So the peak memory of the second is that of preparing, and of these classes alone.

    Raises:
        RuntimeError: one of the processes died.
    """
    with tempfile.TemporaryDirectory(prefix="malformed-") as root:
        order = json.dumps({"root": root, "names": list(names), "seeds": list(seeds)})
        _apart("--make", order)
        said = json.loads(_apart("--try", order))
    return [Outcome(**outcome) for outcome in said["outcomes"]], Peaks(**said["peaks"])


def _apart(task: str, order: str) -> str:
    command = [sys.executable, "-m", "tools.malformed", task, order]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{task} ended with {done.returncode}: {order}\n{done.stderr[-2000:]}")
    return done.stdout


def _make(order: Mapping[str, Any]) -> None:
    make_all(Path(order["root"]), order["names"], order["seeds"])


def _try(order: Mapping[str, Any]) -> None:
    from tools.malformed.trial import try_all  # which loads all that prepares

    outcomes, peaks = try_all(Path(order["root"]))
    json.dump({"outcomes": [asdict(o) for o in outcomes], "peaks": asdict(peaks)}, sys.stdout)


def main() -> int:
    """Print one line for each class and the totals; 1 when anything went wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3, help="files of each class")
    parser.add_argument("--only", default="", help="classes whose name contains this")
    parser.add_argument("--show", action="store_true", help="print every message")
    parser.add_argument("--make", type=json.loads, help=argparse.SUPPRESS)
    parser.add_argument("--try", type=json.loads, dest="attempt", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.make or options.attempt:
        _make(options.make) if options.make else _try(options.attempt)
        return 0
    names = [one.name for one in CLASSES if options.only in one.name]
    totals: Counter[str] = Counter()
    for start in range(0, len(names), _BATCH):
        batch = names[start : start + _BATCH]
        outcomes, peaks = run_apart(batch, range(options.seeds))
        for name in batch:
            _report(name, [o for o in outcomes if o.name == name], totals, options.show)
        heavy = max(peaks.own, peaks.child)
        totals["batches over the memory limit"] += heavy > MEMORY
        totals["peak MiB"] = max(totals["peak MiB"], heavy >> 20)
        if options.show or heavy > MEMORY:
            print(f"  memory: {peaks.own >> 20} MiB here, {peaks.child >> 20} MiB in a child")
    print(f"{len(names)} classes × {options.seeds} seeds: " + ", ".join(
        f"{count} {what}" for what, count in totals.items()))  # fmt: skip
    return int(totals["wrong"] + totals["batches over the memory limit"] > 0)


def _report(name: str, outcomes: list[Outcome], totals: Counter[str], show: bool) -> None:
    wrong = [o for o in outcomes if o.wrong]
    kept = sum(o.kept for o in outcomes)
    slowest = max(o.seconds for o in outcomes)
    totals["files"] += len(outcomes)
    totals["with rows kept"] += kept
    totals["refused"] += len(outcomes) - kept
    totals["wrong"] += len(wrong)
    print(f"{name}: {kept} kept, {len(outcomes) - kept} refused, at most {slowest:.1f} s")
    for outcome in outcomes if show else wrong:
        print(f"  seed {outcome.seed}: {(outcome.wrong or outcome.message)[:300]!r}")


if __name__ == "__main__":
    sys.exit(main())
