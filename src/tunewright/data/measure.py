"""Rows as the base will see them: lengths in tokens, and which rows do not fit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tunewright.core.errors import DataError
from tunewright.core.events import Event, Listener
from tunewright.core.messages import Conversation
from tunewright.data.records import Draft
from tunewright.model.rendering import Renderer

_BATCH = 256


@dataclass(frozen=True, slots=True)
class Length:
    """Tokens of a rendered row and how many of them are learned; or why it cannot be rendered."""

    tokens: int
    supervised: int
    refusal: str = ""


def measure(drafts: Sequence[Draft], renderer: Renderer, listen: Listener) -> list[Length]:
    """Render every row and keep only its lengths, in the order given."""
    lengths: list[Length] = []
    for start in range(0, len(drafts), _BATCH):
        batch = [draft.conversation() for draft in drafts[start : start + _BATCH]]
        lengths += _measure_batch(batch, renderer)
        done = {"stage": "measure", "done": len(lengths), "total": len(drafts)}
        listen(Event(kind="progress", data=done))
    return lengths


def _measure_batch(batch: list[Conversation], renderer: Renderer) -> list[Length]:
    try:
        return [Length(len(r.ids), sum(r.mask)) for r in renderer.render_many(batch)]
    except DataError as error:
        if len(batch) == 1:  # one row that the base's template refuses spoils no other
            return [Length(0, 0, error.message)]
    return [length for row in batch for length in _measure_batch([row], renderer)]


def summary(lengths: Sequence[Length]) -> dict[str, int]:
    """``{p5, p50, p95, max, total, supervised}`` in tokens; zeros when there are no rows."""
    tokens = sorted(length.tokens for length in lengths)
    if not tokens:
        return dict.fromkeys(("p5", "p50", "p95", "max", "total", "supervised"), 0)
    return {
        **{f"p{share}": _percentile(tokens, share) for share in (5, 50, 95)},
        "max": tokens[-1],
        "total": sum(tokens),
        "supervised": sum(length.supervised for length in lengths),
    }


def _percentile(ordered: list[int], share: int) -> int:
    """Nearest rank: the smallest value that ``share`` percent of the values do not exceed."""
    return ordered[max(0, -(-len(ordered) * share // 100) - 1)]
