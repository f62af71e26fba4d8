"""Work that runs inside the server: jobs of the queue that do little but ask models and wait."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Protocol

from tunewright.config.jobs import JobsConfig
from tunewright.core.errors import LeaseLost, NotFoundError, StorageError
from tunewright.core.queue import Entry, Queue
from tunewright.core.store import Lease, Store
from tunewright.jobs.heart import owner_here
from tunewright.jobs.work import broke_off, retry_rule

LOOK = 0.5
"""Seconds between two looks at the queue, and between two savings of what was answered."""
_AT_ONCE = 16
_SLOTS = 1_000_000
_UPKEEP_SECONDS = 60.0
_log = logging.getLogger(__name__)


class Task(Protocol):
    """One leased job under way."""

    async def run(self) -> None:
        """Do it to its end.

        Raises:
            LeaseLost: it is another server's by now.
            StorageError: the disk refuses; another attempt may succeed.
        """
        ...

    async def save(self) -> None:
        """Write down what was done and not written yet."""
        ...


class Background:
    """Leases jobs of some kinds and runs each as a task of the event loop.

    A server that is killed loses its leases after their time, and the next one goes on with what
    was saved. One that stops saves and gives them back at once.

    Args:
        store: whose queue.
        config: how long leases last, and when to give up.
        kinds: how to make a job's task, by its kind in the queue.
        upkeep: called about once a minute.
        slots: how many jobs of a kind run at once, over all servers; any number where not named.
    """

    def __init__(
        self,
        store: Store,
        config: JobsConfig,
        kinds: Mapping[str, Callable[[Entry], Task]],
        upkeep: Callable[[], None],
        slots: Mapping[str, int] | None = None,
    ) -> None:
        self._store, self._config, self._kinds = store, config, kinds
        self._upkeep, self._slots = upkeep, slots or {}
        self._kept = 0.0
        self._queue = Queue(store)
        self._running: set[asyncio.Task[None]] = set()
        self._awake = asyncio.Event()
        self._over = False
        self._loop: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin; to be called on the event loop."""
        self._loop = asyncio.create_task(self._run())

    def wake(self) -> None:
        """Look at the queue now; to be called on the event loop."""
        self._awake.set()

    async def stop(self) -> None:
        """Begin nothing more; save what runs, and put it back."""
        self._over = True
        self._awake.set()
        if self._loop is not None:
            await self._loop
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    async def _run(self) -> None:
        while not self._over:
            try:
                await self._begin()
                if time.monotonic() - self._kept > _UPKEEP_SECONDS and self._store.home.exists():
                    self._kept = time.monotonic()
                    await asyncio.to_thread(self._upkeep)
            except StorageError as error:
                _log.error("background: %s", error.message)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._awake.wait(), LOOK)
            self._awake.clear()

    async def _begin(self) -> None:
        for kind in self._kinds:
            while not self._over and len(self._running) < _AT_ONCE:
                slots = self._slots.get(kind, _SLOTS)
                entry = await asyncio.to_thread(
                    self._queue.lease, kind, slots, owner_here(), self._config.lease
                )
                if entry is None:
                    break
                task = asyncio.create_task(self._work(entry))
                self._running.add(task)
                task.add_done_callback(self._running.discard)

    async def _work(self, entry: Entry) -> None:
        try:
            task = self._kinds[entry.kind](entry)
            try:
                await task.run()
            except asyncio.CancelledError:
                await self._give_back(entry, task)
        except (LeaseLost, NotFoundError) as error:
            # Another server has it by now, or it was deleted.
            _log.warning("%s", error.message)
        except StorageError as error:
            await self._broke_off(entry, error.message)
        except Exception as error:  # noqa: BLE001
            # The last boundary: a fault of ours, which may not come again.
            _log.exception("job %s", entry.id)
            await self._broke_off(entry, f"an unexpected {type(error).__name__} was met")

    async def _give_back(self, entry: Entry, task: Task) -> None:
        await task.save()
        await asyncio.to_thread(self._queue.release, entry.lease)

    async def _broke_off(self, entry: Entry, why: str) -> None:
        rule = retry_rule(self._config)
        # What cannot be told now is noticed when the lease runs out.
        with suppress(LeaseLost, StorageError):
            await asyncio.to_thread(broke_off, self._store, self._queue, entry.lease, rule, why)


class Holding:
    """A lease that is held while its job runs.

    Args:
        queue: whose.
        lease: which.
        seconds: how long it lasts without a beat.
    """

    def __init__(self, queue: Queue, lease: Lease, seconds: float) -> None:
        self._queue, self._lease, self._seconds = queue, lease, seconds
        self._until = time.monotonic() + seconds

    def beat(self) -> None:
        """Hold it longer, when a third of its time is over.

        Raises:
            LeaseLost: another server has the job by now.
        """
        began = time.monotonic()
        if self._until - began < self._seconds * 2 / 3:
            self._queue.heartbeat(self._lease, owner_here(), self._seconds)
            self._until = began + self._seconds


async def beside(work: Awaitable[None], every: Callable[[], Awaitable[bool]]) -> bool:
    """Let ``work`` run, with a look about twice a second; the work is broken off when a look says
    that it is to go no further.

    Returns:
        Whether the work ended by itself.
    """
    task = asyncio.ensure_future(work)
    try:
        while not task.done():
            await asyncio.wait({task}, timeout=LOOK)
            if not await every():
                return task.done() and task.exception() is None
        task.result()
        return True
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
