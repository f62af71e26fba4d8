"""Asking a run for something while it trains: a file in its folder that it looks for each step.

Any process may ask, whichever machine it is on, if it sees the folder; the loop obeys between two
steps and removes the file. Nothing else is shared: no port, no signal, no process id that might
belong to somebody else by now. Loads no torch.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Literal, get_args

from tunewright.core.errors import InputError
from tunewright.core.files import disk_errors, fsync_folder, write_json_atomic
from tunewright.training.history import run_is_alive

Action = Literal["pause", "save", "stop"]
Outcome = Literal["done", "ended", "waiting"]
ACTIONS: tuple[Action, ...] = get_args(Action)
_FILE = "control.json"
_LOOK = 0.1  # seconds between two looks at whether a request was honoured
_MOST_BYTES = 4096


def ask(run_folder: Path, action: Action) -> None:
    """Ask the run for something; a newer request replaces one that was not honoured yet.

    Raises:
        InputError: when no process trains the run.
        StorageError: when the disk refuses.
    """
    if not run_is_alive(run_folder):
        raise InputError(
            f"run {run_folder.name} is not being trained now, so it cannot {action}",
            f"Go on with it: tunewright train --resume {run_folder.name}",
        )
    write_json_atomic(run_folder / _FILE, {"action": action, "time": time.time()})


def follow(run_folder: Path, patience: float) -> Outcome:
    """What became of a request within ``patience`` seconds.

    ``done``: honoured; ``ended``: the run's process ended first; ``waiting``: not yet.
    """
    end = time.monotonic() + patience
    while (run_folder / _FILE).exists():
        if not run_is_alive(run_folder):
            return "ended"
        if time.monotonic() >= end:
            return "waiting"
        time.sleep(_LOOK)
    return "done"


class Requests:
    """The run's side: what is asked of it now.

    Args:
        run_folder: the run's folder. What a former process was asked for and did not do is void:
            whoever resumed the run since wanted it to go on.
    """

    def __init__(self, run_folder: Path) -> None:
        self._path = run_folder / _FILE
        self.done()

    def pending(self) -> Action | None:
        """The request that waits, if any. A file that is none is removed and ignored."""
        # One look at the folder's entry per step: microseconds beside a step of milliseconds.
        if not self._path.exists():
            return None
        action = _read(self._path)
        if action is None:
            self.done()
        return action

    def done(self) -> None:
        """Tell that the request was honoured, durably: a power cut must not bring it back."""
        with disk_errors(self._path):
            try:
                self._path.unlink()
            except FileNotFoundError:
                return
            fsync_folder(self._path.parent)


def _read(path: Path) -> Action | None:
    """The action that a request file names; None for anything else."""
    try:
        with open(path, "rb") as file:
            content = json.loads(file.read(_MOST_BYTES))
    except (OSError, ValueError):
        return None
    asked = content.get("action") if isinstance(content, dict) else None
    return next((action for action in ACTIONS if action == asked), None)
