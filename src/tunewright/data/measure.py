"""Rows as the base will see them: lengths in tokens, and which rows do not fit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby
from typing import NamedTuple

from tunewright.core.errors import DataError
from tunewright.core.events import Event, Listener
from tunewright.core.messages import Conversation, RowKind
from tunewright.data.records import Draft, Turn
from tunewright.model.rendering import Renderer

_BATCH = 256
REFUSED = "refused by the chat template"
ALIKE = "both answers are the same"


class Length(NamedTuple):
    """What a row measures, or why it cannot be used.

    Attributes:
        tokens: of the whole row; of a preference with the longer one of its answers.
        supervised: how many of them are learned; of a preference the tokens of both answers.
        refusal: why it cannot be rendered, or an empty string.
        reason: the fixed phrase that a refused row is counted under.
        estimated: whether the numbers are estimates, of a row that certainly fits.
        second: of a preference, tokens of the row with the shorter one of its answers.
    """

    tokens: int
    supervised: int
    refusal: str = ""
    reason: str = REFUSED
    estimated: bool = False
    second: int = 0

    @property
    def total(self) -> int:
        """All tokens that are read to learn from the row."""
        return self.tokens + self.second


def measure(drafts: Sequence[Draft], renderer: Renderer, listen: Listener) -> list[Length]:
    """Render every row and keep only its lengths, in the order given."""
    lengths: list[Length] = []
    for start in range(0, len(drafts), _BATCH):
        batch = drafts[start : start + _BATCH]
        for kind, rows in groupby(batch, key=lambda draft: draft.kind):
            lengths += _measured([*rows], _KINDS[kind], renderer)
        done = {"stage": "measure", "done": len(lengths), "total": len(drafts)}
        listen(Event(kind="progress", data=done))
    return lengths


_Measure = Callable[[Sequence[Draft], Renderer], list[Length]]


def _measured(batch: list[Draft], kind: _Measure, renderer: Renderer) -> list[Length]:
    try:
        return kind(batch, renderer)
    except DataError as error:
        if len(batch) == 1:  # one row that the base's template refuses spoils no other
            return [Length(0, 0, error.message)]
    return [length for draft in batch for length in _measured([draft], kind, renderer)]


def _conversations(batch: Sequence[Draft], renderer: Renderer) -> list[Length]:
    rendered = renderer.render_many([draft.conversation() for draft in batch])
    return [Length(len(row.ids), sum(row.mask)) for row in rendered]


def _preferences(batch: Sequence[Draft], renderer: Renderer) -> list[Length]:
    pairs = [pair_of(draft) for draft in batch]
    better, worse = (renderer.render_many(side) for side in zip(*pairs, strict=True))
    lengths = []
    for one, other in zip(better, worse, strict=True):
        if one.ids == other.ids:
            lengths.append(Length(0, 0, "to the base both answers are the same tokens", ALIKE))
        else:
            shorter, longer = sorted((len(one.ids), len(other.ids)))
            learned = sum(one.mask) + sum(other.mask)
            lengths.append(Length(longer, learned, second=shorter))
    return lengths


def _texts(batch: Sequence[Draft], renderer: Renderer) -> list[Length]:
    counts = renderer.count_texts([draft.turns[0].text for draft in batch])
    return [Length(count, count) for count in counts]


_KINDS: dict[RowKind, _Measure] = {
    "conversation": _conversations,
    "preference": _preferences,
    "rating": _conversations,
    "text": _texts,
}


def pair_of(draft: Draft) -> tuple[Conversation, Conversation]:
    """A preference as it is learned from: with its better and with its worse answer."""
    return _answer_alone(draft, draft.turns[-1:]), _answer_alone(draft, draft.rejected)


def _answer_alone(draft: Draft, answer: Sequence[Turn]) -> Conversation:
    """Prompt and answer, with earlier answers out of the loss: a preference is about the last."""
    prompt = (t._replace(weight=0) if t.role == "assistant" else t for t in draft.turns[:-1])
    return _conversation(draft, (*prompt, *answer))


def _conversation(draft: Draft, turns: Sequence[Turn]) -> Conversation:
    messages = tuple(turn.message() for turn in turns)
    return Conversation.model_construct(messages=messages, tools=draft.tools)


def summary(lengths: Sequence[Length]) -> dict[str, int]:
    """``{p5, p50, p95, max, total, supervised, measured}``; zeros when there are no rows.

    All but ``measured``, a number of rows, are tokens; the other rows' lengths are estimates.
    """
    tokens = sorted(length.tokens for length in lengths)
    if not tokens:
        names = ("p5", "p50", "p95", "max", "total", "supervised", "measured")
        return dict.fromkeys(names, 0)
    return {
        **{f"p{share}": _percentile(tokens, share) for share in (5, 50, 95)},
        "max": tokens[-1],
        "total": sum(length.total for length in lengths),
        "supervised": sum(length.supervised for length in lengths),
        "measured": sum(not length.estimated for length in lengths),
    }


def _percentile(ordered: list[int], share: int) -> int:
    """Nearest rank: the smallest value that ``share`` percent of the values do not exceed."""
    return ordered[max(0, -(-len(ordered) * share // 100) - 1)]
