"""One thread that generates for everybody: every turn, each answer grows by one token.

Requests join between turns and leave when they end or their client hangs up (continuous
batching: Yu et al. 2022, Orca). Those with the same adapter share a batch; adapters take turns.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, TypeVar

from tunewright.config.serving import GenerationConfig
from tunewright.core.errors import TunewrightError
from tunewright.deployment.replies import RequestError

if TYPE_CHECKING:
    from tunewright.model.choices import Choices  # loads torch, which this module needs not

T = TypeVar("T")
MAX_ROWS = 16
# Reading prompts stops the answers that are under way, so one turn reads about so much.
_MAX_PROMPT_TOKENS = 8192
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Piece:
    """A piece of one answer; the last one says why it ended and how long it was.

    Attributes:
        text: what was added; may be empty.
        finish_reason: ``stop`` or ``length`` in the last piece, else None.
        completion_tokens: tokens generated so far, the end token included.
    """

    text: str
    finish_reason: str | None = None
    completion_tokens: int = 0


@dataclass(eq=False)
class Job:
    """One request: the prompt's token ids, how to answer, and where the pieces go.

    ``choices`` are the texts that the answer may be, where it is held to some.
    """

    prompt: list[int]
    settings: GenerationConfig
    adapter: str | None
    loop: asyncio.AbstractEventLoop
    choices: Choices | None = None
    pieces: asyncio.Queue[Piece | Exception] = field(default_factory=asyncio.Queue)
    cancelled: threading.Event = field(default_factory=threading.Event)

    def send(self, piece: Piece | Exception) -> None:
        """Hand a piece to the request's event loop, from any thread."""
        if not self.cancelled.is_set():
            self.loop.call_soon_threadsafe(self.pieces.put_nowait, piece)


class Group(Protocol):
    """Jobs with one adapter that are answered in one batch."""

    @property
    def jobs(self) -> Sequence[Job]:
        """Those that have not ended."""
        ...

    def turn(self, fresh: Sequence[Job]) -> None:
        """Let the fresh jobs join, drop cancelled ones, and send every job its next piece."""
        ...


class Scheduler:
    """Runs jobs on its own thread, and calls in between.

    Args:
        open_group: makes the group of an adapter; None is the bare base.
    """

    def __init__(self, open_group: Callable[[str | None], Group]) -> None:
        self._open_group = open_group
        self._waiting: deque[Job] = deque()
        self._calls: deque[Callable[[], None]] = deque()
        self._groups: dict[str | None, Group] = {}
        self._running = 0
        self._wake = threading.Condition()
        threading.Thread(target=self._run, name="generation", daemon=True).start()

    def submit(self, job: Job) -> None:
        """Queue a job."""
        with self._wake:
            self._waiting.append(job)
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

    def counts(self) -> dict[str, int]:
        """``{running, waiting}``: jobs whose client still listens."""
        with self._wake:
            waiting = sum(not job.cancelled.is_set() for job in self._waiting)
            return {"running": self._running, "waiting": waiting}

    def _run(self) -> None:
        while True:
            with self._wake:
                while not (self._waiting or self._calls or self._groups):
                    self._wake.wait()
                calls, self._calls = self._calls, deque()
                fresh = self._admissible()
            for call in calls:
                call()
            for adapter in list({**self._groups, **fresh}):
                self._turn(adapter, fresh.get(adapter, []))
            with self._wake:
                self._running = sum(len(group.jobs) for group in self._groups.values())

    def _admissible(self) -> dict[str | None, list[Job]]:
        """Waiting jobs that may join now, first come first served, by adapter."""
        free = MAX_ROWS - sum(len(group.jobs) for group in self._groups.values())
        budget = _MAX_PROMPT_TOKENS
        fresh: dict[str | None, list[Job]] = defaultdict(list)
        while self._waiting and free > 0 and budget > 0:
            job = self._waiting.popleft()
            if not job.cancelled.is_set():
                fresh[job.adapter].append(job)
                free -= 1
                budget -= len(job.prompt)
        return fresh

    def _turn(self, adapter: str | None, fresh: list[Job]) -> None:
        jobs = list(fresh)
        try:
            group = self._groups.get(adapter) or self._open_group(adapter)
            jobs += group.jobs
            group.turn(fresh)
        except TunewrightError as error:
            self._groups.pop(adapter, None)
            refusal = error if isinstance(error, RequestError) else RequestError(400, str(error))
            _fail(jobs, refusal)
        except Exception:  # noqa: BLE001 - one bad batch must not end the thread
            self._groups.pop(adapter, None)
            _log.exception("generation failed")
            _fail(jobs, RequestError(500, "generation failed; the engine's log says why"))
        else:
            self._groups[adapter] = group
            if not group.jobs:
                del self._groups[adapter]


def _fail(jobs: Sequence[Job], error: RequestError) -> None:
    for job in jobs:
        job.send(error)
