"""Waiting for room on a full disk instead of losing a run."""

from __future__ import annotations

import errno
import re
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from tunewright.core.errors import StorageError
from tunewright.core.events import Event, Listener

T = TypeVar("T")

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_SQLITE_FULL = 13  # SQLITE_FULL, https://www.sqlite.org/rescode.html#full
_RUST = re.compile(r"\(os error (\d+)\)")
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 60.0  # seconds; doubled from the one to the other
_LOOK = 0.2  # seconds between two looks at whether the user wants to stop


def is_full(error: BaseException) -> bool:
    """Whether a failure comes from a full disk or a used-up quota: what freeing room cures.

    Looks through the chain of causes: the operating system's number, the one that libraries in
    Rust (safetensors) put into their text, and SQLite's.
    """
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno in _FULL:
            return True
        if getattr(getattr(cause, "orig", None), "sqlite_errorcode", None) == _SQLITE_FULL:
            return True
        found = _RUST.search(str(cause))
        if found and int(found[1]) in _FULL:
            return True
        cause = cause.__cause__
    return False


@dataclass(frozen=True)
class DiskPatience:
    """Repeats writes that met a full disk until there is room.

    Attributes:
        folder: where the run writes.
        minutes: how long one write may wait altogether; 0 never waits.
        listen: gets ``waiting`` events. Never the run's own log, which is on the same disk.
        stopped: whether the user asked to stop; then waiting ends.
        pause: sleeps for seconds.
    """

    folder: Path
    minutes: float
    listen: Listener
    stopped: Callable[[], bool]
    pause: Callable[[float], None] = time.sleep

    def __call__(self, write: Callable[[], T], needed: int | None = None) -> T:
        """What ``write`` returns. ``needed`` is how many bytes it takes, as far as known.

        Raises:
            StorageError: any failure but a full disk at once; that one when no room came in time.
        """
        waited, pause = 0.0, _FIRST_PAUSE
        while True:
            try:
                result = write()
            except StorageError as error:
                if not is_full(error) or waited >= 60 * self.minutes or self.stopped():
                    raise
                self._tell(error, needed, waited)
            else:
                if waited:
                    text = f"there is room again after {waited:.0f} s; going on"
                    self.listen(Event(kind="note", data={"text": text}))
                return result
            waited += self._wait(min(pause, 60 * self.minutes - waited))
            pause = min(2 * pause, _LONGEST_PAUSE)

    def _wait(self, seconds: float) -> float:
        left = seconds
        while left > 0 and not self.stopped():
            self.pause(min(left, _LOOK))
            left -= _LOOK
        return seconds

    def _tell(self, error: StorageError, needed: int | None, waited: float) -> None:
        data = {
            "reason": error.message,
            "folder": str(self.folder),
            "needed_bytes": needed,
            "free_bytes": shutil.disk_usage(self.folder).free,
            "waited_seconds": waited,
            "minutes": self.minutes,
        }
        self.listen(Event(kind="waiting", data=data))
