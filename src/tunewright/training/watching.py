"""Everything that watches a run beside the one who started it: diagnosis and trackers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tunewright.config.training import TrainConfig
from tunewright.core.events import Event, EventLog, Listener
from tunewright.training.diagnosis import Diagnoser
from tunewright.training.trackers.base import Ending, Tracked, Tracker
from tunewright.training.trackers.table import open_tracker

_VALUES: dict[str, tuple[str, dict[str, str]]] = {
    "step": (
        "train",
        {
            "loss": "loss",
            "smoothed_loss": "loss_smoothed",
            "grad_norm": "grad_norm",
            "learning_rate": "learning_rate",
            "epoch": "epoch",
            "tokens": "tokens",
            "tokens_per_second": "tokens_per_second",
            "memory_bytes": "memory_bytes",
        },
    ),
    "validation": ("validation", {"loss": "loss"}),
}
"""Kind of event → the trackers' group, and field of the event → name in that group.

What a method measures besides (``metrics``) goes to the same group under its own name.
"""


def tracked_values(event: Event) -> dict[str, float]:
    """``{"train/loss": 1.2, …}``: what trackers are told of an event; empty for most kinds."""
    if event.kind not in _VALUES:
        return {}
    group, names = _VALUES[event.kind]
    known = {name: event.data.get(key) for key, name in names.items()}
    known |= event.data.get("metrics", {})
    return {f"{group}/{name}": float(value) for name, value in known.items() if value is not None}


def kept_events(run_folder: Path, step: int) -> list[Event]:
    """The events up to ``step`` that still count, each step once, for a run that goes on there."""
    kept: list[Event] = []
    for event in EventLog(run_folder / "events.jsonl").read():
        if event.kind == "resumed":
            kept = [one for one in kept if one.data["step"] <= event.data["step"]]
        elif event.kind in _VALUES:
            kept.append(event)
    return [event for event in kept if event.data["step"] <= step]


@dataclass
class Watchers:
    """A listener that passes events on, adds diagnoses to them, and feeds the trackers.

    Attributes:
        listen: gets every event, and what is added here.
        diagnoser: looks at the curves.
        trackers: by name; one that fails is dropped with a note, the run goes on.
    """

    listen: Listener
    diagnoser: Diagnoser
    trackers: dict[str, Tracker] = field(default_factory=dict)

    def __call__(self, event: Event) -> None:
        self.listen(event)
        for diagnosis in self.diagnoser.feed(event):
            self.listen(diagnosis.event())
        values = tracked_values(event)
        for name in list(self.trackers) if values else ():
            try:
                self.trackers[name].log(int(event.data["step"]), values, event.time)
            except Exception as error:  # noqa: BLE001 - foreign code may raise anything
                self._drop(name, error)

    def replay(self, events: Iterable[Event]) -> None:
        """Look at what a former process of this run saw, without telling of it again."""
        for event in events:
            self.diagnoser.feed(event)

    def open(self, config: TrainConfig, tracked: Tracked) -> None:
        """Open the trackers that the recipe asks for."""
        wanted: dict[str, Path] = {name: tracked.folder / name for name in config.watch.trackers}
        if config.watch.tensorboard is not None:
            wanted["tensorboard"] = Path(config.watch.tensorboard)
        for name, folder in wanted.items():
            try:
                self.trackers[name] = open_tracker(name, replace(tracked, folder=folder))
            except Exception as error:  # noqa: BLE001 - foreign code may raise anything
                self._drop(name, error)

    def close(self, ending: Ending) -> None:
        """Tell the trackers how the run ended."""
        for name in list(self.trackers):
            try:
                self.trackers[name].close(ending)
            except Exception as error:  # noqa: BLE001 - foreign code may raise anything
                self._drop(name, error)
        self.trackers.clear()

    def _drop(self, name: str, error: Exception) -> None:
        self.trackers.pop(name, None)
        text = f"{name} is no longer told of this run ({type(error).__name__}: {error})"
        self.listen(Event(kind="note", data={"text": _one_line(text)}))


def _one_line(text: Any) -> str:
    return " ".join(str(text).split())[:500]
