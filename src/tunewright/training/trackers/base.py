"""What a tracker is: something that takes a run's numbers as they come. Loads no torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

Ending = Literal["succeeded", "stopped", "failed"]


@dataclass(frozen=True)
class Tracked:
    """What a tracker is told of the run.

    Attributes:
        run: the run's id; resumed runs have the same again.
        name: a name for people.
        project: groups the runs of one dataset.
        config: the recipe, nested.
        folder: where the tracker may keep files.
        offline: whether nothing may be sent anywhere.
        step: the step it goes on from; 0 at the beginning.
    """

    run: str
    name: str
    project: str
    config: dict[str, Any]
    folder: Path
    offline: bool
    step: int

    @property
    def resumed(self) -> bool:
        """Whether a former process has reported steps of this run already."""
        return self.step > 0


class Tracker(Protocol):
    """One open connection; whatever it raises ends the tracking, never the run."""

    def log(self, step: int, values: dict[str, float], time: float) -> None:
        """Take ``{"train/loss": 1.2, …}`` of a step; ``time`` in seconds since 1970."""
        ...

    def close(self, ending: Ending) -> None:
        """The run ended this way."""
        ...
