"""One deployment as the server runs it: who gets a request, what it is told, how it went."""

from __future__ import annotations

import random
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, Protocol

from tunewright.config.deployment import DeployConfig
from tunewright.core.records import Deployment
from tunewright.deployment import fixed
from tunewright.deployment.audience import Audience
from tunewright.deployment.bodies import Body, GenerationBody
from tunewright.deployment.canary import position
from tunewright.deployment.experience import Experience
from tunewright.deployment.fallbacks import (
    BLAMELESS,
    Answer,
    Asking,
    Opened,
    Step,
    Why,
    goes_on,
)
from tunewright.deployment.gateway import Gateway
from tunewright.deployment.parity import Proof
from tunewright.deployment.protocol import ChatMessage, ChatRequest
from tunewright.deployment.replies import RequestError
from tunewright.deployment.text_protocol import CompletionRequest, TokenizeRequest

SERVED_BY = "x-tunewright-served-by"
DEPLOYMENT = "x-tunewright-deployment"
FALLBACK = "x-tunewright-fallback"


class Observer(Protocol):
    """Who counts what happens."""

    def passed_over(self, deployment: str, why: Why) -> None:
        """A model could not answer, and the next in the chain was asked."""
        ...


class Closing(Protocol):
    """What has to be let go of."""

    async def close(self) -> None:
        """Let go of it."""
        ...


@dataclass(frozen=True)
class Reply:
    """A whole reply, and the headers that say who gave it."""

    body: dict[str, Any]
    headers: Mapping[str, str]


class Streamed:
    """A streamed reply that has begun, and the headers that say who gives it.

    Args:
        events: the chunks.
        headers: who gives it.
        course: is told at the end whether it broke.
        opened: what is to be let go of.
    """

    def __init__(
        self,
        events: AsyncIterator[dict[str, Any]],
        headers: Mapping[str, str],
        course: _Course | None = None,
        opened: Closing | None = None,
    ) -> None:
        self._events = events
        self.headers = headers
        self._course = course
        self._opened = opened
        self._broken = False

    async def events(self) -> AsyncIterator[dict[str, Any]]:
        """The chunks; a failure on the way is a last event with an ``error``."""
        async for event in self._events:
            if "error" in event:
                self._broken = True
            yield event

    async def close(self) -> None:
        """Let go of it."""
        course, self._course = self._course, None
        if course is not None:
            course.end(broken=self._broken)
        if self._opened is not None:
            await self._opened.close()


