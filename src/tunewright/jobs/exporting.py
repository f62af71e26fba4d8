"""Exports that clients of the API asked for: each is made by a process of its own."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from tunewright.config.jobs import JobsConfig
from tunewright.core.errors import NotFoundError
from tunewright.core.queue import Entry, Queue
from tunewright.core.records import Export
from tunewright.core.store import Store
from tunewright.jobs.background import Holding, beside
from tunewright.jobs.processes import NoWord, told_by
from tunewright.jobs.work import broke_off, retry_rule

EXPORT = "export"
"""Kind of an export in the queue."""
_PROCESS = "tunewright.jobs.exporting_process"


class ExportTask:
    """One export under way; implements ``background.Task``.

    Args:
        store: where it is.
        entry: its place in the queue, leased.
        config: how long leases last, and when to give up.
    """

    def __init__(self, store: Store, entry: Entry, config: JobsConfig) -> None:
        self._store, self._entry, self._config = store, entry, config
        self._queue = Queue(store)

    async def run(self) -> None:
        """To its end, or until its record is gone; half an export is none."""
        record = await asyncio.to_thread(self._record)
        if record is None:
            raise NotFoundError(f"no export {self._entry.id!r} in {self._store.home}")
        if record.state != "queued":
            # It was made when its last server ended, which did not get to say so.
            await asyncio.to_thread(self._end, {})
            return
        holding = Holding(self._queue, self._entry.lease, self._config.lease)
        said: dict[str, Any] = {}

        async def work() -> None:
            arguments = (
                f"--home={self._store.home}",
                f"--export={self._entry.id}",
                f"--token={self._entry.token}",
            )
            try:
                said.update(await told_by(_PROCESS, arguments))
            except NoWord as why:
                said["broke_off"] = str(why)

        async def go_on() -> bool:
            await asyncio.to_thread(holding.beat)
            return await asyncio.to_thread(self._record) is not None

        if await beside(work(), go_on):
            await asyncio.to_thread(self._end, said)

    async def save(self) -> None:
        """There is nothing to keep of half an export."""

    def _record(self) -> Export | None:
        return self._store.by_id(Export, self._entry.id)

    def _end(self, said: dict[str, Any]) -> None:
        lease = self._entry.lease
        if "broke_off" in said:
            rule = retry_rule(self._config)
            broke_off(self._store, self._queue, lease, rule, said["broke_off"])
            return
        with self._store.transaction():
            self._queue.end(lease, "succeeded")
            if "error" in said:
                now = time.time()
                error = str(said["error"])
                self._store.change(Export, lease.job, state="failed", error=error, finished=now)
