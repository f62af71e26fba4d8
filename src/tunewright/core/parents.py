"""A child process and the parent that started it: a secret at the beginning, the end together."""

from __future__ import annotations

import os
import threading

_STDIN = 0


def read_secret() -> str:
    """The first line of stdin; empty when the parent is gone already."""
    line = b""
    while not line.endswith(b"\n") and (part := os.read(_STDIN, 1)):
        line += part
    return line.decode().strip()


def leave_with_parent() -> None:
    """End this process when stdin ends, whatever its other threads are doing then."""
    threading.Thread(target=_leave, name="parent", daemon=True).start()


def _leave() -> None:
    # Past Python's own stdin, whose lock a thread must not hold when the interpreter ends.
    while os.read(_STDIN, 4096):
        pass
    os._exit(0)
