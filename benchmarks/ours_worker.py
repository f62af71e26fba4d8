"""One pass of Tunewright over the work, in a process of its own, measured like the peers.

Arguments: started, work folder, and TrainConfig settings as JSON.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path

from tunewright.config.training import TrainConfig
from tunewright.core.dataset_io import write_rows
from tunewright.core.events import Event
from tunewright.core.messages import Conversation, Row, Source
from tunewright.core.records import Dataset, Run
from tunewright.core.settings import Settings
from tunewright.core.store import Store
from tunewright.training.train import train


def main() -> None:
    """Train once and report."""
    started, work, settings = float(sys.argv[1]), Path(sys.argv[2]), json.loads(sys.argv[3])
    ends: list[float] = []
    losses: list[float] = []
    norms: list[float] = []

    def listen(event: Event) -> None:
        if event.kind == "step":
            ends.append(time.time())
            losses.append(event.data["loss"])
            norms.append(event.data["grad_norm"])

    with tempfile.TemporaryDirectory() as home:
        store = Store(Path(home), Settings(home=Path(home), offline=True))
        dataset = _add_dataset(store, work / "rows.jsonl")
        config = {
            "dataset": dataset.id,
            "base": str(work / "model"),
            "epochs": 1,
            "save_steps": 10**6,
            "lora": {"rank": 8, "alpha": 16},
            "optimizer": {"learning_rate": 1e-3},
            **settings,
        }
        train(TrainConfig.build(config), store, listen)
        summary = store.list(Run)[0].summary
        store.close()
    report = {
        "first_step_seconds": ends[0] - started,
        "seconds_after_first": ends[-1] - ends[0],
        "steps": len(ends),
        "losses": losses,
        "grad_norms": norms,
        "peak_memory_bytes": summary["peak_memory_bytes"],
    }
    print("METER " + json.dumps(report), flush=True)


def _add_dataset(store: Store, path: Path) -> Dataset:
    """The rows as a dataset, unsplit, so that every side trains on the same ones."""
    with open(path, encoding="utf-8") as file:
        rows = [
            Row(
                conversation=Conversation.model_validate(json.loads(line)),
                source=Source(file=path.name, row=number),
                group=str(number),
            )
            for number, line in enumerate(file, start=1)
        ]
    dataset = Dataset(
        id=store.new_id(Dataset),
        name="chat",
        files=(path.name,),
        digest="",
        config={},
        rows={},
        splits={"train": len(rows), "dev": 0, "test": 0},
        base="",
        tokens={},
    )
    with store.stage(Dataset, dataset.id) as folder:
        write_rows(folder / "train.jsonl", rows)
    store.add(dataset)
    return dataset


if __name__ == "__main__":
    main()
