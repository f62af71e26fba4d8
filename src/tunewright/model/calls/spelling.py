"""Calls as people read them, in reports and beside references: one line each."""

from __future__ import annotations

import json
from collections.abc import Sequence

from tunewright.core.messages import ToolCall


def spelled(words: str, calls: Sequence[ToolCall]) -> str:
    """What was said, and below it what was called: ``get_weather({"city": "北京"})``."""
    lines = [f"{call.name}({json.dumps(call.parsed(), ensure_ascii=False)})" for call in calls]
    return "\n".join([words, *lines] if words.strip() else lines) if lines else words


def same_calls(first: Sequence[ToolCall], second: Sequence[ToolCall]) -> bool:
    """Whether the same functions are called with equal arguments, in any order."""
    one, two = (
        sorted((call.name, json.dumps(call.parsed(), sort_keys=True)) for call in calls)
        for calls in (first, second)
    )
    return one == two