class Live:
    """A deployment at its latest revision.

    Made and used inside one event loop.

    Args:
        record: the deployment.
        config: its settings.
        chain: the model, then who answers in its place.
        canary: who is tried.
        gateway: to all of them.
        observer: counts what happens.
        before: what it lived through at an earlier revision.
        proof: what is known of its models; what it holds back is not asked.
    """

    def __init__(
        self,
        record: Deployment,
        config: DeployConfig,
        chain: tuple[Step, ...],
        canary: Step | None,
        gateway: Gateway,
        observer: Observer,
        before: Experience | None = None,
        proof: Proof | None = None,
    ) -> None:
        self.record = record
        self.config = config
        self.proof = proof or Proof()
        self.chain = tuple(self._unless_held(step) for step in chain)
        self.canary = canary and self._unless_held(canary)
        self._asked = chain if canary is None else (canary, *chain)
        self._gateway = gateway
        self._observer = observer
        self._draw = random.Random()
        self.experience = before.at(record, config) if before else Experience(record, config)
        self.health, self.trial = self.experience.health, self.experience.trial

    @property
    def name(self) -> str:
        """The public name."""
        return self.record.name

    @property
    def steps(self) -> tuple[Step, ...]:
        """Everybody who may be asked."""
        return self.chain if self.canary is None else (self.canary, *self.chain)

    @property
    def known(self) -> tuple[Step, ...]:
        """``steps``, those that are held back too."""
        return self._asked

    def _unless_held(self, step: Step) -> Step:
        why = self.proof.held.get(step.reference)
        return step if why is None else Step(step.reference, None, why, "unproven")

    def seen_by(self, audience: Audience) -> bool:
        """Whether it is there for an audience."""
        return audience.among(self.config.project) and audience.may_ask(self.name, self.record.id)

    def standing(self) -> dict[str, Any]:
        """How it fares: what cannot be served here, and how model and canary have done."""
        missing = {step.reference: step.trouble for step in self.steps if step.target is None}
        if self.trial is None:
            return {"missing": missing}
        arms = {"model": self.trial.model, "canary": self.trial.canary}
        return {"missing": missing, **{name: asdict(arm) for name, arm in arms.items()}}

    # Answering --------------------------------------------------------------------------------

    async def complete(self, body: Body, identity: str | None) -> Reply:
        """The whole reply.

        Args:
            body: the request.
            identity: who asks, where that is known; the same one meets the same model.

        Raises:
            RequestError: it is off, nobody can answer, or the client's own fault.
        """
        text = fixed.fixed_text(self.config.answer, body)
        if not self.record.on:
            return Reply(fixed.whole(body, self._off(text)), self._headers(None, 0))
        course = self._course(body, identity)
        ready = self.prepared(body)
        asking = Asking(
            self._gateway,
            course.steps,
            lambda target: self._gateway.complete(target, ready),
            self.config.answer_seconds,
            text is not None,
        )
        answer = await course.run(asking)
        course.end()
        headers = self._headers(answer.step, answer.number)
        return Reply(answer.value or fixed.whole(body, text or ""), headers)

    async def stream(self, body: Body, identity: str | None) -> Streamed:
        """The reply in pieces, once its first text has come; the caller must close it.

        Raises:
            RequestError: as for ``complete``.
        """
        text = fixed.fixed_text(self.config.answer, body)
        if not self.record.on:
            return Streamed(fixed.events(body, self._off(text)), self._headers(None, 0))
        course = self._course(body, identity)
        ready = self.prepared(body)

        async def opened(target: Any) -> Opened:
            return await Opened.begin(await self._gateway.stream(target, ready))

        patience = self.config.first_token_seconds
        asking = Asking(self._gateway, course.steps, opened, patience, text is not None)
        answer = await course.run(asking)
        headers = self._headers(answer.step, answer.number)
        if answer.value is None:
            course.end()
            return Streamed(fixed.events(body, text or ""), headers)
        return Streamed(answer.value.events(), headers, course, answer.value)

    async def probe(self) -> bool:
        """Whether anybody in the chain answers a question of our own now."""
        body = ChatRequest(
            model=self.name, messages=[ChatMessage(role="user", content="ping")], max_tokens=1
        )
        limit = self.config.health.p95_seconds or self.config.answer_seconds
        asking = Asking(
            self._gateway,
            self.chain,
            lambda target: self._gateway.complete(target, body),
            limit,
            closing=True,
        )
        try:
            return (await asking.answer({})).step is not None
        except RequestError:
            return False

    def _off(self, text: str | None) -> str:
        """What is said while it is off.

        Raises:
            RequestError: 503 where nothing is.
        """
        if text is not None and self.config.when_off == "answer":
            return text
        by_rule = self.record.off_by == "health"
        raise RequestError(
            503,
            f"{self.name!r} is switched off at the moment",
            code="deployment_off",
            retry_after=round(self.config.health.probe_seconds) or 1 if by_rule else None,
            should_retry=None if by_rule else False,
        )

    def _course(self, body: Body, identity: str | None) -> _Course:
        """Whom a request goes to."""
        if not portable(body):
            return _Course(self, (self.chain[0],))
        if self.trial is None or self.canary is None:
            return _Course(self, self.chain)
        if self.trial.verdict is None:
            salt = f"{self.record.id}\0{self.config.canary.model}"
            share = self.config.canary.percent / 100
            if position(salt, identity, self._draw) < share:
                others = (step for step in self.chain if step is not self.canary)
                return _Course(self, (self.canary, *others), arm="canary")
        return _Course(self, self.chain, arm="model")

    def _headers(self, step: Step | None, number: int) -> dict[str, str]:
        served_by = step.target.id if step is not None and step.target else fixed.FIXED
        headers = {SERVED_BY: header_text(served_by), DEPLOYMENT: header_text(self.name)}
        return {**headers, FALLBACK: str(number)} if number else headers

    def prepared(self, body: Body) -> Body:
        """The request with what the deployment adds to it."""
        config = self.config
        update: dict[str, Any] = {}
        if isinstance(body, GenerationBody):
            for field in ("temperature", "top_p"):
                if getattr(body, field) is None and getattr(config, field) is not None:
                    update[field] = getattr(config, field)
        if isinstance(body, ChatRequest | CompletionRequest) and config.max_tokens is not None:
            newer = getattr(body, "max_completion_tokens", None)
            if body.max_tokens is None and newer is None:
                update["max_tokens"] = config.max_tokens
        if isinstance(body, ChatRequest | TokenizeRequest) and body.messages and config.system:
            update["messages"] = _with_system(body.messages, config.system)
        return body.model_copy(update=update) if update else body

    # Experience -------------------------------------------------------------------------------

    def learn(self, course: _Course, *, broken: bool) -> None:
        """A request has ended."""
        for why in course.passed.values():
            self._observer.passed_over(self.name, why)
        whys = set(course.passed.values())
        if course.answered and not broken:
            self.health.note(course.seconds)
        elif broken or whys - BLAMELESS:
            self.health.note(None)
        if self.trial is None or course.arm is None:
            return
        first = course.passed.get(course.steps[0])
        if first not in BLAMELESS:
            failed = first is not None or (broken and course.number == 0)
            self.trial.note(course.arm == "canary", failed)


