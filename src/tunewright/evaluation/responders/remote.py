"""Responders behind an OpenAI-compatible endpoint."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from tunewright.config.endpoint import EndpointConfig, SamplingConfig
from tunewright.config.serving import GenerationConfig
from tunewright.core.errors import ConfigError, EndpointError
from tunewright.core.files import digest as digest_of
from tunewright.core.messages import Conversation, Message
from tunewright.endpoints.address import Address
from tunewright.endpoints.dialect import Dialect, Messages
from tunewright.endpoints.endpoint import Endpoint, NoAnswer
from tunewright.evaluation.responders.base import Keep, Said, Tell
from tunewright.evaluation.responders.few_shot import with_examples

_LEAST_TOKENS = 16
_MOST_FAILURES = 3
"""Requests in a row without an answer after which the endpoint is taken to be gone."""


@dataclass(frozen=True)
class Remote:
    """A model that is asked over HTTP.

    Attributes:
        reference: what it was asked for as.
        model: its name there.
        address: where it is, with the key.
        key_file: where the key came from, if from a file.
        examples: turns shown before every question.
    """

    reference: str
    model: str
    address: Address
    key_file: str | None = None
    examples: tuple[tuple[Message, Message], ...] = ()

    @cached_property
    def digest(self) -> str:
        """Of address and model; what stands behind them may change without notice."""
        return digest_of({"url": str(self.address.url), "model": self.model})

    def prompt(self, conversation: Conversation, room: int) -> Conversation:
        """The question after the examples."""
        return with_examples(conversation, self.examples)

    def settings(self, config: GenerationConfig) -> GenerationConfig:
        """Answers cannot be held to choices there, and 16 tokens are the least to ask for."""
        least = max(_LEAST_TOKENS, config.max_new_tokens)
        return config.model_copy(update={"choices": (), "max_new_tokens": least})

    def answer(
        self,
        prompts: Sequence[Conversation],
        config: GenerationConfig,
        batch: int,
        keep: Keep,
        tell: Tell,
    ) -> None:
        """Ask several at a time; each answer is handed over as it comes."""
        asks = [_messages(prompt) for prompt in prompts]
        asyncio.run(self._answer(asks, config, keep))

    async def _answer(self, asks: Sequence[Messages], config: GenerationConfig, keep: Keep) -> None:
        settings = EndpointConfig(
            endpoint=str(self.address.url),
            model=self.model,
            key_file=self.key_file,
            sampling=SamplingConfig(
                temperature=config.temperature, max_tokens=config.max_new_tokens
            ),
        )
        endpoint = Endpoint(self.address, settings, {}, asyncio.Event(), Dialect(format=None))
        work = _Work(endpoint, keep)
        queue = iter(enumerate(asks))
        tasks = [asyncio.create_task(work.run(queue)) for _ in range(settings.limits.concurrency)]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await endpoint.close()
        if work.failed:
            raise EndpointError(
                f"{self.reference} gave no answer to {len(work.failed)} of {len(asks)} questions; "
                f"the last one: {work.failed[-1].detail}",
                "All other answers are kept. Run the same command again to go on.",
            )


class _Work:
    """Requests under way to one endpoint."""

    def __init__(self, endpoint: Endpoint, keep: Keep) -> None:
        self._endpoint = endpoint
        self._keep = keep
        self._in_a_row = 0
        self.failed: list[NoAnswer] = []

    async def run(self, queue: Iterator[tuple[int, Messages]]) -> None:
        """Ask until the queue is empty, or nothing is answered any more."""
        for place, messages in queue:
            try:
                reply = await self._endpoint.complete(messages, 1)
            except NoAnswer as why:
                self.failed.append(why)
                self._in_a_row += 1
                if self._in_a_row >= _MOST_FAILURES:
                    return
                continue
            self._in_a_row = 0
            cut = bool(reply.cut and reply.cut[0])
            self._keep([(place, Said(reply.texts[0], "length" if cut else "stop"))])


def _messages(prompt: Conversation) -> Messages:
    if prompt.tools or any(m.role == "tool" or m.tool_calls for m in prompt.messages):
        raise ConfigError(
            "a test question offers or uses tools, which endpoints are not asked with here",
            "Compare models that run here, or take a dataset without tools.",
        )
    return tuple({"role": one.role, "content": one.content} for one in prompt.messages)
