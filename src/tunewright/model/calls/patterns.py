"""Comparing what a template writes with what a model wrote, which may space it differently."""

from __future__ import annotations

SLOT = "\0"
"""Stands in a pattern for an id of the model's own making."""
MORE = -1
"""What was written so far fits."""
_LONGEST_ID = 64


def fits(pattern: str, text: str, place: int = 0) -> int | None:
    """Where a pattern ends that begins at a place of a text.

    White space beside punctuation may be there or not, of any kind and amount; elsewhere it is as
    in the pattern.

    Returns:
        The place after it, ``MORE`` where the text ends first, or None.
    """
    index = 0
    while index < len(pattern):
        character = pattern[index]
        if character == SLOT:
            end = _id_end(text, place)
        elif character.isspace():
            end = _space_end(pattern, index, text, place)
        elif place == len(text):
            end = MORE
        elif text[place] == character:
            end = place + 1
        elif text[place].isspace() and _loose(pattern, index):
            place += 1
            continue
        else:
            return None
        if end is None or end == MORE:
            return end
        place, index = end, index + 1
    return place


def _id_end(text: str, place: int) -> int | None:
    end = text.find('"', place)
    if end < 0:
        return MORE if len(text) - place <= _LONGEST_ID else None
    return end if end - place <= _LONGEST_ID else None


def _space_end(pattern: str, index: int, text: str, place: int) -> int | None:
    """White space of the pattern in the text, which may lack it beside punctuation."""
    if _loose_run(pattern, index):
        while place < len(text) and text[place].isspace():
            place += 1
        return place
    if place == len(text):
        return MORE
    return place + 1 if text[place] == pattern[index] else None


def _loose_run(pattern: str, index: int) -> bool:
    """Whether punctuation stands beside the white space at ``index``."""
    before, after = pattern[:index].rstrip()[-1:], pattern[index:].lstrip()[:1]
    return _marks(before) or _marks(after)


def _loose(pattern: str, index: int) -> bool:
    """Whether white space may stand before a character: not within a word."""
    return _marks(pattern[:index][-1:]) or _marks(pattern[index])


def _marks(character: str) -> bool:
    return bool(character) and not character.isalnum() and not character.isspace()
