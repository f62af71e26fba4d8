"""Finding texts again in what a chat template writes: render once more with marks around them."""

from __future__ import annotations

import re
from typing import Literal, NamedTuple

_MARKS = range(0x100000, 0x10FFFE)
_MARK = re.compile("[\U00100000-\U0010fffd]")
_MOST = len(_MARKS) // 2

Span = tuple[int, int]
"""Half-open range of characters."""
Kind = Literal["content", "result", "call", "tool"]


class Slot(NamedTuple):
    """A text that was marked: what it is, the message it belongs to, and the text.

    A tool belongs to the conversation; its ``message`` is -1.
    """

    kind: Kind
    message: int
    text: str


class Marks:
    """Private characters put around texts, two to each, so that a template may drop, repeat or
    reorder them.

    Attributes:
        slots: the texts, in the order in which they were marked.
    """

    def __init__(self) -> None:
        self.slots: list[Slot] = []

    def around(self, kind: Kind, message: int, text: str) -> str:
        """The text with its marks; they stand inside the white space, so that one may trim it."""
        number = len(self.slots)
        self.slots.append(Slot(kind, message, text))
        if number >= _MOST:
            return text
        inner = text.strip()
        start = text.find(inner)
        opening, closing = chr(_MARKS[2 * number]), chr(_MARKS[2 * number + 1])
        return f"{text[:start]}{opening}{inner}{closing}{text[start + len(inner) :]}"

    def find(self, marked: str, expected: str) -> list[Span | None] | None:
        """Where each slot's text stands in ``expected``, None for one that is not there.

        Args:
            marked: what the template wrote with the marks.
            expected: what it wrote without them.

        Returns:
            One range per slot, or None as a whole when the marks changed what the template does;
            it may look into the texts.
        """
        pieces = _MARK.split(marked)
        if len(self.slots) > _MOST or _MARK.search(expected) or "".join(pieces) != expected:
            return None
        spans: list[Span | None] = [None] * len(self.slots)
        opened: dict[int, int] = {}
        place = 0
        for piece, mark in zip(pieces, _MARK.findall(marked), strict=False):
            place += len(piece)
            number, closes = divmod(ord(mark) - _MARKS.start, 2)
            if not closes:
                opened[number] = place
            elif number in opened and number < len(spans):
                start = opened.pop(number)
                spans[number] = _with_space(self.slots[number].text, (start, place), expected)
        return spans


def _with_space(text: str, span: Span, whole: str) -> Span:
    """Widen a range to the white space around the text, where the template kept it."""
    start, end = span
    inner = text.strip()
    place = text.find(inner)
    before, after = text[:place], text[place + len(inner) :]
    if before and whole.endswith(before, 0, start):
        start -= len(before)
    if after and whole.startswith(after, end):
        end += len(after)
    return start, end
