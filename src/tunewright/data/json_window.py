"""A JSON document read piece by piece: only what is being parsed stands in memory."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from tunewright.core.errors import DataError
from tunewright.data.text import MAX_LINE

MAX_VALUE = 4 * MAX_LINE
"""Characters in the longest single value that is read."""
_SPACE = re.compile(r"[ \t\r\n\ufeff]*")
_SURROGATE_ESCAPE = re.compile(r"\\u[dD][89a-fA-F]")
_SURROGATE = re.compile("[\ud800-\udfff]")
_CUT = 16  # an error this close to the end of what was read may only mean: read on


class Window:
    """The part of a document from the next value on.

    Args:
        chunks: the document's text in pieces.
        label: what messages call the file.
    """

    def __init__(self, chunks: Iterator[str], label: str) -> None:
        self._chunks = chunks
        self._label = label
        self._text = ""
        self._at = 0
        self._ended = False
        self._line = 1  # of the first character in the window
        self._column = 1
        self._halves = False  # whether halves of surrogate pairs may stand in the window
        self._decode = json.JSONDecoder().raw_decode

    def peek(self) -> str:
        """The next character that is no white space; empty at the end."""
        while True:
            self._at = self._next()
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._grow():
                return ""

    def skip(self, token: str) -> None:
        """Step over the next character, which must be ``token``."""
        if self.peek() != token:
            raise self.broken(f"expected {token!r}")
        self._at += 1

    def value(self) -> Any:
        """The next value.

        Raises:
            DataError: it is not JSON, is cut off, or is longer than ``MAX_VALUE``.
        """
        self.peek()
        while True:
            start = self._at
            try:
                value, end = self._decode(self._text, start)
            except json.JSONDecodeError as error:
                if not (self._may_go_on(error) and self._grow()):
                    self._at += error.pos - start
                    raise self.broken(error.msg) from None
            except (ValueError, RecursionError) as error:
                raise self.broken(message(error)) from None
            else:
                if end < len(self._text) or not self._grow():
                    self._at += end - start
                    return mended(value) if self._halves else value

    def broken(self, what: str) -> DataError:
        """The error that names the place where the window stands."""
        line = self._line + self._text.count("\n", 0, self._at)
        column = self._at - self._text.rfind("\n", 0, self._at)
        column += self._column - 1 if line == self._line else 0
        if self._next() >= len(self._text) and not self._grow():
            return DataError(
                f"{self._label}, line {line}: the JSON document ends before it is complete",
                "The export or copy did not finish; make it again.",
            )
        return DataError(
            f"{self._label}, line {line}, column {column}: not JSON ({what})",
            "Correct that place, or export the file again.",
        )

    def _next(self) -> int:
        found = _SPACE.match(self._text, self._at)
        return found.end() if found else self._at

    def _may_go_on(self, error: json.JSONDecodeError) -> bool:
        near = error.pos >= len(self._text) - _CUT or error.msg.startswith("Unterminated")
        if near and len(self._text) - self._at >= MAX_VALUE:
            raise self.broken(f"one value is longer than {MAX_VALUE:,} characters")
        return near

    def _grow(self) -> bool:
        """Read on, at least as much as stands unparsed; whether there was more."""
        if self._ended:
            return False
        rest = self._text[self._at :]
        self._line += self._text.count("\n", 0, self._at)
        newline = self._text.rfind("\n", 0, self._at)
        self._column = self._at - newline if newline >= 0 else self._column + self._at
        pieces, wanted = [rest], min(len(rest), MAX_VALUE - len(rest))
        while wanted >= 0:
            piece = next(self._chunks, None)
            if piece is None:
                self._ended = True
                break
            pieces.append(piece)
            wanted -= len(piece) + 1
        self._text, self._at = "".join(pieces), 0
        self._halves = bool(_SURROGATE_ESCAPE.search(self._text))
        return len(self._text) > len(rest)


def message(error: Exception) -> str:
    """What a parser's error says, for people."""
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg} at column {error.colno}"
    return "nested too deeply" if isinstance(error, RecursionError) else str(error)


def mended(value: Any) -> Any:
    """The value with halves of surrogate pairs, which no file can hold, as U+FFFD."""
    if isinstance(value, str):
        return value if value.isascii() else _SURROGATE.sub("\ufffd", value)
    if isinstance(value, list):
        return [mended(item) for item in value]
    if isinstance(value, dict):
        return {mended(key): mended(item) for key, item in value.items()}
    return value
