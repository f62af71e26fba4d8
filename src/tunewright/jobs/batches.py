"""Batches: every request of a file answered once, whatever happens to the server meanwhile."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from tunewright.core.asked_records import Batch
from tunewright.core.errors import NotFoundError
from tunewright.core.queue import Entry, Queue
from tunewright.core.results import Results
from tunewright.core.store import Store
from tunewright.deployment.replies import RequestError
from tunewright.jobs.answering import Answered, Answering, cost
from tunewright.jobs.asking import Asker, Question, persistently
from tunewright.jobs.batch_files import COMPLETED, input_path, result, write_errors, write_output
from tunewright.jobs.batch_lines import BadLineError, Checked, Line, check_lines, unanswered
from tunewright.jobs.pace import Pacer

BATCH = "batch"
"""Kind of a batch in the queue."""


class BatchTask:
    """One batch under way; implements ``background.Task``.

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
        self._asker, self._pacer = asker, pacer
        self._answering = Answering(store, entry, seconds, workers, self._count)

    async def run(self) -> None:
        """From where it was left to its end."""
        batch = await asyncio.to_thread(self._record)
        self._answering.api_key = batch.api_key
        if batch.in_progress_at is None and _early_end(batch) is None:
            checked = await self._checked(batch)
            batch = await asyncio.to_thread(self._begin, checked)
            if batch.failed_at is not None:
                return
        if batch.finalizing_at is None and _early_end(batch) is None:
            await self._answer(batch)
        await asyncio.to_thread(self._finish)

    async def save(self) -> None:
        """Write what was answered."""
        await self._answering.save()

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

        await self._answering.hold_while(look())
        checked = found[0]
        if not checked.errors and checked.model is not None:
            try:
                await self._asker.find(checked.model, batch.project or "", batch.api_key)
            except RequestError as error:
                problem = BadLineError(error.code or "invalid_value", error.message, "body.model")
                checked.errors.append(problem.told(None))
        return checked

    def _begin(self, checked: Checked) -> Batch:
        """On with it; or its end, when the input is wrong."""
        now = time.time()
        with self._store.transaction():
            if not checked.errors:
                self._answering.hold()
                return self._store.change(
                    Batch,
                    self._id,
                    **{"in_progress_at": now, "total": checked.total, "model": checked.model},
                )
            self._queue.end(self._lease, "failed", checked.errors[0])
            batch = self._store.change(
                Batch,
                self._id,
                **{"failed_at": now, "errors": tuple(checked.errors), "model": checked.model},
            )
        input_path(self._store, batch).unlink(missing_ok=True)
        return batch

    # Asking -------------------------------------------------------------------------------------

    async def _answer(self, batch: Batch) -> None:
        answered = await asyncio.to_thread(Results(self._store).numbers, batch.id)
        lines = unanswered(input_path(self._store, batch), answered)

        async def one(line: Line) -> Answered:
            question = Question(batch.endpoint, line.body, batch.project or "", batch.api_key)
            reply = await persistently(self._asker, self._pacer, question)
            return Answered(result(line, reply), (cost(reply, batch.model or ""),))

        await self._answering.answer(lines, one, lambda: _early_end(self._record()) is None)

    def _count(self, fresh: Sequence[Answered]) -> None:
        batch = self._record()
        completed = sum(one.result.outcome == COMPLETED for one in fresh)
        costs = [spent for one in fresh for spent in one.costs]
        self._store.change(
            Batch,
            batch.id,
            completed=batch.completed + completed,
            failed=batch.failed + len(fresh) - completed,
            prompt_tokens=batch.prompt_tokens + sum(one.prompt_tokens for one in costs),
            completion_tokens=batch.completion_tokens + sum(one.completion_tokens for one in costs),
            cached_tokens=batch.cached_tokens + sum(one.cached_tokens for one in costs),
        )

    # The end ------------------------------------------------------------------------------------

    def _finish(self) -> None:
        """The output files, and the record that names them: all of it, or another time."""
        batch = self._record()
        if batch.finalizing_at is None and _early_end(batch) is None:
            with self._store.transaction():
                self._answering.hold()
                batch = self._store.change(Batch, self._id, finalizing_at=time.time())
        end = _early_end(batch) or "completed"
        files = (write_output(self._store, batch), write_errors(self._store, batch, end))
        output, errors = (None if file is None else file.id for file in files)
        with self._store.transaction():
            self._queue.end(self._lease, "cancelled" if end == "cancelled" else "succeeded")
            for file in files:
                if file is not None:
                    self._store.add(file)
            ending = {f"{end}_at": time.time(), "output_file": output, "error_file": errors}
            self._store.change(Batch, self._id, **ending)
            Results(self._store).delete(self._id)
        input_path(self._store, batch).unlink(missing_ok=True)


def _early_end(batch: Batch) -> str | None:
    """How a batch is to end before all is answered, if it is."""
    if batch.finalizing_at is not None:
        return None
    if batch.cancelling_at is not None:
        return "cancelled"
    return "expired" if batch.expires <= time.time() else None
