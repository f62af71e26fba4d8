"""Runs a stage from its config: the one place that knows which function a config belongs to."""

from __future__ import annotations

from collections.abc import Sequence

from tunewright.config.base import StageConfig
from tunewright.config.data import ChecksConfig, PrepareConfig
from tunewright.config.evaluation import EvaluateConfig
from tunewright.config.training import TrainConfig
from tunewright.core.events import Listener, ignore
from tunewright.core.records import Record
from tunewright.core.store import Store

# Stages are imported when they run, so that naming one costs no torch.


def run(config: StageConfig, store: Store, listen: Listener = ignore) -> Record:
    """Run the stage that ``config`` belongs to, in this process, and return its record.

    Raises:
        TypeError: for a config that belongs to no stage.
    """
    match config:
        case PrepareConfig():
            from tunewright.data.prepare import prepare

            return prepare(config, store, listen)
        case TrainConfig():
            from tunewright.training.train import train

            return train(config, store, listen)
        case EvaluateConfig():
            from tunewright.evaluation.evaluate import evaluate

            return evaluate(config, store, listen, _test_rows_met)
    raise TypeError(f"{type(config).__name__} is not the config of a stage")


def resume(run_reference: str, store: Store, listen: Listener = ignore) -> Record:
    """Go on with a run from its newest complete checkpoint."""
    from tunewright.training.train import resume as resume_training

    return resume_training(run_reference, store, listen)


def _test_rows_met(test: Sequence[str], train: Sequence[str]) -> list[int]:
    """Places of the test questions that stand in the training ones, by the data gate's likeness.

    Runs of words that are shared count for nothing here: rewordings share them on purpose.
    """
    from tunewright.data.checks.leakage import overlap

    found = overlap(test, train, ChecksConfig().near)
    return [one.train for one in found if one.how != "13-gram"]
