"""Who may interrupt a run between two steps, and how its writes outlast a full disk."""

from __future__ import annotations

from dataclasses import dataclass

from tunewright.core.errors import Interrupted
from tunewright.training.checkpoints import Failpoint, passing
from tunewright.training.control import Action, Requests
from tunewright.training.disk import DiskPatience
from tunewright.training.stopping import StopRequest


@dataclass(frozen=True)
class Supervision:
    """What a loop asks between two steps.

    Attributes:
        stop: Ctrl-C and SIGTERM.
        requests: what other processes ask for.
        disk: repeats writes until there is room.
        at: failpoint of every save.
    """

    stop: StopRequest
    requests: Requests
    disk: DiskPatience
    at: Failpoint = passing

    def wanted(self) -> Action | None:
        """What to do before the next step; a signal is a wish to pause."""
        return "pause" if self.stop.asked else self.requests.pending()

    def paused(self, step: int, steps: int) -> Interrupted:
        """The end of a paused run, whose state is saved."""
        self.requests.done()
        how = "stopped" if self.stop.asked else "paused as asked,"
        return Interrupted(f"{how} after step {step} of {steps}")
