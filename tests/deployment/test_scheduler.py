"""Who is answered when: sharing, taking turns, leaving, failing."""

import asyncio
import threading
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from tunewright.config.serving import GenerationConfig
from tunewright.core.errors import ModelError
from tunewright.deployment.replies import RequestError
from tunewright.deployment.scheduler import MAX_ROWS, Group, Job, Piece, Scheduler


class Counting:
    """A group whose answers are numbers; it waits for ``go`` and notes who shares each turn."""

    def __init__(self, adapter: str | None, turns: list[Any], go: threading.Semaphore) -> None:
        self.adapter = adapter
        self._turns = turns
        self._go = go
        self._rows: dict[Job, int] = {}

    @property
    def jobs(self) -> Sequence[Job]:
        return list(self._rows)

    def turn(self, fresh: Sequence[Job]) -> None:
        self._go.acquire()
        if self.adapter == "broken":
            raise ZeroDivisionError
        self._rows |= dict.fromkeys(fresh, 0)
        self._rows = {job: n for job, n in self._rows.items() if not job.cancelled.is_set()}
        self._turns.append((self.adapter, len(self._rows)))
        for job in list(self._rows):
            self._rows[job] += 1
            ended = self._rows[job] == job.settings.max_new_tokens
            job.send(Piece(f"{self._rows[job]} ", "length" if ended else None, self._rows[job]))
            if ended:
                del self._rows[job]


class Desk:
    """A scheduler over counting groups."""

    def __init__(self) -> None:
        self.turns: list[tuple[str | None, int]] = []
        self.go = threading.Semaphore(0)
        self.scheduler = Scheduler(self._open)

    def _open(self, adapter: str | None) -> Group:
        if adapter == "gone":
            raise ModelError("no such adapter")
        return Counting(adapter, self.turns, self.go)

    def submit(self, tokens: int, adapter: str | None = None, prompt: int = 1) -> Job:
        settings = GenerationConfig(max_new_tokens=tokens)
        job = Job([0] * prompt, settings, adapter, asyncio.get_running_loop())
        self.scheduler.submit(job)
        return job

    def let(self, turns: int) -> None:
        self.go.release(turns)

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(10):
            while not condition():
                await asyncio.sleep(0.005)


async def text(job: Job) -> str:
    parts = []
    async with asyncio.timeout(10):
        while True:
            piece = await job.pieces.get()
            if isinstance(piece, Exception):
                raise piece
            parts.append(piece.text)
            if piece.finish_reason:
                return "".join(parts)


def test_a_request_joins_those_under_way() -> None:
    async def story() -> None:
        desk = Desk()
        first = desk.submit(4)
        desk.let(1)
        await desk.until(lambda: len(desk.turns) == 1)
        second = desk.submit(2)
        desk.let(20)
        assert await text(first) == "1 2 3 4 "
        assert await text(second) == "1 2 "
        shared = [count for _, count in desk.turns]
        assert max(shared) == 2
        assert len(shared) < 6

    asyncio.run(story())


def test_adapters_take_turns() -> None:
    async def story() -> None:
        desk = Desk()
        jobs = [desk.submit(30, "a"), desk.submit(30, "b"), desk.submit(30)]
        desk.let(100)
        for job in jobs:
            await text(job)
        order = [adapter for adapter, _ in desk.turns]
        assert set(order[-6:]) == {"a", "b", None}

    asyncio.run(story())


def test_no_more_rows_run_than_fit_and_the_rest_waits_in_order() -> None:
    async def story() -> None:
        desk = Desk()
        jobs = [desk.submit(2) for _ in range(MAX_ROWS + 3)]
        desk.let(100)
        for job in jobs:
            await text(job)
        assert max(count for _, count in desk.turns) <= MAX_ROWS

    asyncio.run(story())


def test_long_prompts_are_read_a_few_at_a_time() -> None:
    async def story() -> None:
        desk = Desk()
        blocker = desk.submit(3)
        jobs = [desk.submit(8, prompt=8000) for _ in range(4)]
        desk.let(100)
        for job in [blocker, *jobs]:
            await text(job)
        assert desk.turns[0][1] <= 3

    asyncio.run(story())


def test_a_cancelled_request_leaves_and_is_not_counted() -> None:
    async def story() -> None:
        desk = Desk()
        job = desk.submit(1000)
        desk.let(3)
        await desk.until(lambda: desk.scheduler.counts()["running"] == 1)
        queued = desk.submit(1000)
        job.cancelled.set()
        queued.cancelled.set()
        assert desk.scheduler.counts()["waiting"] == 0
        desk.let(5)
        await desk.until(lambda: desk.scheduler.counts() == {"running": 0, "waiting": 0})
        again = desk.submit(1)
        assert await text(again) == "1 "

    asyncio.run(story())


def test_a_failure_stays_with_its_own_batch() -> None:
    async def story() -> None:
        desk = Desk()
        good, broken, gone = desk.submit(3), desk.submit(3, "broken"), desk.submit(3, "gone")
        desk.let(20)
        assert await text(good) == "1 2 3 "
        with pytest.raises(RequestError) as caught:
            await text(broken)
        assert caught.value.status == 500
        with pytest.raises(RequestError, match="no such adapter"):
            await text(gone)

    asyncio.run(story())


def test_calls_run_between_turns_and_their_errors_come_back() -> None:
    async def story() -> None:
        desk = Desk()
        job = desk.submit(50)
        desk.let(100)
        assert await desk.scheduler.call(lambda: 6 * 7) == 42
        with pytest.raises(ZeroDivisionError):
            await desk.scheduler.call(lambda: 1 // 0)
        assert (await text(job)).endswith("50 ")

    asyncio.run(story())
