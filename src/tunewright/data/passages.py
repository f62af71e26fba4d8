"""Plain text longer than the context, cut where a reader would pause."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from itertools import pairwise

from tunewright.data.records import Draft
from tunewright.model.rendering import Renderer

_BREAKS = (
    re.compile(r"\n(?:[^\S\n]*\n)+"),  # paragraphs
    re.compile(r"\n"),
    re.compile(r"(?:[。！？!?…]+[”’」』）)\"']*|\.[”’)\"']*(?=\s))\s*"),  # sentences
)
_MOST_CHARACTERS = 8  # of a token, as a rule
_JOINERS = "\u200d\ufe0e\ufe0f"  # they belong to the character before, or to both beside them
_Count = Callable[[Sequence[str]], list[int]]


def split_text(draft: Draft, renderer: Renderer, limit: int) -> list[Draft]:
    """A text row in pieces of at most ``limit`` tokens, in order.

    It is cut between paragraphs, else lines, else after sentences, else between characters (at
    white space where there is some). Pieces are as long as fits; nothing but white space at the
    ends, or a piece that would be only that, is left out. File, number and group are the row's.

    Args:
        draft: a row of kind ``text``.
        renderer: measures it.
        limit: most tokens of a piece, its begin and end tokens included; a piece of one
            character can be longer.

    Raises:
        DataError: the text spells a control token beside private-use characters.
    """
    turn = draft.turns[0]
    frame = renderer.count_texts([""])[0]
    count = partial(_counts, renderer, frame)
    room = limit - frame
    units = _units([turn.text.strip()], 0, room, count)
    pieces = _verified(_packed(units, room), room, count)
    if len(pieces) <= 1:
        return [draft]
    pieces[-1], pieces[0] = pieces[-1].rstrip(), pieces[0].lstrip()
    return [replace(draft, turns=(turn._replace(text=piece),)) for piece in pieces if piece.strip()]


def _counts(renderer: Renderer, frame: int, texts: Sequence[str]) -> list[int]:
    return [tokens - frame for tokens in renderer.count_texts(texts)]


def _units(texts: Sequence[str], level: int, room: int, count: _Count) -> list[tuple[str, int]]:
    """Texts and their tokens, those that do not fit cut further; nothing is lost."""
    # What is surely too long is not worth counting; cut too fine, it is put together again.
    sure = _MOST_CHARACTERS * room
    counts = iter(count([text for text in texts if len(text) <= sure]))
    units: list[tuple[str, int]] = []
    for text in texts:
        tokens = next(counts) if len(text) <= sure else room + 1
        if tokens <= room or len(text) <= 1:
            units.append((text, tokens))
        else:
            parts, deeper = _cut(text, level)
            units += _units(parts, deeper, room, count)
    return units


def _cut(text: str, level: int) -> tuple[list[str], int]:
    """A text of at least two characters in at least two parts, and the level that cut it."""
    for deeper in range(level, len(_BREAKS)):
        ends = [match.end() for match in _BREAKS[deeper].finditer(text)]
        places = [0, *(end for end in ends if end < len(text)), len(text)]
        if len(places) > 2:
            return [text[start:end] for start, end in pairwise(places)], deeper
    middle = _middle(text)
    return [text[:middle], text[middle:]], len(_BREAKS)


def _middle(text: str) -> int:
    """A place near the middle: after white space, else not inside a character's sequence."""
    half, quarter = len(text) // 2, len(text) // 4
    space = next((n for n in range(half, half + quarter) if text[n - 1].isspace()), None)
    if space is not None:
        return space
    place = half
    while place < len(text) - 1 and _belongs_together(text[place - 1], text[place]):
        place += 1
    return place


def _belongs_together(before: str, after: str) -> bool:
    return after in _JOINERS or before == "\u200d" or unicodedata.combining(after) > 0


def _packed(units: Sequence[tuple[str, int]], room: int) -> list[list[str]]:
    """Neighbours together as long as their tokens add up to no more than fits."""
    packs: list[list[str]] = []
    left = 0
    for text, tokens in units:
        if not packs or tokens > left:
            packs.append([])
            left = room
        packs[-1].append(text)
        left -= tokens
    return packs


def _verified(packs: Sequence[list[str]], room: int, count: _Count) -> list[str]:
    """Packs as texts; one whose parts take more tokens together than alone is divided."""
    texts = ["".join(pack) for pack in packs]
    pieces: list[str] = []
    for pack, text, tokens in zip(packs, texts, count(texts), strict=True):
        if tokens <= room or len(pack) == 1:
            pieces.append(text)
        else:
            half = len(pack) // 2
            pieces += _verified([pack[:half], pack[half:]], room, count)
    return pieces
