"""Judges: models behind an endpoint or of this machine, each with what it has said before."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from tunewright.config.endpoint import EndpointConfig, SamplingConfig
from tunewright.config.judging import JudgeConfig
from tunewright.config.serving import GenerationConfig
from tunewright.core.errors import ConfigError, EndpointError
from tunewright.core.files import digest as digest_of
from tunewright.core.messages import Conversation, Message
from tunewright.core.store import Store
from tunewright.endpoints.address import Address, find_address
from tunewright.endpoints.dialect import Messages
from tunewright.endpoints.endpoint import REFUSED, Endpoint, NoAnswer
from tunewright.endpoints.prices import MESSAGE_TOKENS, text_tokens
from tunewright.evaluation.judging.rubric import SCHEMA, Rubric, read_reply
from tunewright.evaluation.responders.base import Said
from tunewright.evaluation.responders.local import Local, Weights
from tunewright.evaluation.responders.names import ENDPOINT, at_url
from tunewright.model.references import resolve_responder

_TRIES = 2
"""A judge whose reply cannot be read is asked once more."""
_SHORT_REPLY = 16
"""Tokens without which there is no verdict."""
_MOST_FAILURES = 3
"""Requests in a row without an answer after which the endpoint is taken to be gone."""


@dataclass(frozen=True, slots=True)
class Told:
    """What a judge replied to one request for a verdict, and what that took.

    Attributes:
        text: its last reply.
        requests: sent, two where the first reply could not be read.
        prompt_tokens: of all of them, by the endpoint's count or, without one, by ours.
        completion_tokens: as ``prompt_tokens``.
    """

    text: str
    requests: int
    prompt_tokens: int
    completion_tokens: int


Keep = Callable[[int, Told], None]
"""Takes a reply, with its place among the requests, as soon as it is there."""


class Judge(Protocol):
    """Somebody who can be asked for verdicts.

    Attributes:
        reference: what it was asked for as.
        digest: equal for two that reply the same.
    """

    @property
    def reference(self) -> str: ...

    @property
    def digest(self) -> str: ...

    def ask(self, asks: Sequence[Messages], rubric: Rubric, keep: Keep) -> None:
        """Ask for verdicts; replies are handed over as they come.

        A request that cannot be asked, or is refused for good, gets none.

        Raises:
            ConfigError: none of them can be asked.
            EndpointError: some got no reply; those that did were handed over.
        """
        ...


def prompt_tokens(messages: Messages) -> int:
    """Tokens of a request, by its characters."""
    return sum(MESSAGE_TOKENS + text_tokens(message["content"]) for message in messages)


@dataclass(frozen=True)
class RemoteJudge:
    """A model behind an OpenAI-compatible endpoint.

    Attributes:
        reference: what it was asked for as.
        address: where it is.
        config: model, sampling and limits.
    """

    reference: str
    address: Address
    config: EndpointConfig

    @property
    def digest(self) -> str:
        """Of address and model; what stands behind them may change without notice."""
        return digest_of({"judge": str(self.address.url), "model": self.config.model})

    def ask(self, asks: Sequence[Messages], rubric: Rubric, keep: Keep) -> None:
        """Several at a time."""
        asyncio.run(self._ask(asks, rubric, keep))

    async def _ask(self, asks: Sequence[Messages], rubric: Rubric, keep: Keep) -> None:
        endpoint = Endpoint(self.address, self.config, SCHEMA, asyncio.Event())
        bench = _Bench(endpoint, rubric, keep)
        queue = iter(enumerate(asks))
        count = self.config.limits.concurrency
        tasks = [asyncio.create_task(bench.run(queue)) for _ in range(count)]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await endpoint.close()
        # A request that is refused for good (too long, say) must not hold up all the others.
        lost = [why for why in bench.failed if why.reason != REFUSED]
        if lost or bench.done + len(bench.failed) < len(asks):
            why = (lost or bench.failed)[-1]
            raise EndpointError(
                f"judge {self.reference} gave no verdict on {len(asks) - bench.done} of "
                f"{len(asks)} requests; the last one: {why.detail}",
                "All its verdicts are kept. Run the same command again to ask only for the rest.",
            )


class _Bench:
    """Requests under way to one judge."""

    def __init__(self, endpoint: Endpoint, rubric: Rubric, keep: Keep) -> None:
        self._endpoint = endpoint
        self._rubric = rubric
        self._keep = keep
        self._in_a_row = 0
        self.done = 0
        self.failed: list[NoAnswer] = []

    async def run(self, queue: Iterator[tuple[int, Messages]]) -> None:
        """Ask until the queue is empty, or nothing is answered any more."""
        for place, messages in queue:
            try:
                told = await self._verdict(messages)
            except NoAnswer as why:
                self.failed.append(why)
                self._in_a_row += 1
            else:
                self._in_a_row = 0
                self.done += 1
                self._keep(place, told)
            if self._in_a_row >= _MOST_FAILURES:
                return

    async def _verdict(self, messages: Messages) -> Told:
        asked, text, tries, sent, received = messages, "", 0, 0, 0
        while tries < _TRIES and read_reply(text) is None:
            tries += 1
            reply = await self._endpoint.complete(asked, 1)
            text, used = reply.texts[0], reply.prompt_tokens
            sent += prompt_tokens(asked) if used is None else used
            used = reply.completion_tokens
            received += text_tokens(text) if used is None else used
            asked = self._rubric.again(messages, text)
        return Told(text, tries, sent, received)


@dataclass(frozen=True)
class LocalJudge:
    """A model of this machine.

    Attributes:
        model: that judges.
        max_tokens: longest reply.
        batch: requests answered at once.
    """

    model: Local
    max_tokens: int
    batch: int

    @property
    def reference(self) -> str:
        """As it was asked for."""
        return self.model.reference

    @property
    def digest(self) -> str:
        """Of its files and arithmetic."""
        return digest_of({"judge": self.model.digest})

    def ask(self, asks: Sequence[Messages], rubric: Rubric, keep: Keep) -> None:
        """In batches, each request once: the same words would get the same reply."""
        prompts = [Conversation(messages=tuple(map(_message, one))) for one in asks]
        fitting = [place for place, prompt in enumerate(prompts) if self._fits(prompt)]
        if not fitting:
            raise ConfigError(
                f"judge {self.reference} holds {self.model.renderer.context_length} tokens; no "
                "question with its two answers and the rubric fits",
                "Take a judge with a longer context, or a shorter rubric: --judge-rubric FILE.",
            )

        def hand_over(answers: Sequence[tuple[int, Said]]) -> None:
            for number, said in answers:
                place = fitting[number]
                keep(place, Told(said.text, 1, prompt_tokens(asks[place]), text_tokens(said.text)))

        config = GenerationConfig(max_new_tokens=self.max_tokens)
        try:
            asked = [prompts[place] for place in fitting]
            self.model.answer(asked, config, self.batch, hand_over, lambda done: None)
        finally:
            self.model.weights.free()

    def _fits(self, prompt: Conversation) -> bool:
        """Whether there is room for the request and a short reply."""
        renderer = self.model.renderer
        return len(renderer.prompt_ids(prompt)) + _SHORT_REPLY <= renderer.context_length


def _message(message: dict[str, Any]) -> Message:
    return Message.model_validate(message)


def open_judges(config: JudgeConfig, store: Store, batch: int) -> list[Judge]:
    """The judges, in the order of their references; nothing is loaded or asked yet.

    Raises:
        ConfigError: no usable address or key.
        NotFoundError, ModelError: a model of this machine that is unknown or cannot be used.
    """
    return [_open(reference, config, store, batch) for reference in config.models]


def _open(reference: str, config: JudgeConfig, store: Store, batch: int) -> Judge:
    if "://" not in reference and not reference.startswith(ENDPOINT):
        resolved = resolve_responder(store, reference)
        local = Local(reference, reference, resolved, Weights(store, (reference,)))
        return LocalJudge(local, config.max_tokens, batch)
    try:
        model, url = at_url(reference.removeprefix(ENDPOINT), "judge")
    except ConfigError as error:
        raise ConfigError(
            error.message, "Example: --judge qwen3-32b@http://127.0.0.1:8000/v1"
        ) from None
    asked = EndpointConfig(
        endpoint=url,
        model=model,
        key_file=config.key_file,
        sampling=SamplingConfig(temperature=0, max_tokens=config.max_tokens),
        limits=config.limits,
    )
    return RemoteJudge(reference, find_address(asked, store.settings), asked)
