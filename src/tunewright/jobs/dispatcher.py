"""Starts a worker process for every job that may run, and notices those that are gone.

Several dispatchers may serve one home: the queue gives a job to one of them. Workers have a session
of their own and outlive their dispatcher; the next one leaves them alone as long as they beat.
"""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path

from tunewright.config.jobs import JobsConfig
from tunewright.core.errors import LeaseLost, StorageError
from tunewright.core.queue import Entry, Queue
from tunewright.core.records import FineTuningJob
from tunewright.core.store import Lease, Store
from tunewright.jobs.filestore import sweep
from tunewright.jobs.heart import LEASE_LOST, owner_here
from tunewright.jobs.work import FILES, TRAINING, broke_off, retry_rule

_LOOK = 0.5
_SWEEP_SECONDS = 60.0
_STOP_SECONDS = 20.0
_KILL_SECONDS = 5.0
_FILES_SLOTS = 1
"""Jobs whose files are looked at at once; it takes one processor, and no accelerator."""
_log = logging.getLogger(__name__)


class Dispatcher:
    """Runs in a thread of the server.

    Args:
        store: whose jobs.
        config: how many at once, and when to give up.
    """

    def __init__(self, store: Store, config: JobsConfig) -> None:
        self._store, self._config = store, config
        self._queue = Queue(store)
        self._slots: Mapping[str, int] = {
            FILES: _FILES_SLOTS if config.slots else 0,
            TRAINING: config.slots,
        }
        self._workers: dict[Lease, subprocess.Popen[bytes]] = {}
        self._swept = 0.0
        self._awake = threading.Event()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="jobs", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def wake(self) -> None:
        """Look at the queue now: there is something new in it."""
        self._awake.set()

    def stop(self) -> None:
        """Start no more workers; ask ours to save, and wait for them for a while.

        One that takes longer goes on saving by itself and puts its job back.
        """
        self._over.set()
        self._awake.set()
        self._thread.join()
        for worker in self._workers.values():
            if worker.poll() is None:
                worker.send_signal(signal.SIGTERM)
        end = time.monotonic() + _STOP_SECONDS
        while self._workers and time.monotonic() < end:
            self._reap()
            time.sleep(0.05)

    def _run(self) -> None:
        while not self._over.is_set():
            try:
                self._once()
            except StorageError as error:
                _log.error("jobs: %s", error.message)
            except Exception:  # noqa: BLE001
                # The last boundary of this thread: it must outlive whatever one job brings.
                _log.exception("jobs: unexpected error")
            self._awake.wait(_LOOK)
            self._awake.clear()

    def _once(self) -> None:
        self._reap()
        for entry in self._queue.expired():
            self._take_back(entry)
        for kind, slots in self._slots.items():
            while not self._over.is_set():
                leased = self._queue.lease(kind, slots, owner_here(), self._config.lease)
                if leased is None:
                    break
                self._start(leased)
        if time.monotonic() - self._swept > _SWEEP_SECONDS and self._store.home.exists():
            self._swept = time.monotonic()
            sweep(self._store)

    def _start(self, entry: Entry) -> None:
        folder = self._store.folder(FineTuningJob, entry.id)
        folder.mkdir(parents=True, exist_ok=True)
        command = worker_command(self._store.home, entry.lease, self._config)
        try:
            with open(folder / "worker.log", "ab") as log:
                self._workers[entry.lease] = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
        except OSError as error:
            self._broke_off(entry.lease, f"no process could be started: {error}")

    def _reap(self) -> None:
        """Notice workers that ended; one that did not say how its job stands broke off."""
        for lease, worker in list(self._workers.items()):
            code = worker.poll()
            if code is None:
                continue
            del self._workers[lease]
            if code not in (0, LEASE_LOST):
                self._broke_off(lease, _death(code))

    def _take_back(self, entry: Entry) -> None:
        """A job whose worker has been silent for too long."""
        worker = self._workers.pop(entry.lease, None)
        if worker is not None:
            worker.kill()
            worker.wait()
        else:
            end_silent_worker(entry)
        self._broke_off(entry.lease, "its worker fell silent")

    def _broke_off(self, lease: Lease, why: str) -> None:
        try:
            broke_off(self._store, self._queue, lease, retry_rule(self._config), why)
        except LeaseLost:
            return  # it ended well in its last moment, or another server was faster
        _log.warning("job %s: %s", lease.job, why)


def worker_command(home: Path, lease: Lease, config: JobsConfig) -> list[str]:
    """The argument list; ``-P`` keeps the current folder's files from posing as modules."""
    return [
        *(sys.executable, "-P", "-m", "tunewright.jobs.worker"),
        *(f"--home={home}", f"--job={lease.job}", f"--token={lease.token}"),
        f"--config={config.model_dump_json()}",
    ]


def end_silent_worker(entry: Entry) -> None:
    """Kill a worker of this machine that holds no lease any more, be it stopped or stuck.

    It is told by its command line, as its number may be another process's by now. Elsewhere, and
    where there is no /proc, the fence alone keeps it from harm.
    """
    host, _, pid = (entry.owner or "").rpartition(":")
    if host != owner_here().rpartition(":")[0] or not pid.isdigit():
        return
    end = time.monotonic() + _KILL_SECONDS
    while _is_worker(int(pid), entry.lease) and time.monotonic() < end:
        os.kill(int(pid), signal.SIGKILL)
        time.sleep(0.05)


def _is_worker(pid: int, lease: Lease) -> bool:
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    wanted = {b"tunewright.jobs.worker", f"--job={lease.job}".encode()}
    return wanted <= set(words) and f"--token={lease.token}".encode() in words


def _death(code: int) -> str:
    """How a process ended, in words."""
    if code == -signal.SIGKILL:
        return "its worker was killed (signal 9), perhaps for want of memory"
    if code < 0:
        return f"its worker was ended by signal {-code}"
    return f"its worker ended with exit status {code}"
