"""Measures a run of transformers' Trainer from its own callbacks; runs in the peer's Python."""

from __future__ import annotations

import json
import resource
import sys
import time
from typing import Any

from transformers import TrainerCallback


class Meter(TrainerCallback):  # type: ignore[misc]
    """Times of steps, losses and gradient norms, printed as one JSON line at the end.

    Args:
        started: ``time.time()`` just before this process was started.
    """

    def __init__(self, started: float) -> None:
        self.started = started
        self.ends: list[float] = []
        self.losses: list[float] = []
        self.norms: list[float] = []

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Note when a step ended."""
        self.ends.append(time.time())

    def on_log(
        self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **_: Any
    ) -> None:
        """Note a step's loss and gradient norm."""
        if logs and "loss" in logs:
            self.losses.append(float(logs["loss"]))
            self.norms.append(float(logs["grad_norm"]))

    def report(self) -> None:
        """Write the line."""
        unit = 1 if sys.platform == "darwin" else 1024
        print(
            "METER "
            + json.dumps(
                {
                    "first_step_seconds": self.ends[0] - self.started,
                    "seconds_after_first": self.ends[-1] - self.ends[0],
                    "steps": len(self.ends),
                    "losses": self.losses,
                    "grad_norms": self.norms,
                    "peak_memory_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit,
                }
            ),
            flush=True,
        )
