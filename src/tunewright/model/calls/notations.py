"""How the arguments of a call are written: as a JSON object, or as Python's keyword arguments."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from tunewright.model.calls.literals import read_keywords

_OPENING, _CLOSING = "([{", ")]}"


class Notation(Protocol):
    """One way to write arguments.

    Attributes:
        quotes: characters that begin and end a string.
        opened: brackets that are open before the first character; the bracket that closes them is
            no part of the arguments.
        first: what the arguments begin with; empty if that says nothing.
    """

    @property
    def quotes(self) -> str: ...
    @property
    def opened(self) -> int: ...
    @property
    def first(self) -> str: ...

    def spellings(self, arguments: Mapping[str, str]) -> list[str]:
        """How a template may write these arguments."""
        ...

    def read(self, text: str) -> str:
        """The arguments as the text of a JSON object.

        Raises:
            ValueError: they are something else.
        """
        ...


@dataclass(frozen=True)
class JsonNotation:
    """``{"city": "Paris"}``."""

    quotes: str = '"'
    opened: int = 0
    first: str = "{"

    def spellings(self, arguments: Mapping[str, str]) -> list[str]:
        """With and without spaces."""
        return [json.dumps(arguments), json.dumps(arguments, separators=(",", ":"))]

    def read(self, text: str) -> str:
        """As it was written; what JSON it is, is for a call to say."""
        return text


@dataclass(frozen=True)
class PythonNotation:
    """``city='Paris'``, between the brackets of a call."""

    quotes: str = "'\""
    opened: int = 1
    first: str = ""

    def spellings(self, arguments: Mapping[str, str]) -> list[str]:
        """With either kind of quotes."""
        return [
            ", ".join(f"{name}={quote}{value}{quote}" for name, value in arguments.items())
            for quote in self.quotes
        ]

    def read(self, text: str) -> str:
        """Literals only, read and never run.

        Raises:
            ValueError: anything else.
        """
        return json.dumps(read_keywords(text), ensure_ascii=False, allow_nan=False)


JSON, PYTHON = JsonNotation(), PythonNotation()
NOTATIONS: tuple[Notation, ...] = (JSON, PYTHON)


class Extent:
    """Finds where arguments end while they grow; every character is looked at once."""

    def __init__(self, notation: Notation) -> None:
        self._notation = notation
        self._depth = notation.opened
        self._place = 0
        self._quote = ""
        self._escaped = False
        self._begun = False

    def end(self, text: str) -> int | None:
        """Length of the arguments at the front of ``text``; None while they go on.

        Args:
            text: what was given the last time, and more.

        Raises:
            ValueError: no arguments begin so.
        """
        while self._place < len(text):
            character = text[self._place]
            self._place += 1
            if not self._begun:
                self._begin(character)
            if self._quote:
                self._in_string(character)
            elif character in self._notation.quotes:
                self._quote = character
            elif character in _OPENING:
                self._depth += 1
            elif character in _CLOSING:
                self._depth -= 1
                if self._depth == 0:
                    return self._place - self._notation.opened
        return None

    def _begin(self, character: str) -> None:
        self._begun = not character.isspace()
        if self._begun and not character.startswith(self._notation.first):
            raise ValueError("no arguments")

    def _in_string(self, character: str) -> None:
        if self._escaped:
            self._escaped = False
        elif character == "\\":
            self._escaped = True
        elif character == self._quote:
            self._quote = ""
