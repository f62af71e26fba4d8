"""The plan corrected by what the first steps measured. Loads no torch."""

from __future__ import annotations

from datetime import timedelta

from tunewright.core.events import Event, Listener
from tunewright.training.estimates import Estimate
from tunewright.training.pace import corrected
from tunewright.training.plan import readable_size
from tunewright.training.texts import both

_STEPS = 5
"""Steps that are measured; the first one of a process, which allocates and compiles, is left out
of the speed that steps tell."""


class Correction:
    """A listener that passes events on and, once, what was measured beside what was planned.

    Args:
        listen: gets every event.
        plan: of the run.
    """

    def __init__(self, listen: Listener, plan: Estimate) -> None:
        self._listen = listen
        self._plan = plan
        self._seen = 0

    def __call__(self, event: Event) -> None:
        self._listen(event)
        if event.kind == "step":
            self._seen += 1
            last = event.data["step"] == event.data["steps"]
            if self._seen == _STEPS or (last and 1 < self._seen < _STEPS):
                self._listen(correction(self._plan, event))


def correction(plan: Estimate, step: Event) -> Event:
    """The ``corrected`` event.

    Args:
        plan: of the run.
        step: a ``step`` event.
    """
    data = step.data
    found = corrected(plan, data["tokens_per_second"])
    said = {
        "speed": found.tokens_per_second,
        "remaining": timedelta(seconds=round(data["eta_seconds"])),
        "peak": readable_size(data["memory_bytes"]),
        "planned_peak": readable_size(plan.memory.peak),
        "planned_speed": "?"
        if plan.tokens_per_second is None
        else f"{plan.tokens_per_second:,.0f}",
    }
    return Event(
        kind="corrected",
        data={
            "step": data["step"],
            "tokens_per_second": found.tokens_per_second,
            "planned_tokens_per_second": plan.tokens_per_second,
            "remaining_seconds": data["eta_seconds"],
            "seconds": found.seconds,
            "planned_seconds": plan.seconds,
            "measured_peak": data["memory_bytes"],
            "planned_peak": plan.memory.peak,
            "text": both("memory.corrected", **said),
        },
    )
