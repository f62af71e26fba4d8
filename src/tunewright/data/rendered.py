"""A few rows as the model sees them: token by token, with the tokens that are learned marked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tunewright.core.messages import Conversation
from tunewright.data.measure import Length
from tunewright.data.records import Draft, Turn
from tunewright.model.rendering import Renderer

_TOKENS = 400
"""Rows up to this length are preferred: a page that shows more is not read."""
_PIECES = 800

Pieces = list[tuple[str, bool]]


def rendered_rows(kept: Sequence[tuple[Draft, Length]], renderer: Renderer) -> list[dict[str, Any]]:
    """A row of middling length and a long one: ``[{file, row, length, tokens, parts}]``.

    ``parts`` holds the row; of a preference the row with its better and with its worse answer.
    """
    short = [pair for pair in kept if pair[1].tokens <= _TOKENS]
    if not short:
        short = [min(kept, key=lambda pair: pair[1].tokens)]
    ordered = sorted(short, key=lambda pair: pair[1].tokens)
    places = {"middling": len(ordered) // 2, "long": len(ordered) * 19 // 20}
    shown = {place: length for length, place in reversed(places.items())}
    return [_row(*ordered[place], length, renderer) for place, length in sorted(shown.items())]


def _row(draft: Draft, measured: Length, length: str, renderer: Renderer) -> dict[str, Any]:
    return {
        "file": draft.file,
        "row": draft.number,
        "length": length,
        "tokens": measured.tokens,
        "supervised": measured.supervised,
        "parts": [_part(role, pieces) for role, pieces in _rendered(draft, renderer)],
    }


def _rendered(draft: Draft, renderer: Renderer) -> list[tuple[str, Pieces]]:
    if draft.kind == "text":
        return [("text", _plain(draft.turns[0].text, renderer))]
    if draft.kind == "preference":
        better, worse = draft.turns, (*_asked(draft.turns), *draft.rejected)
        pairs = (("better", better), ("worse", worse))
        return [(role, renderer.tokens_with_mask(_talk(draft, turns))) for role, turns in pairs]
    role = {True: "desirable", False: "undesirable", None: "conversation"}[draft.desirable]
    return [(role, renderer.tokens_with_mask(draft.conversation()))]


def _asked(turns: tuple[Turn, ...]) -> tuple[Turn, ...]:
    """Turns up to the last one of the user: what both answers of a preference reply to."""
    last = max(place for place, turn in enumerate(turns) if turn.role == "user")
    return turns[: last + 1]


def _talk(draft: Draft, turns: tuple[Turn, ...]) -> Conversation:
    messages = tuple(turn.message() for turn in turns)
    return Conversation.model_construct(messages=messages, tools=draft.tools)


def _plain(text: str, renderer: Renderer) -> Pieces:
    """Tokens of plain text, all of them learned; parts of one character are joined."""
    encoded = renderer.tokenizer.encode(text, add_special_tokens=False)
    offsets = dict.fromkeys(encoded.offsets)
    return [(text[start:end], True) for start, end in offsets if end > start]


def _part(role: str, pieces: Pieces) -> dict[str, Any]:
    return {
        "role": role,
        "pieces": [list(piece) for piece in pieces[:_PIECES]],
        "more": max(0, len(pieces) - _PIECES),
    }
