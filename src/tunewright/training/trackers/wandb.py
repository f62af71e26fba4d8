"""Weights & Biases (https://docs.wandb.ai), by its own package and the user's login."""

from __future__ import annotations

import importlib
from typing import Any

from tunewright.training.trackers.base import Ending, Tracked


class WandbRun:
    """One run there. Offline it is kept in the folder, for ``wandb sync``."""

    def __init__(self, tracked: Tracked) -> None:
        wandb = importlib.import_module("wandb")
        tracked.folder.mkdir(parents=True, exist_ok=True)
        self._run: Any = wandb.init(
            project=tracked.project,
            name=tracked.name,
            id=tracked.run,
            config=tracked.config,
            dir=str(tracked.folder),
            # A login decides where it goes; offline runs cannot be found again, only continued.
            mode="offline" if tracked.offline else None,
            resume=None if tracked.offline else "allow",
            reinit="create_new",
        )
        # Against our step: W&B's own only grows, while a resumed run repeats steps.
        self._run.define_metric("step")
        self._run.define_metric("*", step_metric="step")

    def log(self, step: int, values: dict[str, float], time: float) -> None:
        """Append the numbers of a step."""
        self._run.log({**values, "step": step})

    def close(self, ending: Ending) -> None:
        """End the run there; all but a failure counts as finished."""
        self._run.finish(exit_code=int(ending == "failed"))


def open_tracker(tracked: Tracked) -> WandbRun:
    """A run under the run's own id."""
    return WandbRun(tracked)
