"""Examples before a question: what a base can do when it is shown how, without any tuning."""

from __future__ import annotations

import random
from collections.abc import Sequence

from tunewright.core.messages import Conversation, Message, Row, supervised

Example = tuple[Message, Message]


def pick_examples(rows: Sequence[Row], count: int, seed: int) -> tuple[Example, ...]:
    """Questions with their answers from the team's own training rows, the same for the same seed.

    Of rows with several turns the last question and answer are shown. Rows that call tools, or
    that offer them, cannot serve as examples.
    """
    good = [row for row in supervised(rows) if _shows(row)]
    chosen = random.Random(f"shots:{seed}").sample(good, min(count, len(good)))
    return tuple(_example(row.conversation) for row in chosen)


def _shows(row: Row) -> bool:
    messages = row.conversation.messages
    plain = not row.conversation.tools and not messages[-1].tool_calls
    return row.origin == "own" and plain and len(messages) > 1 and messages[-2].role == "user"


def _example(conversation: Conversation) -> Example:
    return conversation.messages[-2], conversation.messages[-1]


def with_examples(conversation: Conversation, examples: Sequence[Example]) -> Conversation:
    """The conversation with examples after its system message, as turns that went before."""
    messages = conversation.messages
    begin = 1 if messages[0].role == "system" else 0
    turns = tuple(turn for example in examples for turn in example)
    return Conversation(
        messages=(*messages[:begin], *turns, *messages[begin:]), tools=conversation.tools
    )
