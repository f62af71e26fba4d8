"""Comparing a served model with what was trained: a process of its own asks this server."""

from __future__ import annotations

import asyncio
import time
from contextlib import AbstractContextManager
from typing import Any, NamedTuple, Protocol

from tunewright.config.jobs import JobsConfig
from tunewright.core.errors import NotFoundError
from tunewright.core.queue import Entry, Queue
from tunewright.core.records import Comparison, Model
from tunewright.core.store import Store
from tunewright.jobs.background import Holding, beside
from tunewright.jobs.processes import NoWord, told_by
from tunewright.jobs.work import broke_off, retry_rule

QUIET_SECONDS = 1.0
_LONGEST_WAIT = 60.0
_LOOK = 0.1
_MOST_SECONDS = 3600.0
_PROCESS = "tunewright.jobs.comparing_process"


class Host(Protocol):
    """The server whose models are compared."""

    @property
    def url(self) -> str:
        """Base URL of its API, as this machine reaches it."""
        ...

    def busy(self) -> bool:
        """Whether anybody is being answered."""
        ...

    def lend(self, comparison: Comparison) -> AbstractContextManager[str]:
        """A key for asking one model, neither limited nor billed, while the block runs."""
        ...


class Outcome(NamedTuple):
    """What a comparison came to.

    Attributes:
        state: passed, failed or not_compared; None when it broke off and may be tried again.
        reason: in words.
        report: of ``compare_served``, where it came to one.
    """

    state: str | None
    reason: str
    report: dict[str, Any] | None = None


class ComparisonTask:
    """One comparison under way; implements ``background.Task``.

    Args:
        store: where it is.
        entry: its place in the queue, leased.
        config: how long leases last, and when to give up.
        host: who is asked.
        device: where engines run; the model is computed there too if there is room.
    """

    def __init__(
        self, store: Store, entry: Entry, config: JobsConfig, host: Host, device: str
    ) -> None:
        self._store, self._id, self._lease = store, entry.id, entry.lease
        self._config, self._host, self._device = config, host, device
        self._queue = Queue(store)

    async def run(self) -> None:
        """To its end; nothing is kept of one that is broken off."""
        record = await asyncio.to_thread(self._store.by_id, Comparison, self._id)
        if record is None:
            raise NotFoundError(f"no comparison {self._id!r} in {self._store.home}")
        holding = Holding(self._queue, self._lease, self._config.lease)
        outcomes: list[Outcome] = []

        async def work() -> None:
            outcomes.append(await self._outcome(record))

        async def beat() -> bool:
            await asyncio.to_thread(holding.beat)
            return True

        await beside(work(), beat)
        await asyncio.to_thread(self._end, outcomes[0])

    async def save(self) -> None:
        """There is nothing to keep of half a comparison."""

    async def _outcome(self, record: Comparison) -> Outcome:
        if await asyncio.to_thread(self._store.by_id, Model, record.model) is None:
            return Outcome("not_compared", "the model was deleted")
        await self._quiet()
        arguments = (
            f"--home={self._store.home}",
            f"--model={record.model}",
            f"--endpoint={self._host.url}",
            f"--device={self._device}",
        )
        with self._host.lend(record) as key:
            try:
                async with asyncio.timeout(_MOST_SECONDS):
                    return _read(await told_by(_PROCESS, arguments, key))
            except NoWord as why:
                return Outcome(None, str(why))
            except TimeoutError:
                return Outcome(None, f"it took longer than {_MOST_SECONDS / 60:.0f} minutes")

    async def _quiet(self) -> None:
        """Wait for a moment without requests; but not for ever."""
        since, end = time.monotonic(), time.monotonic() + _LONGEST_WAIT
        while time.monotonic() < min(since + QUIET_SECONDS, end):
            await asyncio.sleep(_LOOK)
            if self._host.busy():
                since = time.monotonic()

    def _end(self, outcome: Outcome) -> None:
        if outcome.state is None:
            rule = retry_rule(self._config)
            broke_off(self._store, self._queue, self._lease, rule, outcome.reason)
            return
        with self._store.transaction():
            self._queue.end(self._lease, "succeeded")
            self._store.change(
                Comparison,
                self._id,
                outcome=outcome.state,
                reason=outcome.reason,
                report=outcome.report or {},
                finished=time.time(),
            )


def _read(said: dict[str, Any]) -> Outcome:
    if "error" in said:
        return Outcome(None if said["again"] else "not_compared", said["error"])
    report: dict[str, Any] = said["report"]
    return Outcome("passed" if report["passed"] else "failed", in_words(report), report)


def in_words(report: dict[str, Any]) -> str:
    """A report of ``compare_served`` in a sentence or two."""
    answers = report["answers"]
    same = answers["identical"] + answers["within_rounding"]
    words = f"{same} of {answers['asked']} answers are the model's own ({report['reference']})"
    if logprobs := report.get("logprobs"):
        words += f", log-probabilities within {logprobs['largest_difference']:.1e}"
    if report["passed"]:
        return words
    first = report.get("first_difference", {})
    where = f"first at prompt {first['prompt']}" if first else ""
    where += f", token {first['token']}" if "token" in first else ""
    pieces = (first.get("expected_token"), first.get("found_token"))
    where += f": {pieces[0]!r} became {pieces[1]!r}" if pieces != (None, None) else ""
    return "; ".join(part for part in (*report["failures"], where, words) if part)
