"""What a run left behind: its steps, and whether a process still works on it. Loads no torch."""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tunewright.core.errors import InputError
from tunewright.core.events import EventLog
from tunewright.core.files import disk_errors, write_json_atomic

_LOCK = "run.lock"
_PROCESS = "process.json"
_PATIENCE = 1.0  # seconds: longer than another process's look at the lock takes


def read_history(run_folder: Path, kind: str = "step") -> list[dict[str, Any]]:
    """The run's ``step`` (or ``validation``) events in order of their step, each step once.

    A resumed run repeats the steps after its checkpoint; the last occurrence counts.
    """
    entries: dict[int, dict[str, Any]] = {}
    for event in EventLog(run_folder / "events.jsonl").read():
        if event.kind == "resumed":
            entries = {step: e for step, e in entries.items() if step <= event.data["step"]}
        elif event.kind == kind:
            entries[event.data["step"]] = event.data
    return [entries[step] for step in sorted(entries)]


@contextmanager
def run_lock(run_folder: Path) -> Iterator[None]:
    """Hold a run for this process. The kernel lets go when the process ends, however it ends.

    Raises:
        InputError: when another process holds it.
    """
    with disk_errors(run_folder):
        handle = os.open(run_folder / _LOCK, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        if not _lock(handle, _PATIENCE):
            raise InputError(
                f"run {run_folder.name} is being trained by process {_holder(run_folder)}",
                "Stop that process first (Ctrl-C or kill), then resume.",
            )
        with disk_errors(run_folder):
            write_json_atomic(run_folder / _PROCESS, {"pid": os.getpid(), "started": time.time()})
        yield
    finally:
        os.close(handle)


def run_is_alive(run_folder: Path) -> bool:
    """Whether a process is training this run now; a ``running`` run without one was killed."""
    try:
        handle = os.open(run_folder / _LOCK, os.O_RDWR)
    except FileNotFoundError:
        return False
    try:
        return not _lock(handle, 0.0)
    finally:
        os.close(handle)


def _lock(handle: int, patience: float) -> bool:
    end = time.monotonic() + patience
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if time.monotonic() >= end:
                return False
            time.sleep(0.05)


def _holder(run_folder: Path) -> str:
    try:
        return str(json.loads((run_folder / _PROCESS).read_bytes())["pid"])
    except (OSError, ValueError, KeyError):
        return "unknown"
