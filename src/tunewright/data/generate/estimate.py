"""What a command will cost, before it is asked for; and what it has cost."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from tunewright.config.generation import GenerateConfig
from tunewright.core.messages import Conversation, Message
from tunewright.core.settings import Settings
from tunewright.data.generate.answers import waiting
from tunewright.data.generate.journal import Journal
from tunewright.data.generate.work import Ask, Work
from tunewright.endpoints.dialect import Messages
from tunewright.endpoints.prices import MESSAGE_TOKENS, OTHER_TOKENS, WIDE_TOKENS, cost, text_tokens
from tunewright.model.catalog import resolve_base
from tunewright.model.rendering import Renderer

_ITEM_TOKENS = 12

Counter = Callable[[Messages], int]
"""Tokens of a prompt."""


@dataclass(frozen=True)
class Estimate:
    """What is still to be asked for.

    Attributes:
        asks: prompts in all.
        answered: prompts that the journal answers already.
        calls: requests to be sent, if the endpoint gives all completions of a prompt at once.
        most_calls: requests to be sent, if it gives one at a time.
        prompt_tokens: tokens of the prompts of ``calls``.
        completion_tokens: tokens of the replies, as long as they usually are.
        most_tokens: prompt and completion tokens of ``most_calls`` with the longest replies;
            replies that must be corrected come on top.
        cost: of ``prompt_tokens`` and ``completion_tokens``; None without both prices.
        most_cost: of ``most_tokens``.
    """

    asks: int
    answered: int
    calls: int
    most_calls: int
    prompt_tokens: int
    completion_tokens: int
    most_tokens: int
    cost: float | None
    most_cost: float | None

    def json_dict(self) -> dict[str, Any]:
        """The estimate as JSON values."""
        return asdict(self)


def token_counter(config: GenerateConfig, settings: Settings) -> Counter:
    """Counts a prompt's tokens: with the named base's tokenizer, otherwise by its characters.

    Raises:
        ModelError: the base cannot be found.
    """
    if config.base is None:
        return lambda messages: sum(
            MESSAGE_TOKENS + text_tokens(message["content"]) for message in messages
        )
    renderer = Renderer(resolve_base(config.base, settings).folder)

    def count(messages: Messages) -> int:
        turns = tuple(Message.model_validate(message) for message in messages)
        return renderer.count(Conversation(messages=turns))

    return count


def estimate(
    asks: Sequence[Ask],
    work: Work,
    journal: Journal,
    config: GenerateConfig,
    count: Counter,
) -> Estimate:
    """What the prompts without an answer will cost."""
    longest = config.sampling.max_tokens
    calls = most_calls = prompt = most_prompt = completion = most_completion = 0
    for ask in asks:
        missing = waiting(ask, journal, work, config)
        if not missing:
            continue
        size, item = count(ask.messages), work.items[ask.item]
        per_character = WIDE_TOKENS if item.language == "zh" else OTHER_TOKENS
        reply = round(ask.count * (_ITEM_TOKENS + per_character * item.expected))
        calls += 1
        most_calls += missing
        prompt += size
        most_prompt += missing * size
        completion += missing * min(reply, longest)
        most_completion += missing * longest
    return Estimate(
        asks=len(asks),
        answered=len(asks) - calls,
        calls=calls,
        most_calls=most_calls,
        prompt_tokens=prompt,
        completion_tokens=completion,
        most_tokens=most_prompt + most_completion,
        cost=cost(prompt, completion, config.price),
        most_cost=cost(most_prompt, most_completion, config.price),
    )
