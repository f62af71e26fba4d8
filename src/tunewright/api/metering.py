"""One request from its arrival to the end of its answer: who asks, what it takes, how long."""

from __future__ import annotations

import secrets
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from starlette.requests import Request

from tunewright.api.caller import Caller
from tunewright.api.limits import Allowance, estimate_tokens
from tunewright.core.usage import Sums
from tunewright.deployment.bodies import Reporting
from tunewright.deployment.replies import RequestError

if TYPE_CHECKING:
    from tunewright.api.metrics import Metrics

GONE = 499
"""nginx's word for a client that hung up; it is seen in logs and metrics only."""
UNKNOWN = "unknown"
"""In logs and metrics, in the place of a model that is not there."""


@dataclass(eq=False)
class _Share:
    """What one request takes of one allowance; ``behind`` one in the background."""

    allowance: Allowance
    slot: int | None = None
    reserved: int = 0
    behind: bool = False

    def reserve(self, tokens: int) -> None:
        """Set tokens aside."""
        self.slot = self.allowance.reserve(tokens)
        self.reserved = tokens

    def leave(self, used: int) -> None:
        """The request has ended."""
        if not self.behind:
            self.allowance.leave()
        self.settle(used, ended=True)

    def settle(self, used: int, ended: bool) -> None:
        """Replace what was set aside by what was used so far, once it is more or the end."""
        if ended or used > self.reserved:
            self.allowance.correct(self.slot, self.reserved, used)
            self.reserved = used


@dataclass(eq=False)
class Meter:
    """What is known of one request by now.

    Attributes:
        id: goes to the client as ``x-request-id``.
        caller: who asks, once that is known.
        model: public name of who answers, or ``UNKNOWN``; empty where no model is concerned.
        served_by: id of the model that answers, once one does.
        prompt_tokens, completion_tokens: estimated until the engine has told.
        first_token: seconds until the first text of a streamed answer.
        status: as answered, or ``GONE``.
        code: of the error, where there was one.
        exhausted: the limit that was reached, where one was.
        broken: whether a streamed answer ended with an error.
        prompt: the messages, where logs may hold them.
    """

    metrics: Metrics
    keeps_prompts: bool = False
    id: str = field(default_factory=lambda: f"req_{secrets.token_hex(16)}")
    started: float = field(default_factory=time.perf_counter)
    caller: Caller | None = None
    model: str = ""
    served_by: str | None = None
    prompt_tokens: int = 0
    completion_tokens: int = 0
    first_token: float | None = None
    status: int = 500
    code: str | None = None
    exhausted: str | None = None
    broken: bool = False
    prompt: Any = None
    # Whom the request counts against, and whom of them it has entered.
    _limits: list[_Share] = field(default_factory=list)
    _shares: list[_Share] = field(default_factory=list)
    _estimated: bool = True
    _estimate: int = 0
    _billed: Sums = field(default_factory=Sums)

    # Limits -------------------------------------------------------------------------------------

    def enter(self, caller: Caller, allowance: Allowance) -> None:
        """Count the request against its caller's limits.

        Raises:
            RequestError: 429.
        """
        self.caller = caller
        self.join(allowance)

    def join(self, allowance: Allowance) -> None:
        """Count the request against some limits.

        Raises:
            RequestError: 429.
        """
        share = _Share(allowance)
        self._limits.append(share)
        allowance.enter()
        self._shares.append(share)

    def reserve(self, body: bytes) -> None:
        """Set aside what the tokens of this request's body may take.

        Raises:
            RequestError: 429.
        """
        self._estimate = estimate_tokens(body)
        for share in self._shares:
            share.reserve(self._estimate)

    def stand_behind(self, allowances: Sequence[Allowance], body: bytes) -> float:
        """Count a request of this body in the background, unless others go first.

        Returns:
            Seconds to wait before nothing is counted yet; 0 when all is.

        Raises:
            RequestError: 429 when no waiting would help.
        """
        tokens = estimate_tokens(body)
        wait = max((one.wait_behind(tokens) for one in allowances), default=0.0)
        if wait == 0:
            self._shares = [_Share(a, a.take_behind(tokens), tokens, True) for a in allowances]
        return wait

    def headers(self) -> dict[str, str]:
        """Where the caller stands; a deployment's limits are told where a key has none."""
        return {
            k: v for share in reversed(self._limits) for k, v in share.allowance.headers().items()
        }

    def leave(self) -> None:
        """The answer has ended, or never came."""
        shares, self._shares = self._shares, []
        used = self.prompt_tokens + self.completion_tokens
        for share in shares:
            share.leave(used)

    def settle(self, ended: bool = False) -> None:
        """Replace what was set aside by what was used so far, once it is more or the end."""
        used = self.prompt_tokens + self.completion_tokens
        for share in self._shares:
            share.settle(used, ended)

    # What an answer takes -----------------------------------------------------------------------

    def note_prompt(self, messages: Any) -> None:
        """Keep the messages for the log, where it may hold them."""
        if self.keeps_prompts:
            self.prompt = messages

    def refuse(self, error: RequestError) -> None:
        """The answer is an error."""
        self.code = error.code
        if error.status == 429:
            of_key = error.code == "rate_limit_exceeded"
            self.exhausted = error.type if of_key else error.code

    def asked(self) -> None:
        """An engine has begun: the question counts, by its estimate until it is known better."""
        if self._estimated:
            self.prompt_tokens = self._estimate

    def counted(self, usage: Any) -> None:
        """Take an engine's word for the tokens."""
        if isinstance(usage, dict):
            self._estimated = False
            self.prompt_tokens = int(usage.get("prompt_tokens", 0))
            self.completion_tokens = int(usage.get("completion_tokens", 0))

    async def watch(
        self, events: AsyncIterator[dict[str, Any]], reporting: Reporting
    ) -> AsyncIterator[dict[str, Any]]:
        """A streamed answer as it passes, with the token counts that its client asked for.

        Every piece of text is at least one token; an engine that tells how many is believed.
        """
        self.asked()
        inter_token = self.metrics.inter_token.labels(self.metrics.model(self.model))
        last = 0.0
        async for event in events:
            if "error" in event:
                self.broken, self.code = True, event["error"].get("code")
            if _says_something(event):
                self.completion_tokens += 1
                now = time.perf_counter()
                if self.first_token is None:
                    self.first_token = now - self.started
                else:
                    inter_token.observe(now - last)
                last = now
            usage = event.get("usage")
            if usage is not None:
                self.counted(usage)
                last_word = not event.get("choices")
                if last_word and reporting == "never":
                    continue
                if not last_word and reporting != "always":
                    event = {key: value for key, value in event.items() if key != "usage"}
            yield event

    # What is billed -----------------------------------------------------------------------------

    def unbilled(self) -> Sums:
        """What came since this was last asked; the request itself is billed at its end."""
        self.settle()
        new = Sums(
            prompt_tokens=self.prompt_tokens - self._billed.prompt_tokens,
            completion_tokens=self.completion_tokens - self._billed.completion_tokens,
        )
        self._billed.add(new)
        return new

    @property
    def failed(self) -> bool:
        """Whether it ended with an error; a client that hangs up may do so on purpose."""
        return self.broken or (self.status >= 400 and self.status != GONE)


def _says_something(event: dict[str, Any]) -> bool:
    for choice in event.get("choices", ()):
        delta = choice.get("delta") or {}
        if choice.get("text") or delta.get("content") or delta.get("tool_calls"):
            return True
    return False


def meter_of(request: Request) -> Meter:
    """The meter that the outermost layer gave to a request."""
    meter: Meter = request.state.meter
    return meter
