"""Trackio (https://huggingface.co/docs/trackio): local by itself, a Space if the user set one."""

from __future__ import annotations

import importlib
from typing import Any

from tunewright.core.nested import flat
from tunewright.training.trackers.base import Ending, Tracked


class TrackioRun:
    """One run in Trackio's own database; ``trackio show`` draws it."""

    def __init__(self, tracked: Tracked) -> None:
        trackio = importlib.import_module("trackio")
        self._run: Any = trackio.init(
            project=tracked.project,
            name=tracked.run,
            config=flat(tracked.config),
            resume="allow",
            embed=False,
        )

    def log(self, step: int, values: dict[str, float], time: float) -> None:
        """Append the numbers of a step."""
        self._run.log(values, step=step)

    def close(self, ending: Ending) -> None:
        """Flush what is waiting."""
        self._run.finish()


def open_tracker(tracked: Tracked) -> TrackioRun:
    """A run under the run's own id."""
    return TrackioRun(tracked)
