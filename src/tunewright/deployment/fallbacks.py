"""Who answers when a model cannot: one after another is asked, until text has gone to the client.

What is not ready is passed over at once while there is something else; only when nothing is, the
chain is gone through again, waiting. An answer that has begun is never begun anew.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar

from tunewright.deployment.catalog import Target
from tunewright.deployment.gateway import Gateway, ReplyStream, failure
from tunewright.deployment.replies import RequestError
from tunewright.deployment.upstream import pause_after

T = TypeVar("T")
Why = Literal[
    "starting", "failing", "resting", "queue_full", "timeout", "failed", "missing", "unproven"
]
"""Why somebody was passed over."""

BLAMELESS: frozenset[Why] = frozenset({"starting", "queue_full", "unproven"})
"""What says nothing against a model itself."""

_LONGEST_REST = 30.0
_CODES: dict[str | None, Why] = {"queue_full": "queue_full", "timeout": "timeout"}


@dataclass(eq=False)
class Step:
    """One that can be asked.

    Attributes:
        reference: as the deployment names it.
        target: what that is here; None where it is not served.
        trouble: why it is not.
        absence: the same in a word.
    """

    reference: str
    target: Target | None
    trouble: str = ""
    absence: Why = "missing"
    _resting_until: float = 0.0
    _failures: int = 0

    def rests(self) -> bool:
        """Whether it failed a moment ago, and is not to be tried while there is another."""
        return asyncio.get_running_loop().time() < self._resting_until

    def worked(self) -> None:
        """It has begun to answer."""
        self._failures, self._resting_until = 0, 0.0

    def broke(self) -> None:
        """It could not be reached, or kept a client waiting: 1, 3, 7, … seconds of rest."""
        self._failures += 1
        rest = min(_LONGEST_REST, pause_after(self._failures + 1))
        self._resting_until = asyncio.get_running_loop().time() + rest


@dataclass(frozen=True)
class Answer(Generic[T]):
    """What somebody began to answer.

    Attributes:
        value: the answer.
        step: who gave it; None where nobody did.
        number: its place in the chain, from 0 on.
    """

    value: T | None
    step: Step | None
    number: int


@dataclass(frozen=True)
class Asking(Generic[T]):
    """One request on its way along a chain.

    Attributes:
        gateway: to the models.
        steps: whom to ask, in order.
        ask: how one is asked; it returns once text has come.
        patience: seconds for each that has somebody behind it.
        closing: whether a fixed answer stands behind them all.
    """

    gateway: Gateway
    steps: Sequence[Step]
    ask: Callable[[Target], Awaitable[T]]
    patience: float
    closing: bool

    async def answer(self, passed: dict[Step, Why]) -> Answer[T]:
        """The first answer; one without a value where the fixed answer is to be given.

        Args:
            passed: gets who was passed over, also where an error is raised.

        Raises:
            RequestError: the client's own fault, or nobody can answer and there is no fixed answer.
        """
        end = asyncio.get_running_loop().time() + self.gateway.timeout
        waiting: list[tuple[int, Step]] = []
        error = RequestError(503, "no model can answer", code="engine_unavailable", retry_after=1)
        for number, step in enumerate(self.steps):
            why = await self._obstacle(step)
            if why is not None:
                passed[step] = why
                waiting.append((number, step))
                continue
            more = bool(waiting) or number + 1 < len(self.steps) or self.closing
            try:
                return await self._ask(number, step, end, more, passed)
            except RequestError as refused:
                error = _unless_own(refused)
        if self.closing:
            return Answer(None, None, len(self.steps))
        for index, (number, step) in enumerate(waiting):
            try:
                return await self._ask(number, step, end, index + 1 < len(waiting), passed)
            except RequestError as refused:
                error = _unless_own(refused)
        raise error

    async def _obstacle(self, step: Step) -> Why | None:
        """Why one is better not asked now."""
        if step.target is None:
            return step.absence
        if step.rests():
            return "resting"
        stands = await self.gateway.readiness(step.target)
        return None if stands == "ready" else stands

    async def _ask(
        self, number: int, step: Step, end: float, more: bool, passed: dict[Step, Why]
    ) -> Answer[T]:
        if step.target is None:
            raise RequestError(503, step.trouble, code="engine_unavailable")
        left = max(0.0, end - asyncio.get_running_loop().time())
        try:
            async with asyncio.timeout(min(left, self.patience) if more else left):
                value = await self.ask(step.target)
        except TimeoutError as error:
            refused = failure(step.target, error)
        except RequestError as error:
            refused = error
        else:
            step.worked()
            passed.pop(step, None)
            return Answer(value, step, number)
        if goes_on(refused):
            passed[step] = _CODES.get(refused.code, "failed")
            if refused.status in (503, 504):
                step.broke()
        raise refused


def _unless_own(error: RequestError) -> RequestError:
    """The error, unless it is the client's own fault: then it is raised."""
    if not goes_on(error):
        raise error
    return error


def goes_on(error: RequestError) -> bool:
    """Whether another model may do better: what is not the client's own fault."""
    return error.status >= 500 or error.status in (404, 408, 429)


class Opened:
    """A stream whose first text has come.

    Args:
        stream: where it comes from.
    """

    def __init__(self, stream: ReplyStream) -> None:
        self._stream = stream
        self._events = stream.events()
        self._head: list[dict[str, Any]] = []

    @classmethod
    async def begin(cls, stream: ReplyStream) -> Opened:
        """Wait for the first text, or for the end of a stream that has none.

        Raises:
            RequestError: an error came first; the stream is closed.
        """
        opened = cls(stream)
        try:
            async for event in opened._events:
                if "error" in event:
                    raise _told(event["error"])
                opened._head.append(event)
                if says_something(event):
                    break
        except BaseException:
            await stream.close()
            raise
        return opened

    async def events(self) -> AsyncIterator[dict[str, Any]]:
        """All of it, from the beginning."""
        for event in self._head:
            yield event
        async for event in self._events:
            yield event

    async def close(self) -> None:
        """Let go of it."""
        await self._stream.close()


def says_something(event: dict[str, Any]) -> bool:
    """Whether a chunk carries a piece of an answer, or its end."""
    for choice in event.get("choices", ()):
        delta = choice.get("delta") or {}
        told = choice.get("text") or delta.get("content") or delta.get("tool_calls")
        if told or choice.get("finish_reason"):
            return True
    return False


def _told(error: Any) -> RequestError:
    """An error that came as an event of a stream."""
    values = error if isinstance(error, dict) else {}
    theirs = values.get("type") == "invalid_request_error"
    return RequestError(
        400 if theirs else 503,
        str(values.get("message") or "the engine gave an error without an explanation"),
        param=values.get("param"),
        code=values.get("code") or "engine_failed",
    )
