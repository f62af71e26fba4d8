"""Batches: every request of a file answered once, whatever happens to the server meanwhile."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from typing import Any

from tunewright.core.errors import NotFoundError
from tunewright.core.queue import Entry, Queue
from tunewright.core.records import Batch
from tunewright.core.results import Result, Results
from tunewright.core.store import Store
from tunewright.core.usage import Account, Sums, add_usage, this_hour
from tunewright.deployment.replies import RequestError
from tunewright.jobs.asking import Asker, Question, Reply, persistently
from tunewright.jobs.background import Holding, beside
from tunewright.jobs.batch_files import COMPLETED, input_path, result, write_errors, write_output
from tunewright.jobs.batch_lines import BadLineError, Checked, Line, check_lines, unanswered
from tunewright.jobs.pace import Pacer

BATCH = "batch"
"""Kind of a batch in the queue."""


def change(store: Store, batch: str, **changes: Any) -> Batch:
    """Change a batch's record; nobody else's change of it is lost.

    Raises:
        NotFoundError: there is none.
    """
    with store.transaction():
        record = store.by_id(Batch, batch)
        if record is None:
            raise NotFoundError(f"no batch {batch!r} in {store.home}")
        record = record.model_copy(update=changes)
        store.update(record)
        return record


class BatchTask:
    """One batch under way; implements ``background.Task``.

    What is answered is saved in one transaction together with what it costs, under the lease: a
    request is answered once in the output, and paid for once.

    Args:
        store: where it is.
        entry: its place in the queue, leased.
        seconds: how long the lease lasts without a beat.
        asker, pacer: how models are asked, and how fast.
        workers: requests under way at once.
    """

    def __init__(
        self,
        store: Store,
        entry: Entry,
        seconds: float,
        asker: Asker,
        pacer: Pacer,
        workers: int,
    ) -> None:
        self._store, self._id, self._lease = store, entry.id, entry.lease
        self._queue = Queue(store)
        self._holding = Holding(self._queue, entry.lease, seconds)
        self._asker, self._pacer, self._workers = asker, pacer, workers
        self._fresh: list[tuple[Result, Reply]] = []
        self._saving: asyncio.Future[None] | None = None

    async def run(self) -> None:
        """From where it was left to its end."""
        batch = await asyncio.to_thread(self._record)
        if batch.in_progress_at is None and _early_end(batch) is None:
            checked = await self._checked(batch)
            batch = await asyncio.to_thread(self._begin, checked)
            if batch.failed_at is not None:
                return
        if batch.finalizing_at is None and _early_end(batch) is None:
            await self._answer(batch)
        await asyncio.to_thread(self._finish)

    async def save(self) -> None:
        """Write what was answered; one that is broken off ends all the same, before the next."""
        if self._saving is not None:
            await asyncio.shield(self._saving)
        fresh, self._fresh = self._fresh, []
        self._saving = asyncio.ensure_future(asyncio.to_thread(self._write, fresh))
        await asyncio.shield(self._saving)

    def _record(self) -> Batch:
        record = self._store.by_id(Batch, self._id)
        if record is None:
            raise NotFoundError(f"no batch {self._id!r} in {self._store.home}")
        return record

    # Looking at the input -----------------------------------------------------------------------

    async def _checked(self, batch: Batch) -> Checked:
        path = input_path(self._store, batch)
        found: list[Checked] = []

        async def look() -> None:
            found.append(await asyncio.to_thread(check_lines, path, batch.endpoint))

        await beside(look(), self._held)
        checked = found[0]
        if not checked.errors and checked.model is not None:
            try:
                await self._asker.find(checked.model, batch.project or "")
            except RequestError as error:
                problem = BadLineError(error.code or "invalid_value", error.message, "body.model")
                checked.errors.append(problem.told(None))
        return checked

    async def _held(self) -> bool:
        await asyncio.to_thread(self._holding.beat)
        return True

    def _begin(self, checked: Checked) -> Batch:
        """On with it; or its end, when the input is wrong."""
        now = time.time()
        with self._store.transaction():
            if not checked.errors:
                self._queue.keep(self._lease, {}, further=True)
                return change(
                    self._store,
                    self._id,
                    **{"in_progress_at": now, "total": checked.total, "model": checked.model},
                )
            self._queue.end(self._lease, "failed", checked.errors[0])
            batch = change(
                self._store,
                self._id,
                **{"failed_at": now, "errors": tuple(checked.errors), "model": checked.model},
            )
        input_path(self._store, batch).unlink(missing_ok=True)
        return batch

    # Asking -------------------------------------------------------------------------------------

    async def _answer(self, batch: Batch) -> None:
        answered = await asyncio.to_thread(Results(self._store).numbers, batch.id)
        lines = unanswered(input_path(self._store, batch), answered)

        async def all_workers() -> None:
            async with asyncio.TaskGroup() as group:
                for _ in range(self._workers):
                    group.create_task(self._work(batch, lines))

        async def look() -> bool:
            await self.save()
            return _early_end(await asyncio.to_thread(self._record)) is None

        await beside(all_workers(), look)
        await self.save()

    async def _work(self, batch: Batch, lines: Iterator[Line]) -> None:
        """Answer one line after another; all workers take theirs from the same file."""
        for line in lines:
            question = Question(batch.endpoint, line.body, batch.project or "", batch.api_key)
            reply = await persistently(self._asker, self._pacer, question)
            self._fresh.append((result(line, reply), reply))

    def _write(self, fresh: Sequence[tuple[Result, Reply]]) -> None:
        if not fresh:
            self._holding.beat()
            return
        with self._store.transaction():
            # The first write proves that the lease holds.
            self._queue.keep(self._lease, {}, further=True)
            self._holding.beat()
            batch = self._record()
            Results(self._store).add(batch.id, [one for one, _ in fresh])
            add_usage(self._store, _costs(batch, fresh))
            self._count(batch, fresh)

    def _count(self, batch: Batch, fresh: Sequence[tuple[Result, Reply]]) -> None:
        completed = sum(one.outcome == COMPLETED for one, _ in fresh)
        counts = [_tokens(reply) for _, reply in fresh]
        change(
            self._store,
            batch.id,
            completed=batch.completed + completed,
            failed=batch.failed + len(fresh) - completed,
            prompt_tokens=batch.prompt_tokens + sum(one[0] for one in counts),
            completion_tokens=batch.completion_tokens + sum(one[1] for one in counts),
            cached_tokens=batch.cached_tokens + sum(one[2] for one in counts),
        )

    # The end ------------------------------------------------------------------------------------

    def _finish(self) -> None:
        """The output files, and the record that names them: all of it, or another time."""
        batch = self._record()
        if batch.finalizing_at is None and _early_end(batch) is None:
            with self._store.transaction():
                self._queue.keep(self._lease, {}, further=True)
                batch = change(self._store, self._id, finalizing_at=time.time())
        end = _end(batch)
        files = (write_output(self._store, batch), write_errors(self._store, batch, end))
        output, errors = (None if file is None else file.id for file in files)
        with self._store.transaction():
            self._queue.end(self._lease, "cancelled" if end == "cancelled" else "succeeded")
            for file in files:
                if file is not None:
                    self._store.add(file)
            ending = {f"{end}_at": time.time(), "output_file": output, "error_file": errors}
            change(self._store, self._id, **ending)
            Results(self._store).delete(self._id)
        input_path(self._store, batch).unlink(missing_ok=True)


def _early_end(batch: Batch) -> str | None:
    """How a batch is to end before all is answered, if it is."""
    if batch.finalizing_at is not None:
        return None
    if batch.cancelling_at is not None:
        return "cancelled"
    return "expired" if batch.expires <= time.time() else None


def _end(batch: Batch) -> str:
    return _early_end(batch) or "completed"


def _tokens(reply: Reply) -> tuple[int, int, int]:
    """Of the question, of the answer, and of the question as far as it was read before."""
    usage = reply.usage
    details = usage.get("prompt_tokens_details") or {}
    return (
        int(usage.get("prompt_tokens") or 0),
        int(usage.get("completion_tokens") or 0),
        int(details.get("cached_tokens") or 0),
    )


def _costs(batch: Batch, fresh: Sequence[tuple[Result, Reply]]) -> dict[Account, Sums]:
    """What answers add to the use of the batch's key."""
    hour = this_hour()
    costs: dict[Account, Sums] = {}
    for one, reply in fresh:
        prompt, completion, _ = _tokens(reply)
        account = Account(hour, batch.api_key, reply.model or batch.model or "")
        failed = int(one.outcome != COMPLETED)
        costs.setdefault(account, Sums()).add(Sums(1, prompt, completion, failed))
    return costs
