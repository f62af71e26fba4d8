"""What every responder does, and what is kept of its answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal, Protocol

from tunewright.config.serving import GenerationConfig
from tunewright.core.messages import Conversation, ToolCall

FinishReason = Literal["stop", "length"]


@dataclass(frozen=True, slots=True)
class Said:
    """One answer.

    Attributes:
        text: what was said.
        finish_reason: ``stop`` where it ended by itself.
        probability: of the answer among the choices that it was held to, if it was.
        calls: the functions that it calls; they are no part of the text.
    """

    text: str
    finish_reason: FinishReason
    probability: float | None = None
    calls: tuple[ToolCall, ...] = ()

    @classmethod
    def kept(cls, values: Mapping[str, Any]) -> Said:
        """The answer that ``values`` was made of."""
        calls = tuple(ToolCall.model_validate(call) for call in values.get("calls", ()))
        return cls(**{**values, "calls": calls})

    def values(self) -> dict[str, Any]:
        """As it is kept."""
        calls = [call.model_dump(exclude_none=True) for call in self.calls]
        plain = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "calls"}
        return plain | ({"calls": calls} if calls else {})


@dataclass(frozen=True, slots=True)
class Likely:
    """How likely a reference is: its log-probability in nats, over so many tokens."""

    log_probability: float
    tokens: int


Keep = Callable[[Sequence[tuple[int, Said]]], None]
"""Takes answers, with their places among the prompts, as soon as they are there."""
Tell = Callable[[int], None]
"""Hears how many answers are finished that were not handed over yet."""
KeepLikely = Callable[[Sequence[tuple[int, Likely]]], None]


class Responder(Protocol):
    """Anything that answers conversations and can be compared.

    Attributes:
        reference: what it was asked for as; its name in reports.
        digest: equal for two that give the same answers.
    """

    @property
    def reference(self) -> str: ...

    @property
    def digest(self) -> str: ...

    def prompt(self, conversation: Conversation, room: int) -> Conversation:
        """What is really asked for a question: with examples before it, say.

        Args:
            conversation: the question.
            room: tokens to leave for the answer.
        """
        ...

    def settings(self, config: GenerationConfig) -> GenerationConfig:
        """How it draws, as far as it can be told."""
        ...

    def answer(
        self,
        prompts: Sequence[Conversation],
        config: GenerationConfig,
        batch: int,
        keep: Keep,
        tell: Tell,
    ) -> None:
        """Answer all prompts; hand over answers as they come, with their places in ``prompts``.

        Args:
            prompts: what is asked.
            config: how to draw.
            batch: most that are answered at once.
            keep: gets the answers.
            tell: hears of progress in between.

        Raises:
            InputError: a prompt that cannot be asked.
            EndpointError: some got no answer; those that did were handed over.
        """
        ...
