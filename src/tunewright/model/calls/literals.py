"""Python literals such as ``city='北京', days=[1, 2]`` as values: read, never run.

Grammar: https://docs.python.org/3/reference/lexical_analysis.html. Only what JSON can hold too is
read; JSON's own ``true``, ``false`` and ``null`` are taken for Python's.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

_DEEPEST = 64
_SPACE = re.compile(r"\s*")
_KEY = re.compile(r"([^\s=,'\"()\[\]{}](?:[^=,'\"()\[\]{}]*[^\s=,'\"()\[\]{}])?)\s*=")
_STRING = re.compile(r"'((?:[^'\\]|\\.)*)'|\"((?:[^\"\\]|\\.)*)\"", re.DOTALL)
_NUMBER = re.compile(r"[-+]?(\d+(\.\d*)?|\.\d+)([eE][-+]?\d+)?")
_WORD = re.compile(r"[A-Za-z]+")
_WORDS = {"True": True, "False": False, "None": None, "true": True, "false": False, "null": None}
_ESCAPE = re.compile(
    r"\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([0-7]{1,3})|(.))", re.DOTALL
)
_ESCAPES = {
    "\n": "", "\\": "\\", "'": "'", '"': '"', "a": "\a", "b": "\b", "f": "\f", "n": "\n",
    "r": "\r", "t": "\t", "v": "\v",
}  # fmt: skip


def read_keywords(text: str) -> dict[str, Any]:
    """The values of ``name=literal, …``, as they stand between the brackets of a call.

    Raises:
        ValueError: anything else, or nested too deeply.
    """
    reader = _Reader(text)
    found: dict[str, Any] = {}
    while not reader.over:
        name = reader.matched(_KEY)[1]
        if name in found:
            raise ValueError(f"{name} is given twice")
        found[name] = reader.value(0)
        if not reader.over:
            reader.expect(",")
    return found


class _Reader:
    """Where a text is read."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._place = 0
        self._skip()

    @property
    def over(self) -> bool:
        """Whether nothing is left."""
        return self._place == len(self._text)

    def matched(self, pattern: re.Pattern[str]) -> re.Match[str]:
        """What stands here, and the white space behind it."""
        match = pattern.match(self._text, self._place)
        if match is None:
            raise ValueError(f"no literal at character {self._place + 1}")
        self._place = match.end()
        self._skip()
        return match

    def expect(self, mark: str) -> None:
        """Pass over a mark."""
        if not self.passes(mark):
            raise ValueError(f"no {mark!r} at character {self._place + 1}")

    def passes(self, mark: str) -> bool:
        """Pass over a mark if it stands here."""
        if not self._text.startswith(mark, self._place):
            return False
        self._place += 1
        self._skip()
        return True

    def value(self, depth: int) -> Any:
        """The literal that stands here."""
        if depth > _DEEPEST:
            raise ValueError("nested too deeply")
        read = _KINDS.get(self._text[self._place : self._place + 1], _Reader._plain)
        return read(self, depth)

    def _plain(self, _: int) -> Any:
        if self._text[self._place : self._place + 1].isalpha():
            word = self.matched(_WORD)[0]
            if word not in _WORDS:
                raise ValueError(f"{word} is no literal")
            return _WORDS[word]
        number = self.matched(_NUMBER)
        whole = number[2] is None and number[3] is None and not number[1].startswith(".")
        return int(number[0]) if whole else float(number[0])

    def _string(self, _: int) -> str:
        match = self.matched(_STRING)
        inner = match[1] if match[2] is None else match[2]
        text = _ESCAPE.sub(_unescaped, inner)
        # JSON spells characters beyond the first plane as two halves.
        return text.encode("utf-16", "surrogatepass").decode("utf-16")

    def _list(self, depth: int) -> list[Any]:
        closing = ")" if self.passes("(") else "]"
        if closing == "]":
            self.expect("[")
        items: list[Any] = []
        while not self.passes(closing):
            items.append(self.value(depth + 1))
            if self.passes(closing):
                return items
            self.expect(",")
        return items

    def _dict(self, depth: int) -> dict[str, Any]:
        self.expect("{")
        items: dict[str, Any] = {}
        while not self.passes("}"):
            key = self._string(depth)
            self.expect(":")
            items[key] = self.value(depth + 1)
            if self.passes("}"):
                return items
            self.expect(",")
        return items

    def _skip(self) -> None:
        match = _SPACE.match(self._text, self._place)
        self._place = match.end() if match else self._place


_KINDS: dict[str, Callable[[_Reader, int], Any]] = {
    "'": _Reader._string,
    '"': _Reader._string,
    "[": _Reader._list,
    "(": _Reader._list,
    "{": _Reader._dict,
}


def _unescaped(match: re.Match[str]) -> str:
    coded = match[1] or match[2] or match[3]
    if coded:
        return chr(int(coded, 16))
    if match[4]:
        return chr(int(match[4], 8))
    # As Python reads it: a backslash before anything else is itself.
    return _ESCAPES.get(match[5], match[0])
