"""Rows as examples of a finding: an excerpt around the place, nothing personal in it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import polars as pl

from tunewright.data.checks.base import Example, excerpt
from tunewright.data.checks.columns import suspects
from tunewright.data.checks.masking import joined_hints, mask
from tunewright.data.checks.personal_kinds import PERSONAL
from tunewright.data.checks.secret_kinds import SECRETS
from tunewright.data.checks.turns import parts
from tunewright.data.records import Draft

Locate = Callable[[str], int | None]
"""A text → where in it is what an example should show; None when it is not in there."""

_BEFORE = 40
_LONGEST = 4000


def hidden(text: str) -> str:
    """A text with personal data and secrets masked."""
    return mask(mask(text, SECRETS)[0], PERSONAL)[0]


def hidden_all(texts: Sequence[str]) -> list[str]:
    """``hidden`` for many texts; only those that hold a hint are looked at one by one."""
    column = pl.Series(texts, dtype=pl.String)
    shown = list(texts)
    for place in suspects([column], joined_hints((*SECRETS, *PERSONAL))):
        shown[place] = hidden(shown[place])
    return shown


def example(draft: Draft, locate: Locate | None = None) -> Example:
    """A row as an example.

    Args:
        draft: the row.
        locate: finds the place to show in one of its texts; the question and the answer are
            shown without it, or when it finds none.
    """
    for _, text in parts(draft) if locate else ():
        place = locate(text) if locate else None
        if place is not None:
            return Example(draft.file, draft.number, _around(text, place))
    question, answer = draft.question[:_LONGEST], draft.answer[:_LONGEST]
    text = excerpt(hidden(question), 100)
    text += f" → {excerpt(hidden(answer), 100)}" if answer else ""
    return Example(draft.file, draft.number, text)


def _around(text: str, place: int) -> str:
    """An excerpt in which a place is seen; all is masked before it is cut."""
    start = max(0, place - _LONGEST // 2)
    whole = hidden(text[start : place + _LONGEST])
    cut = max(0, len(hidden(text[start:place])) - _BEFORE)
    return ("…" if start or cut else "") + excerpt(whole[cut:])
