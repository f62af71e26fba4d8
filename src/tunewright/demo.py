"""The whole road on the bundled sample job: spreadsheet → tuned model → evidence."""

from __future__ import annotations

import importlib.resources
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tunewright import jobs
from tunewright.config.data import ChecksConfig, PrepareConfig, SplitConfig
from tunewright.config.evaluation import EvaluateConfig
from tunewright.config.training import LoraConfig, OptimizerConfig, TrainConfig, WatchConfig
from tunewright.core.events import Event, Listener
from tunewright.core.records import Dataset, Evaluation, Model
from tunewright.core.store import Store

# Measured on two CPU cores; the trials behind these values are in EXPERIMENTS.md.
EPOCHS = 4.0
LEARNING_RATE = 2e-3
RANK = 64
ALPHA = 64.0
BATCH_TOKENS = 1024
REPLAY = "75%"

KINDS = ("reworded", "synonyms", "paraphrase")

# What the report shows beside the demo's own result: measured once with the command below, since
# running it every time would double the demo. `python -m tools.without_replay` repeats it.
WITHOUT_REPLAY = ("The same run without general rows", "同样的训练，但不混入通用数据")


@dataclass(frozen=True)
class Demo:
    """What the demo made, in order."""

    dataset: Dataset
    model: Model
    evaluation: Evaluation
    seconds: float

    def scores(self, responder: int) -> dict[str, float]:
        """Exact-match share per kind of test wording: 0 before, -1 after tuning."""
        name = self.evaluation.models[responder]
        exact = self.evaluation.scores[name]["exact"]
        return {kind: exact[kind] for kind in KINDS}

    def general(self) -> dict[str, float]:
        """Share of the general probe answered right, before and after."""
        first, last = self.evaluation.models[0], self.evaluation.models[-1]
        return {"before": self.evaluation.general[first], "after": self.evaluation.general[last]}


def sample_files() -> tuple[Path, Path]:
    """The bundled legal spreadsheet and its locked test questions."""
    folder = Path(str(importlib.resources.files("tunewright"))) / "samples" / "legal_assistant"
    return folder / "legal_qa.csv", folder / "test.jsonl"


def run_demo(store: Store, listen: Listener, replay: str = REPLAY) -> Demo:
    """Prepare the sample spreadsheet, tune nano on it, and compare it with the untuned base."""
    begun = time.monotonic()
    questions, test = sample_files()
    _headline(listen, f"1/3  prepare  {questions.name}")
    dataset = jobs.run(_prepare_config(questions, test, replay), store, listen)
    _headline(listen, f"2/3  train    LoRA on nano, {EPOCHS:g} epochs")
    model = jobs.run(_train_config(dataset.id), store, listen)
    if not isinstance(dataset, Dataset) or not isinstance(model, Model):
        raise TypeError("a stage returned a record of another kind")
    _headline(listen, "3/3  evaluate  nano against the tuned model, and what it forgot")
    evaluation = jobs.run(_evaluate_config(dataset.id, model.name, store), store, listen)
    if not isinstance(evaluation, Evaluation):
        raise TypeError("a stage returned a record of another kind")
    return Demo(dataset, model, evaluation, time.monotonic() - begun)


def _headline(listen: Listener, text: str) -> None:
    listen(Event(kind="note", data={"text": text}))


def _prepare_config(questions: Path, test: Path, replay: str) -> PrepareConfig:
    return PrepareConfig(
        files=(str(questions),),
        test_files=(str(test),),
        base="nano",
        name="legal",
        mix={"general": replay},
        # The sample asks each thing in many ways on purpose; wordings that are nearly alike count.
        checks=ChecksConfig(near_duplicates="keep"),
        split=SplitConfig(dev=0.05, test=0.0),
    )


def _train_config(dataset: str) -> TrainConfig:
    return TrainConfig(
        dataset=dataset,
        base="nano",
        suffix="legal",
        epochs=EPOCHS,
        watch=WatchConfig(preview=0),
        batch_tokens=BATCH_TOKENS,
        lora=LoraConfig(rank=RANK, alpha=ALPHA),
        optimizer=OptimizerConfig(learning_rate=LEARNING_RATE),
    )


def _evaluate_config(dataset: str, model: str, store: Store) -> EvaluateConfig:
    without = sample_files()[0].with_name("without_replay.json")
    label = WITHOUT_REPLAY[store.settings.language == "zh"]
    return EvaluateConfig(
        dataset=dataset,
        models=("nano", model),
        max_new_tokens=64,
        beside={label: str(without)} if without.exists() else {},
    )


def samples(store: Store, evaluation: Evaluation, per_kind: int = 2) -> list[dict[str, Any]]:
    """A few test questions with both answers, for the before/after table."""
    from tunewright.evaluation.evaluate import read_outputs

    outputs = read_outputs(store.folder(Evaluation, evaluation.id))
    first, last = evaluation.models[0], evaluation.models[-1]
    chosen: list[dict[str, Any]] = []
    for kind in KINDS:
        rows = [o for o in outputs if o["slice"] == kind and o["responder"] == last][:per_kind]
        for row in rows:
            before = next(o for o in outputs if o["responder"] == first and o["row"] == row["row"])
            chosen.append({**row, "before": before["answer"], "after": row["answer"]})
    return chosen
