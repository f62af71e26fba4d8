"""A worker's pulse: holds its lease, writes what it tells, passes on what it is asked for."""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Self

from tunewright.core.errors import InputError, LeaseLost, StorageError
from tunewright.core.queue import Queue
from tunewright.core.store import Lease, Store
from tunewright.jobs.journal import Journal, Note
from tunewright.training.control import ask
from tunewright.training.history import run_is_alive

LEASE_LOST = 3
"""Exit status of a worker whose job is another's."""
_BEAT = 0.5
_log = logging.getLogger(__name__)


def owner_here() -> str:
    """How this process signs its leases."""
    return f"{socket.gethostname()}:{os.getpid()}"


class Heart:
    """Beats in a thread of its own while the context is open, and on SIGTERM asks for the end.

    A worker that has lost its lease ends at once, in the middle of whatever it does: its job is
    another's, and all that it has written is safe to find half done.

    Args:
        store: the worker's, fenced by the lease.
        lease: what it works on.
        seconds: how long the lease lasts without a beat.
    """

    def __init__(self, store: Store, lease: Lease, seconds: float) -> None:
        self.run_folder: Path | None = None
        """Of the run that is under way: the loop there is asked to pause when we have to stop."""
        self._queue, self._journal = Queue(store), Journal(store)
        self._lease, self._seconds = lease, seconds
        self._notes: list[Note] = []
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._signalled = False
        self._asked = False
        self._held_until = time.monotonic() + seconds
        self._thread = threading.Thread(target=self._beat, name="heart", daemon=True)

    def __enter__(self) -> Self:
        signal.signal(signal.SIGTERM, self._on_signal)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    @property
    def stopping(self) -> bool:
        """Whether the work is to end soon, saved."""
        return self._signalled or self._asked

    def tell(self, note: Note) -> None:
        """Write a note with the next beat."""
        with self._lock:
            self._notes.append(note)

    def take(self) -> Sequence[Note]:
        """The notes that are not written yet; from now on the caller's to write."""
        with self._lock:
            notes, self._notes = self._notes, []
        return notes

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._signalled = True

    def _beat(self) -> None:
        pause = min(_BEAT, self._seconds / 4)
        while not self._over.wait(pause):
            try:
                self._once()
            except StorageError as error:
                _log.warning("no heartbeat: %s", error.message)
            except LeaseLost:
                self._leave()
            if time.monotonic() > self._held_until:
                self._leave()

    def _once(self) -> None:
        entry = self._queue.get(self._lease.job)
        if entry.lease != self._lease or entry.state != "running":
            self._leave()
        self._asked = entry.asked is not None
        left = self._held_until - time.monotonic()
        if left < self._seconds * 2 / 3 or entry.owner != owner_here():
            self._hold()
        notes = self.take()
        try:
            self._journal.write(self._lease.job, notes)
        except StorageError:
            with self._lock:
                self._notes = [*notes, *self._notes]
            raise
        self._pass_on()

    def _hold(self) -> None:
        began = time.monotonic()
        self._queue.heartbeat(self._lease, owner_here(), self._seconds)
        self._held_until = began + self._seconds

    def _pass_on(self) -> None:
        """Ask the run to pause; again each time, for a run that begins forgets what was asked."""
        folder = self.run_folder
        if self.stopping and folder is not None and run_is_alive(folder):
            with suppress(InputError):
                ask(folder, "pause")

    def _leave(self) -> None:
        _log.error("job %s is another worker's by now, or ended; leaving", self._lease.job)
        logging.shutdown()
        os._exit(LEASE_LOST)
