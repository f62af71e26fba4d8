"""What a report has to say about where a responder came from."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tunewright.core.events import EventLog
from tunewright.core.records import Dataset, Model, Run
from tunewright.core.store import Store
from tunewright.evaluation.responders.base import Responder
from tunewright.evaluation.responders.local import Local
from tunewright.evaluation.responders.remote import Remote

EVENTS = "events.jsonl"


@dataclass(frozen=True, slots=True)
class Curve:
    """Losses by optimizer step, each ``(step, loss)`` in order of steps."""

    train: Sequence[tuple[int, float]]
    validation: Sequence[tuple[int, float]]


@dataclass(frozen=True, slots=True)
class Origin:
    """A responder as asked for, and what the store knows of it.

    ``model``, ``run`` and ``step`` are None for a base; of an endpoint, ``base`` is the model's
    name there and ``base_digest`` its address.
    """

    reference: str
    base: str
    base_digest: str
    model: Model | None = None
    run: Run | None = None
    step: int | None = None

    def trained_on(self, dataset: Dataset) -> bool:
        """Whether this responder learned from the dataset's training rows."""
        return self.run is not None and self.run.dataset == dataset.id


def origin_of(store: Store, responder: Responder) -> Origin:
    """Where a responder comes from: a base, a tuned model, a checkpoint or an endpoint."""
    if not isinstance(responder, Local):
        return Origin(responder.reference, *_elsewhere(responder))
    base = responder.resolved.base
    return find_origin(store, responder.reference, responder.target, base.name, base.digest)


def _elsewhere(responder: Responder) -> tuple[str, str]:
    if isinstance(responder, Remote):
        return responder.model, str(responder.address.url)
    return responder.reference, responder.digest


def find_origin(store: Store, reference: str, target: str, base: str, digest: str) -> Origin:
    """Look a target up: a tuned model by name or id, a run's checkpoint as ``RUN@STEP``."""
    model = store.find(Model, target)
    if model is not None:
        run = store.find(Run, model.run)
        return Origin(reference, base, digest, model, run, model.step)
    run_reference, at, step = target.rpartition("@")
    run = store.find(Run, run_reference) if at else None
    if run is None:
        return Origin(reference, base, digest)
    return Origin(reference, base, digest, None, run, _number(step))


def _number(text: str) -> int | None:
    return int(text) if text.isdecimal() else None


def curve_of(store: Store, run: Run) -> Curve | None:
    """The run's losses from its events; None when it left none.

    A resumed run writes the steps after its checkpoint a second time; the last one counts.
    """
    losses: dict[str, dict[int, float]] = {"step": {}, "validation": {}}
    for event in EventLog(store.folder(Run, run.id) / EVENTS).read():
        point = _point(event.data) if event.kind in losses else None
        if point is not None:
            losses[event.kind][point[0]] = point[1]
    if not losses["step"]:
        return None
    return Curve(sorted(losses["step"].items()), sorted(losses["validation"].items()))


def _point(data: dict[str, Any]) -> tuple[int, float] | None:
    step, loss = data.get("step"), data.get("loss")
    if isinstance(step, int) and isinstance(loss, int | float) and math.isfinite(loss):
        return step, float(loss)
    return None