class _Course:
    """One request: whom it goes to, and how it goes; ``arm`` is its side of a trial."""

    def __init__(
        self, live: Live, steps: tuple[Step, ...], arm: Literal["model", "canary"] | None = None
    ) -> None:
        self._live = live
        self._started = time.perf_counter()
        self.steps = steps
        self.arm = arm
        self.passed: dict[Step, Why] = {}
        self.answered = False
        self.number = 0
        self.seconds = 0.0

    async def run(self, asking: Asking[Any]) -> Answer[Any]:
        """Ask along the chain.

        Raises:
            RequestError: see ``Asking.answer``; the experience is noted.
        """
        try:
            answer = await asking.answer(self.passed)
        except RequestError as error:
            if goes_on(error):
                self.end()
            raise
        self.seconds = time.perf_counter() - self._started
        self.answered, self.number = answer.step is not None, answer.number
        return answer

    def end(self, *, broken: bool = False) -> None:
        """It is over."""
        self._live.learn(self, broken=broken)


def portable(body: Body) -> bool:
    """Whether another base could answer as well: vectors and token ids mean nothing to it."""
    if isinstance(body, ChatRequest):
        return not body.logit_bias
    if isinstance(body, CompletionRequest):
        texts = all(isinstance(prompt, str) for prompt in body.prompt)
        return texts and not body.echo and not body.logit_bias
    return False


def header_text(value: str) -> str:
    """Header values are latin-1; names may be in any script."""
    return value.encode("ascii", "backslashreplace").decode()


def _with_system(messages: list[ChatMessage], system: str) -> list[ChatMessage]:
    first = messages[0]
    if first.role in ("system", "developer"):
        merged = first.model_copy(update={"content": f"{system}\n\n{first.content}"})
        return [merged, *messages[1:]]
    return [ChatMessage(role="system", content=system), *messages]
