"""What a maker hands to the engine: what to ask, and how to judge what comes back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from tunewright.config.generation import GenerateConfig
from tunewright.core.files import digest
from tunewright.data.records import Draft
from tunewright.endpoints.dialect import Messages

Row = dict[str, Any]
"""One row of the output file."""
Result = Mapping[str, str]
"""One result of a reply: the fields that were asked for, as clean text."""
Language = Literal["en", "zh"]


@dataclass(frozen=True)
class Item:
    """One thing to ask about: a passage, a combination of attributes, a question.

    Attributes:
        language: of the prompt.
        prompt: how many results are wanted in the reply → the messages that ask for them.
        accept: a result → its row; raises Unusable.
        expected: characters that one result is likely to have, for the estimate.
    """

    language: Language
    prompt: Callable[[int], Messages]
    accept: Callable[[Result], Row]
    expected: int


@dataclass(frozen=True)
class Work:
    """Everything one command asks for.

    Attributes:
        name: of the maker, e.g. ``questions``.
        items: what to ask about, in the order of their source.
        fields: the text fields of one result.
        together: whether an item's results are asked for in one reply, since they must differ
            from each other.
        draft: a row and its number → the draft that the checks judge; its question is what no
            two rows may share.
        without: checks that would mistake for a fault what is meant here.
        output: the output's file name when none is given.
        known: near-equality keys of questions that no result may repeat.
        skipped: reason → sources that were not asked about.
    """

    name: str
    items: Sequence[Item]
    fields: tuple[str, ...]
    together: bool
    draft: Callable[[Row, int], Draft]
    output: str
    without: frozenset[str] = frozenset()
    known: frozenset[str] = frozenset()
    skipped: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True)
class Ask:
    """One prompt and how many completions of it are wanted.

    Attributes:
        item: its place in ``Work.items``.
        messages: the prompt.
        count: results wanted in each completion.
        completions: how many completions.
        key: digest of everything that decides what the endpoint may answer, but for the endpoint.
    """

    item: int
    messages: Messages
    count: int
    completions: int
    key: str

    @property
    def results(self) -> int:
        """Results wanted from all completions."""
        return self.count * self.completions


def make_asks(work: Work, config: GenerateConfig) -> list[Ask]:
    """The prompts for every item; a prompt that an earlier item has already is left out.

    An item's ``n`` results come in replies of ``per_reply`` and, where that leaves a rest, one
    smaller reply.
    """
    size = min(config.n, config.per_reply or (config.n if work.together else 1))
    full, rest = divmod(config.n, size)
    parts = [(size, full), *([(rest, 1)] if rest else [])]
    asks: dict[str, Ask] = {}
    for number, item in enumerate(work.items):
        for count, completions in parts:
            messages = item.prompt(count)
            key = request_key(messages, work.fields, config)
            if key in asks:
                work.skipped["duplicate"] += 1
            else:
                asks[key] = Ask(number, messages, count, completions, key)
    return list(asks.values())


def request_key(messages: Messages, fields: tuple[str, ...], config: GenerateConfig) -> str:
    """Equal for requests that mean the same; the journal knows answers by it."""
    return digest(
        {
            "model": config.model,
            "messages": list(messages),
            "fields": list(fields),
            "sampling": config.sampling.json_dict(),
        }
    )
