"""JSON and JSONL: one object per line, an array of objects, or an object that holds one."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import orjson

from tunewright.core.errors import DataError
from tunewright.data.headers import MAX_COLUMNS
from tunewright.data.json_window import Window, mended, message
from tunewright.data.records import Record, Unusable
from tunewright.data.text import MAX_LINE, TextFile

Read = Callable[[], Iterator[Record]]
_EXACT = 1 << 63
_PIECE = 1 << 18
# A line as long as this with as many names takes ten times its size when it is parsed.
_LONG = 1 << 20
_MOST_NAMES = 100_000
_LONG_LINE = Unusable("line too long", f"more than {MAX_LINE:,} characters")


def json_source(text: TextFile, ending: str = "") -> tuple[str, Read]:
    """``("jsonl" or "json", stream of records)``; the first lines decide which.

    Args:
        text: the file.
        ending: the file's ending, which settles what the content leaves open.

    Raises:
        DataError: when it begins like neither.
    """
    first, second = (*(line.strip() for line in text.head(2)), "", "")[:2]
    if first.startswith("["):
        return "json", partial(_array, text)
    if not first.startswith("{") and not is_object(second):
        raise DataError(
            f"{text.label}, line 1: not JSON (begins {first[:40]!r})",
            "Expected one JSON object per line, or an array of objects.",
        )
    by_line = ending in (".jsonl", ".ndjson")
    whole = is_object(first) or is_object(second)
    if (whole and (second or by_line)) or (second and ending != ".json" and first != "{"):
        return "jsonl", partial(json_lines, text)
    return "json", partial(_objects, text)


def is_object(line: str) -> bool:
    """Whether a line is a whole JSON object."""
    if not line.startswith("{"):
        return False
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False


def begins_like_json(lines: list[str]) -> bool:
    """Whether a file's first lines are those of JSON, in whatever layout."""
    first, second = (*(line.strip().lstrip("\ufeff") for line in lines[:2]), "", "")[:2]
    if first.startswith("["):
        inside = first[1:].lstrip() or second
        return inside.startswith(("{", "]"))
    return first == "{" or bool(re.match(r'\{\s*"', first)) or is_object(first)


# One object per line -----------------------------------------------------------------------------


def json_lines(text: TextFile) -> Iterator[Record]:
    """Records of a file that holds one JSON object on each line; blank lines are none."""
    plain = text.encoding in ("utf-8", "utf-8-sig")
    if plain and not (text.lone_returns or text.nul_bytes or text.long_line):
        return _byte_lines(text)
    return _text_lines(text)


def _byte_lines(text: TextFile) -> Iterator[Record]:
    """Lines of clean UTF-8, parsed without being decoded first."""
    loads = orjson.loads
    with open(text.path, "rb") as file:
        if file.read(3) != b"\xef\xbb\xbf":
            file.seek(0)
        for number, line in enumerate(file, start=1):
            if len(line) > _LONG and line.count(b'":') > _MOST_NAMES:
                yield Record(number, _too_many(line.count(b'":')))
                continue
            try:
                value = loads(line)
            except orjson.JSONDecodeError:
                if not line.isspace():
                    yield Record(number, _by_json(line.decode("utf-8", "replace")))
                continue
            if type(value) is not dict or len(value) > MAX_COLUMNS or _rounded(value):
                value = _by_json(line.decode())
            yield Record(number, value)


def _rounded(fields: dict[str, Any]) -> bool:
    """Whether an integer beyond 64 bits, an identifier perhaps, came as a rounded number.

    orjson does that; only fields are looked at, for what is deeper is not learned as text.
    """
    values = fields.values()
    return float in map(type, values) and any(type(v) is float and abs(v) >= _EXACT for v in values)


def _text_lines(text: TextFile) -> Iterator[Record]:
    with text.lines() as lines:
        for number, line in enumerate(lines, start=1):
            if not line:
                yield Record(number, _LONG_LINE)
            elif not line.isspace():
                yield Record(number, _by_json(line))


def _by_json(line: str) -> dict[str, Any] | Unusable:
    """What Python's own parser makes of a line: it also takes NaN and integers of any size."""
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:
        return Unusable("not JSON", f"{message(error)}: {mended(line.strip()[:200])}")
    return _fields(mended(value) if "\\u" in line else value)


# Documents ---------------------------------------------------------------------------------------


def _array(text: TextFile) -> Iterator[Record]:
    """Elements one by one, so that a large file never stands in memory as a whole."""
    with text.chunks(_PIECE) as chunks:
        window = Window(chunks, text.label)
        window.skip("[")
        number = 0
        while window.peek() != "]":
            number += 1
            yield Record(number, _fields(window.value()))
            if window.peek() == ",":
                window.skip(",")
            elif window.peek() != "]":
                raise window.broken("expected ',' or ']'")
        window.skip("]")
        if window.peek():
            raise window.broken("something follows the end of the array")


def _objects(text: TextFile) -> Iterator[Record]:
    """An object that holds the rows, one row alone, or several one after another."""
    with text.chunks(_PIECE) as chunks:
        window = Window(chunks, text.label)
        value = window.value()
        several = window.peek()
        rows = [value] if several else _rows_of(value)
        for number, item in enumerate(rows, start=1):
            yield Record(number, _fields(item))
        number = 1
        while several:
            if several == ",":
                window.skip(",")
            number += 1
            yield Record(number, _fields(window.value()))
            several = window.peek()


def _rows_of(value: Any) -> list[Any]:
    """The list of objects inside a document such as ``{"data": [...]}``, or the object itself."""
    if isinstance(value, dict):
        lists = [v for v in value.values() if isinstance(v, list) and v and isinstance(v[0], dict)]
        nested = isinstance(value.get("messages") or value.get("conversations"), list)
        if len(lists) == 1 and not nested:
            return lists[0]
    return [value]


# Values ------------------------------------------------------------------------------------------


def _fields(value: Any) -> dict[str, Any] | Unusable:
    if not isinstance(value, dict):
        found = f"found {type(value).__name__}: {str(value)[:200]}"
        return Unusable("not a JSON object", found)
    if len(value) > MAX_COLUMNS:
        return _too_many(len(value))
    return value


def _too_many(names: int) -> Unusable:
    return Unusable("too many fields", f"{names:,}; at most {MAX_COLUMNS:,} are read")
