"""Run every training method with every tuner on real files and print what became of the loss.

``python -m tools.matrix --data FOLDER`` prepares the first rows of each file of ``SOURCES`` and
trains ``nano`` on them, a few passes per cell, through the same stages as the command line. A cell
holds the mean loss of the first pass and of the last one: both over the same rows, so that chance
has no part in the difference. Every source has a process of its own.
"""

from __future__ import annotations

import argparse
import itertools
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import mean
from typing import Any

from tunewright.config.base import merge
from tunewright.config.data import PrepareConfig
from tunewright.config.training import TrainConfig
from tunewright.core.errors import TunewrightError
from tunewright.core.records import Run
from tunewright.core.settings import Settings, set_process_defaults
from tunewright.core.store import Store

PASSES = 3
BATCH_TOKENS = 512


@dataclass(frozen=True)
class Source:
    """One column of the table: a method and the file that it learns from."""

    method: str
    file: str
    rows: int

    @property
    def name(self) -> str:
        """What the column is called."""
        return f"{self.method} · {Path(self.file).stem.split('(')[0]}"


SOURCES = (
    Source("sft", "alpaca_zh_demo.json", 16),
    Source("sft", "glaive_toolcall_zh_demo.json", 8),
    Source("sft", "advertisegen_conversations.jsonl", 12),
    Source("pretrain", "laws/经济法/台湾同胞投资保护法(2019-12-28).md", 0),
    Source("dpo", "dpo_zh_demo.json", 5),
    Source("simpo", "dpo_zh_demo.json", 5),
    Source("orpo", "dpo_zh_demo.json", 5),
    Source("reward", "dpo_zh_demo.json", 5),
    Source("kto", "kto_en_demo.json", 14),
)
TUNERS: dict[str, dict[str, Any]] = {
    "full": {"tuner": "full"},
    "freeze": {"tuner": "freeze"},
    "lora": {"tuner": "lora"},
    "dora": {"lora": {"dora": True}},
    "rslora": {"lora": {"scaling": "rslora"}},
    "lora+": {"lora": {"plus": 16}, "optimizer": {"multiplier": 0.3}},
    "qlora nf4": {"quantize": "nf4"},
    "lora int8": {"quantize": "int8"},
    "bottleneck": {"tuner": "bottleneck"},
    "prefix": {"tuner": "prefix"},
    "ia3": {"tuner": "ia3"},
}


@dataclass(frozen=True)
class Cell:
    """What became of one run; ``refusal`` says why there was none."""

    tuner: str
    first: float = 0.0
    last: float = 0.0
    steps: int = 0
    seconds: float = 0.0
    refusal: str = ""

    @property
    def shown(self) -> str:
        """``2.310 → 1.540 (−33 %, 6 s)``; a loss that did not fall is marked."""
        if self.refusal:
            return self.refusal
        mark = "" if self.last < self.first else " **rose**"
        change = 100 * (self.last / self.first - 1)
        numbers = f"{self.first:.3f} → {self.last:.3f}"
        return f"{numbers} ({change:+.0f} %, {self.seconds:.0f} s){mark}"


def beginning(source: Source, data: Path, folder: Path) -> Path:
    """A copy of the first records of a source's file."""
    original = data / source.file
    copy = folder / original.name
    if not source.rows:
        shutil.copyfile(original, copy)
    elif original.suffix == ".jsonl":
        with open(original, encoding="utf-8") as file:
            copy.write_text("".join(itertools.islice(file, source.rows)), encoding="utf-8")
    else:
        records = json.loads(original.read_text(encoding="utf-8"))[: source.rows]
        copy.write_text(json.dumps(records, ensure_ascii=False), encoding="utf-8")
    return copy


def column(source: Source, data: Path, tuners: Sequence[str]) -> list[Cell]:
    """Every tuner on one source, in this process and a home of its own."""
    from tunewright.data.prepare import prepare

    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        store = Store(home, Settings(home=home, offline=True))
        options = {"files": [str(beginning(source, data, Path(folder)))],
                   "split": {"dev": 0.0, "test": 0.0}}  # fmt: skip
        dataset = prepare(PrepareConfig.build(options), store)
        cells = [cell(store, source.method, dataset.id, name) for name in tuners]
        store.close()
    return cells


def cell(store: Store, method: str, dataset: str, name: str) -> Cell:
    """One run."""
    from tunewright.training.history import read_history
    from tunewright.training.train import train

    options = {
        "dataset": dataset,
        "method": method,
        "epochs": PASSES,
        "batch_tokens": BATCH_TOKENS,
        "save_steps": 10_000,
        "watch": {"preview": 0},
    }
    begun = time.perf_counter()
    try:
        model = train(TrainConfig.build(merge(options, TUNERS[name])), store)
    except TunewrightError as error:
        return Cell(name, refusal=error.message)
    steps = read_history(store.folder(Run, model.run))
    each = len(steps) // PASSES
    losses = [step["loss"] for step in steps]
    seconds = time.perf_counter() - begun
    return Cell(name, mean(losses[:each]), mean(losses[-each:]), len(steps), seconds)


def table(columns: dict[str, list[Cell]]) -> str:
    """The cells as Markdown: tuners down, sources across."""
    lines = [f"| tuner | {' | '.join(columns)} |", f"|---|{'---|' * len(columns)}"]
    for cells in zip(*columns.values(), strict=True):
        lines.append(f"| {cells[0].tuner} | {' | '.join(one.shown for one in cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Run the columns one after another and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder with the files")
    parser.add_argument("--method", help="only the columns of this method")
    parser.add_argument("--tuner", action="append", choices=list(TUNERS), help="only these rows")
    parser.add_argument("--column", type=int, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    tuners = asked.tuner or list(TUNERS)
    set_process_defaults()
    if asked.column is not None:
        cells = column(SOURCES[asked.column], asked.data, tuners)
        print(json.dumps([asdict(one) for one in cells]))
        return
    columns = {}
    for number, source in enumerate(SOURCES):
        if asked.method in (None, source.method):
            command = [sys.executable, "-m", "tools.matrix", "--data", str(asked.data)]
            for name in tuners:
                command += ["--tuner", name]
            done = subprocess.run(
                [*command, "--column", str(number)], stdout=subprocess.PIPE, check=True
            )
            columns[source.name] = [Cell(**one) for one in json.loads(done.stdout)]
            steps = max(one.steps for one in columns[source.name])
            print(f"{source.name}: {steps} steps per cell", file=sys.stderr)
    print(table(columns))


if __name__ == "__main__":
    main()
