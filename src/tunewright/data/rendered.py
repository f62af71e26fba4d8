"""A few rows as the model sees them: token by token, with the tokens that are learned marked."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import Any

from tunewright.core.errors import DataError
from tunewright.core.messages import Conversation
from tunewright.data.measure import Length, pair_of
from tunewright.data.records import Draft
from tunewright.model.rendering import Renderer

_SHOWN = 800
"""Most tokens shown of a row; the page names how many are left."""

Pieces = list[tuple[str, bool]]


def rendered_rows(kept: Sequence[tuple[Draft, Length]], renderer: Renderer) -> list[dict[str, Any]]:
    """A row of middling length and a long one: ``[{file, row, length, tokens, parts}]``.

    ``parts`` holds the row; of a preference the row with its better and with its worse answer.
    """
    ordered = sorted(kept, key=lambda pair: pair[1].tokens)
    middle = len(ordered) // 2
    rows = [_row(*ordered[middle], "middling", renderer)]
    # The longest row that can be shown whole, but for the few that are unlike all others.
    whole = bisect_right(ordered, _SHOWN, key=lambda pair: pair[1].tokens) - 1
    long = min(whole, len(ordered) * 19 // 20)
    if long > middle:
        rows.append(_row(*ordered[long], "long", renderer))
    return rows


def _row(draft: Draft, measured: Length, length: str, renderer: Renderer) -> dict[str, Any]:
    return {
        "file": draft.file,
        "row": draft.number,
        "length": length,
        "tokens": measured.total,
        "supervised": measured.supervised,
        "parts": [_part(role, pieces) for role, pieces in _rendered(draft, renderer)],
    }


def _rendered(draft: Draft, renderer: Renderer) -> list[tuple[str, Pieces]]:
    if draft.kind == "text":
        return [("text", renderer.text_tokens_with_mask(draft.turns[0].text))]
    if draft.kind == "preference":
        roles = ("better", "worse")
        return [(r, _pieces(c, renderer)) for r, c in zip(roles, pair_of(draft), strict=True)]
    role = {True: "desirable", False: "undesirable", None: "conversation"}[draft.desirable]
    return [(role, renderer.tokens_with_mask(draft.conversation()))]


def _pieces(conversation: Conversation, renderer: Renderer) -> Pieces:
    try:
        return renderer.tokens_with_mask(conversation)
    except DataError as error:  # the report says so in place of the answer
        return [(error.message, False)]


def _part(role: str, pieces: Pieces) -> dict[str, Any]:
    return {
        "role": role,
        "pieces": [list(piece) for piece in pieces[:_SHOWN]],
        "more": max(0, len(pieces) - _SHOWN),
    }
