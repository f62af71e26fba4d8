"""Who is answered when: sharing, taking turns, leaving, failing."""

import asyncio
import threading
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from tunewright.config.serving import GenerationConfig
from tunewright.core.errors import ModelError
from tunewright.deployment.replies import RequestError
from tunewright.deployment.rows import Job, Post, Row, Token, Wishes
from tunewright.deployment.scheduler import Group, Scheduler


class Counting:
    """A group whose answers are numbers; it waits for ``go`` and notes who shares each turn."""

    def __init__(self, adapter: str | None, turns: list[Any], go: threading.Semaphore) -> None:
        self.adapter = adapter
        self._turns = turns
        self._go = go
        self._rows: list[Row] = []

    @property
    def rows(self) -> Sequence[Row]:
        return [row for row in self._rows if not row.over]

    def turn(self, fresh: Sequence[Row], post: Post) -> Sequence[Row]:
        self._go.acquire()
        if self.adapter == "broken":
            raise ZeroDivisionError
        self._rows = [row for row in [*self._rows, *fresh] if not row.over]
        room = 2 if self.adapter == "narrow" else 1000
        self._rows, back = self._rows[:room], self._rows[room:]
        self._turns.append((self.adapter, len(self._rows)))
        for row in self._rows:
            row.take(row.drawn + 1, frozenset())
            post.token(row, Token(row.drawn))
        return back

    def close(self) -> None:
        self._rows = []


class Bench:
    """A scheduler over counting groups."""

    def __init__(self, most: int = 4) -> None:
        self.turns: list[tuple[str | None, int]] = []
        self.go = threading.Semaphore(0)
        self.scheduler = Scheduler(self._open, most=most)

    def _open(self, adapter: str | None) -> Group:
        if adapter == "gone":
            raise ModelError("no such adapter")
        return Counting(adapter, self.turns, self.go)

    def submit(self, tokens: int, adapter: str | None = None, count: int = 1) -> Job:
        wishes = Wishes(GenerationConfig(max_new_tokens=tokens))
        job = Job([0], wishes, adapter, asyncio.get_running_loop(), count)
        self.scheduler.submit(job)
        return job

    def let(self, turns: int) -> None:
        self.go.release(turns)

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(10):
            while not condition():
                await asyncio.sleep(0.005)


async def said(job: Job) -> list[list[int]]:
    """The tokens of every answer of a job, once all have ended."""
    answers: list[list[int]] = [[] for _ in job.rows]
    ended: set[int] = set()
    async with asyncio.timeout(10):
        while len(ended) < len(answers):
            for index, token, reason in await job.next():
                answers[index].append(token.id)
                if reason is not None:
                    ended.add(index)
    return answers


async def text(job: Job) -> str:
    return "".join(f"{token} " for token in (await said(job))[0])


def test_a_request_joins_those_under_way() -> None:
    async def story() -> None:
        bench = Bench()
        first = bench.submit(4)
        bench.let(1)
        await bench.until(lambda: len(bench.turns) == 1)
        second = bench.submit(2)
        bench.let(20)
        assert await text(first) == "1 2 3 4 "
        assert await text(second) == "1 2 "
        shared = [count for _, count in bench.turns]
        assert max(shared) == 2
        assert len(shared) < 6

    asyncio.run(story())


def test_adapters_take_turns() -> None:
    async def story() -> None:
        bench = Bench()
        jobs = [bench.submit(30, "a"), bench.submit(30, "b"), bench.submit(30)]
        bench.let(100)
        for job in jobs:
            await text(job)
        order = [adapter for adapter, _ in bench.turns]
        assert set(order[-6:]) == {"a", "b", None}

    asyncio.run(story())


def test_no_more_rows_run_than_fit_and_the_rest_waits_in_order() -> None:
    async def story() -> None:
        bench = Bench(most=4)
        jobs = [bench.submit(2) for _ in range(4 + 3)]
        bench.let(100)
        for job in jobs:
            await text(job)
        assert max(count for _, count in bench.turns) <= 4

    asyncio.run(story())


def test_every_answer_of_a_request_is_a_row() -> None:
    async def story() -> None:
        bench = Bench(most=4)
        job = bench.submit(2, count=6)
        bench.let(100)
        assert await said(job) == [[1, 2]] * 6

    asyncio.run(story())


def test_who_left_for_want_of_memory_comes_back_when_somebody_has_ended() -> None:
    async def story() -> None:
        bench = Bench(most=4)
        jobs = [bench.submit(5, "narrow") for _ in range(4)]
        bench.let(100)
        for job in jobs:
            assert await text(job) == "1 2 3 4 5 "
        assert max(count for _, count in bench.turns) == 2
        # Had they been tried again every turn, each turn would have pushed them out again.
        assert len(bench.turns) <= 16

    asyncio.run(story())


def test_an_adapter_that_goes_takes_its_answers_along() -> None:
    async def story() -> None:
        bench = Bench(most=2)
        jobs = [bench.submit(30, "a"), bench.submit(30, "b"), bench.submit(3, "a")]
        bench.let(2)
        gone = RequestError(404, "unloaded")
        call = asyncio.create_task(
            bench.scheduler.call(lambda: bench.scheduler.end_adapter("a", gone))
        )
        await asyncio.sleep(0)
        bench.let(100)
        await call
        assert (await text(jobs[1])).endswith("30 ")
        for job in (jobs[0], jobs[2]):
            with pytest.raises(RequestError, match="unloaded"):
                await text(job)

    asyncio.run(story())


def test_a_cancelled_request_leaves_and_is_not_counted() -> None:
    async def story() -> None:
        bench = Bench()
        job = bench.submit(1000)
        bench.let(3)
        await bench.until(lambda: bench.scheduler.counts()["running"] == 1)
        queued = bench.submit(1000)
        job.cancel()
        queued.cancel()
        assert bench.scheduler.counts()["waiting"] == 0
        bench.let(5)
        await bench.until(lambda: bench.scheduler.counts() == {"running": 0, "waiting": 0})
        again = bench.submit(1)
        assert await text(again) == "1 "

    asyncio.run(story())


def test_a_failure_stays_with_its_own_batch() -> None:
    async def story() -> None:
        bench = Bench()
        good, broken, gone = bench.submit(3), bench.submit(3, "broken"), bench.submit(3, "gone")
        bench.let(20)
        assert await text(good) == "1 2 3 "
        with pytest.raises(RequestError) as caught:
            await text(broken)
        assert caught.value.status == 500
        with pytest.raises(RequestError, match="no such adapter"):
            await text(gone)

    asyncio.run(story())


def test_calls_run_between_turns_and_their_errors_come_back() -> None:
    async def story() -> None:
        bench = Bench()
        job = bench.submit(50)
        bench.let(100)
        assert await bench.scheduler.call(lambda: 6 * 7) == 42
        with pytest.raises(ZeroDivisionError):
            await bench.scheduler.call(lambda: 1 // 0)
        assert (await text(job)).endswith("50 ")

    asyncio.run(story())
