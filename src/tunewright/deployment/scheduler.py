"""One thread that generates for everybody: every turn, each answer grows by one token.

Answers join between turns and leave when they end or their client hangs up (continuous batching:
Yu et al. 2022, Orca). Those that can share a forward pass form a group; groups take turns.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Protocol, TypeVar

from tunewright.core.errors import TunewrightError
from tunewright.deployment.replies import RequestError
from tunewright.deployment.rows import Job, Post, Row

T = TypeVar("T")
MAX_ROWS = 128
_log = logging.getLogger(__name__)


class Group(Protocol):
    """Rows that are answered together."""

    @property
    def rows(self) -> Sequence[Row]:
        """Those that have not ended."""
        ...

    def turn(self, fresh: Sequence[Row], post: Post) -> Sequence[Row]:
        """Let the fresh rows join, drop those that are over, and let the others grow by a token.

        Returns:
            Rows that had to leave for want of memory, to be tried again later, as they are.
        """
        ...

    def close(self) -> None:
        """Let go of everything, after a failure."""
        ...


class Scheduler:
    """Runs rows on its own thread, and calls in between.

    Args:
        open_group: makes the group of a key.
        key: which group an adapter's rows belong to; None is the bare base.
        most: rows that run at a time.
    """

    def __init__(
        self,
        open_group: Callable[[str | None], Group],
        key: Callable[[str | None], str | None] = lambda adapter: adapter,
        most: int = MAX_ROWS,
    ) -> None:
        self._open_group = open_group
        self._key = key
        self._most = most
        self._waiting: deque[Row] = deque()
        self._calls: deque[Callable[[], None]] = deque()
        self._groups: dict[str | None, Group] = {}
        self._running = 0
        self._crowd: int | None = None
        self._post = Post()
        self._wake = threading.Condition()
        threading.Thread(target=self._run, name="generation", daemon=True).start()

    def submit(self, job: Job) -> None:
        """Queue a job's rows."""
        with self._wake:
            self._waiting.extend(job.rows)
            self._wake.notify()

    async def call(self, work: Callable[[], T]) -> T:
        """Run ``work`` on the generating thread, between two turns."""
        done: Future[T] = Future()

        def run() -> None:
            if not done.set_running_or_notify_cancel():
                return
            try:
                done.set_result(work())
            except Exception as error:  # noqa: BLE001 - raised again where it is awaited
                done.set_exception(error)

        with self._wake:
            self._calls.append(run)
            self._wake.notify()
        return await asyncio.wrap_future(done)

    def end_adapter(self, adapter: str, error: RequestError) -> None:
        """End every answer of an adapter; to be called on the generating thread."""
        with self._wake:
            rows = list(self._waiting)
        rows += [row for group in self._groups.values() for row in group.rows]
        for row in rows:
            if row.job.adapter == adapter:
                self._post.error(row.job, error)

    def counts(self) -> dict[str, int]:
        """``{running, waiting}``: answers whose client still listens."""
        with self._wake:
            waiting = sum(not row.over for row in self._waiting)
            return {"running": self._running, "waiting": waiting}

    def _run(self) -> None:
        while True:
            with self._wake:
                while not (self._waiting or self._calls or self._groups):
                    self._wake.wait()
                calls, self._calls = self._calls, deque()
            for call in calls:
                call()
            self._post.send()
            with self._wake:
                fresh = self._admissible()
            back: list[Row] = []
            for key in list({**self._groups, **fresh}):
                back += self._turn(key, fresh.get(key, []))
            self._post.send()
            with self._wake:
                self._waiting.extendleft(reversed(back))
                self._running = sum(len(group.rows) for group in self._groups.values())
                if back:
                    self._crowd = self._running

    def _admissible(self) -> dict[str | None, list[Row]]:
        """Waiting rows that may join now, first come first served, by group."""
        free = self._most - sum(len(group.rows) for group in self._groups.values())
        fresh: dict[str | None, list[Row]] = defaultdict(list)
        # Who left for want of memory comes back when somebody else has ended.
        if self._crowd is not None and self._groups and self._running >= self._crowd:
            return fresh
        self._crowd = None
        while self._waiting and free > 0:
            row = self._waiting.popleft()
            if not row.over:
                fresh[self._key(row.job.adapter)].append(row)
                free -= 1
        return fresh

    def _turn(self, key: str | None, fresh: list[Row]) -> Sequence[Row]:
        rows = list(fresh)
        group = self._groups.get(key)
        back: Sequence[Row] = ()
        try:
            group = group or self._open_group(key)
            rows += group.rows
            back = group.turn(fresh, self._post)
        except TunewrightError as error:
            refusal = error if isinstance(error, RequestError) else RequestError(400, str(error))
            self._fail(key, group, rows, refusal)
        except Exception:  # noqa: BLE001 - one bad batch must not end the thread
            _log.exception("generation failed")
            refusal = RequestError(500, "generation failed; the engine's log says why")
            self._fail(key, group, rows, refusal)
        else:
            self._groups[key] = group
            if not group.rows:
                del self._groups[key]
        return back

    def _fail(
        self, key: str | None, group: Group | None, rows: Sequence[Row], error: RequestError
    ) -> None:
        self._groups.pop(key, None)
        if group is not None:
            group.close()
        for row in rows:
            self._post.error(row.job, error)
