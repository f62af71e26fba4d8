"""Jobs of many questions: each answered once, and paid for once, whatever happens meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from tunewright.core.queue import Entry, Queue
from tunewright.core.results import Result, Results
from tunewright.core.store import Store
from tunewright.core.usage import Account, Sums, add_usage, this_hour
from tunewright.jobs.asking import Reply
from tunewright.jobs.background import Holding, beside

T = TypeVar("T")


@dataclass(frozen=True)
class Cost:
    """What one asking of a model took.

    Attributes:
        model: public name.
        prompt_tokens, completion_tokens, cached_tokens: the last of them are among the first.
        failed: whether there was no answer.
    """

    model: str
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    failed: bool = False


@dataclass(frozen=True)
class Answered:
    """A question's result, and what it took."""

    result: Result
    costs: tuple[Cost, ...]


def cost(reply: Reply, model: str) -> Cost:
    """Of a reply; ``model`` is who was asked, where nobody answered."""
    usage = reply.usage
    details = usage.get("prompt_tokens_details") or {}
    return Cost(
        reply.model or model,
        int(usage.get("prompt_tokens") or 0),
        int(usage.get("completion_tokens") or 0),
        int(details.get("cached_tokens") or 0),
        reply.status != 200,
    )


class Answering:
    """The answers of one leased job on their way to the database.

    They are written in one transaction together with what they cost, under the lease.

    Args:
        store: where the job is.
        entry: its place in the queue, leased.
        seconds: how long the lease lasts without a beat.
        workers: questions under way at once.
        count: called in the transaction with what it writes.

    Attributes:
        api_key: id of the key that pays; to be set before anything is asked.
    """

    def __init__(
        self,
        store: Store,
        entry: Entry,
        seconds: float,
        workers: int,
        count: Callable[[Sequence[Answered]], None],
    ) -> None:
        self._store, self._job, self._lease = store, entry.id, entry.lease
        self._queue = Queue(store)
        self._holding = Holding(self._queue, entry.lease, seconds)
        self._workers, self._count = workers, count
        self._fresh: list[Answered] = []
        self._saving: asyncio.Future[None] | None = None
        self.api_key = ""

    def hold(self) -> None:
        """Make sure of the lease; to be called in the transaction that writes.

        Raises:
            LeaseLost: another server has the job by now.
        """
        self._queue.keep(self._lease, {}, further=True)

    async def hold_while(self, work: Awaitable[None]) -> None:
        """Hold the lease while something else is done."""

        async def beat() -> bool:
            await asyncio.to_thread(self._holding.beat)
            return True

        await beside(work, beat)

    async def answer(
        self,
        questions: Iterator[T],
        one: Callable[[T], Awaitable[Answered]],
        go_on: Callable[[], bool],
    ) -> None:
        """Answer all, several at a time, in about their order.

        Args:
            questions: those that have no answer yet.
            one: answers one of them.
            go_on: called about twice a second in a thread; False breaks off.
        """

        async def worker() -> None:
            for question in questions:
                # The list is another one after the wait.
                answered = await one(question)
                self._fresh.append(answered)

        async def all_workers() -> None:
            async with asyncio.TaskGroup() as group:
                for _ in range(self._workers):
                    group.create_task(worker())

        async def look() -> bool:
            await self.save()
            return await asyncio.to_thread(go_on)

        await beside(all_workers(), look)
        await self.save()

    async def save(self) -> None:
        """Write what was answered; one that is broken off ends all the same, before the next."""
        if self._saving is not None:
            await asyncio.shield(self._saving)
        fresh, self._fresh = self._fresh, []
        self._saving = asyncio.ensure_future(asyncio.to_thread(self._write, fresh))
        await asyncio.shield(self._saving)

    def _write(self, fresh: Sequence[Answered]) -> None:
        if not fresh:
            self._holding.beat()
            return
        with self._store.transaction():
            self.hold()
            self._holding.beat()
            Results(self._store).add(self._job, [one.result for one in fresh])
            add_usage(self._store, self._use(fresh))
            self._count(fresh)

    def _use(self, fresh: Sequence[Answered]) -> dict[Account, Sums]:
        hour = this_hour()
        use: dict[Account, Sums] = {}
        for spent in (spent for one in fresh for spent in one.costs):
            sums = Sums(1, spent.prompt_tokens, spent.completion_tokens, int(spent.failed))
            use.setdefault(Account(hour, self.api_key, spent.model), Sums()).add(sums)
        return use
