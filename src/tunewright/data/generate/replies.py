"""Replies → results: the first JSON value of a reply, however it is wrapped."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from tunewright.data.generate.work import Result
from tunewright.data.normal import clean

ITEMS = "items"
# Reasoning models may think aloud before they answer, with braces of their own.
_THOUGHT = re.compile(r"^\s*<think>.*?</think>", re.DOTALL)
_OPENING = re.compile(r"[{\[]")
_TRIES = 50


def reply_schema(fields: tuple[str, ...]) -> dict[str, Any]:
    """JSON schema of a reply, within what strict structured output allows."""
    item = {
        "type": "object",
        "properties": {name: {"type": "string"} for name in fields},
        "required": list(fields),
        "additionalProperties": False,
    }
    return {
        "type": "object",
        "properties": {ITEMS: {"type": "array", "items": item}},
        "required": [ITEMS],
        "additionalProperties": False,
    }


def read_reply(text: str, fields: tuple[str, ...]) -> list[Result]:
    """The results in a reply.

    Text around the JSON is passed over; a bare list, or one bare result, is taken for what it is.

    Raises:
        ValueError: there is no JSON, or it is not of the form asked for; says which.
    """
    problem = "it holds no complete JSON object"
    text = _THOUGHT.sub("", text)
    # In a reply that was cut off, the first item alone parses; it must not pass for the whole.
    bare = f'"{ITEMS}"' not in text
    for value in _values(text):
        try:
            return _results(value, fields, bare)
        except ValueError as error:
            problem = str(error)
    raise ValueError(problem)


def _values(text: str) -> Iterator[Any]:
    """JSON objects and lists from left to right, the outermost first."""
    decoder = json.JSONDecoder()
    start = 0
    for _ in range(_TRIES):
        opening = _OPENING.search(text, start)
        if opening is None:
            return
        try:
            value, start = decoder.raw_decode(text, opening.start())
        except (ValueError, RecursionError):
            start = opening.end()
        else:
            yield value


def _results(value: Any, fields: tuple[str, ...], bare: bool) -> list[Result]:
    if bare and isinstance(value, dict) and set(fields) <= set(value):
        value = [value]
    items = value.get(ITEMS) if isinstance(value, dict) else value
    if not isinstance(items, list) or not items:
        raise ValueError(f"there is no list {ITEMS!r} in it")
    return [_result(item, fields, number) for number, item in enumerate(items, start=1)]


def _result(item: Any, fields: tuple[str, ...], number: int) -> Result:
    if not isinstance(item, dict):
        raise ValueError(f"item {number} is not an object")
    missing = [name for name in fields if not isinstance(item.get(name), str)]
    if missing:
        raise ValueError(f"item {number} has no text {missing[0]!r}")
    return {name: clean(item[name]) for name in fields}
