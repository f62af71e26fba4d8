"""JSON and JSONL: one object per line, an array of objects, or an object that holds one."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from tunewright.core.errors import DataError
from tunewright.data.records import Record, Unusable
from tunewright.data.text import TextFile


def json_source(text: TextFile) -> tuple[str, Callable[[], Iterator[Record]]]:
    """``("jsonl" or "json", stream of records)``; the first lines decide which.

    Raises:
        DataError: when it begins like neither.
    """
    first, second = (*(line.strip() for line in text.head(2)), "", "")[:2]
    if first.startswith("["):
        return "json", partial(_document, text)
    if not first.startswith("{"):
        raise DataError(
            f"{text.path}, line 1: not JSON (begins {first[:40]!r})",
            "Expected one JSON object per line, or an array of objects.",
        )
    by_line = bool(second) and (text.path.suffix.lower() != ".json" or _is_object(first))
    return ("jsonl", partial(_lines, text)) if by_line else ("json", partial(_document, text))


def _is_object(line: str) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False


def _lines(text: TextFile) -> Iterator[Record]:
    loads = json.loads
    with text.lines() as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                fields = _fields(loads(line))
            except (ValueError, RecursionError) as error:
                fields = Unusable("not JSON", f"{_message(error)}: {line.strip()[:200]}")
            yield Record(number, fields)


def _document(text: TextFile) -> Iterator[Record]:
    with text.lines() as lines:
        content = "".join(lines)
    start = len(content) - len(content.lstrip())
    if content.startswith("[", start):
        yield from _array(text, content, start + 1)
        return
    value = _parsed(text, content, start)[0]
    for number, item in enumerate(_rows_of(value), start=1):
        yield Record(number, _fields(item))


def _array(text: TextFile, content: str, at: int) -> Iterator[Record]:
    """Elements one by one, so that the parsed array never stands in memory as a whole."""
    number = 0
    at = _skip(content, at)
    while not content.startswith("]", at):
        value, at = _parsed(text, content, at)
        number += 1
        yield Record(number, _fields(value))
        at = _skip(content, at)
        if content.startswith(",", at):
            at = _skip(content, at + 1)
        elif not content.startswith("]", at):
            raise _broken(text, content, at, "expected ',' or ']'")


def _parsed(text: TextFile, content: str, at: int) -> tuple[Any, int]:
    try:
        return json.JSONDecoder().raw_decode(content, at)
    except json.JSONDecodeError as error:
        raise _broken(text, content, error.pos, error.msg) from None
    except (ValueError, RecursionError) as error:
        raise _broken(text, content, at, _message(error)) from None


def _broken(text: TextFile, content: str, at: int, what: str) -> DataError:
    line = content.count("\n", 0, at) + 1
    column = at - content.rfind("\n", 0, at)
    if not content[at:].strip():
        return DataError(
            f"{text.path}, line {line}: the JSON document ends before it is complete",
            "The export or copy did not finish; make it again.",
        )
    return DataError(
        f"{text.path}, line {line}, column {column}: not JSON ({what})",
        "Correct that place, or export the file again.",
    )


def _skip(content: str, at: int) -> int:
    while at < len(content) and content[at] in " \t\r\n":
        at += 1
    return at


def _rows_of(value: Any) -> list[Any]:
    """The list of objects inside a document such as ``{"data": [...]}``, or the object itself."""
    if isinstance(value, dict):
        lists = [v for v in value.values() if isinstance(v, list) and v and isinstance(v[0], dict)]
        nested = isinstance(value.get("messages") or value.get("conversations"), list)
        if len(lists) == 1 and not nested:
            return lists[0]
    return [value]


def _fields(value: Any) -> dict[str, Any] | Unusable:
    if isinstance(value, dict):
        return value
    return Unusable("not a JSON object", f"found {type(value).__name__}: {str(value)[:200]}")


def _message(error: Exception) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg} at column {error.colno}"
    return "nested too deeply" if isinstance(error, RecursionError) else str(error)
