"""Whole conversations in one record: OpenAI's messages, ChatGLM's conversations, ShareGPT."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tunewright.config.data import PrepareConfig
from tunewright.data.columns import plain
from tunewright.data.formats.base import (
    Fields,
    Format,
    Parsed,
    Plan,
    as_list,
    find_fields,
    holds_turns,
    lacks,
    unused,
)
from tunewright.data.formats.turns import ignored_keys, parsed
from tunewright.data.labels import Fact
from tunewright.data.sources import Source

CHAT_FIELDS = ("messages", "system")
BESIDE_MESSAGES = ("tools", "functions", "parallel_tool_calls")
"""What may stand beside a list of messages and is read, or is only a setting of an API."""
_TAKES = frozenset({*CHAT_FIELDS, "slice", "group", "date"})


def messages_column(source: Source, config: PrepareConfig) -> str | None:
    """The column that holds lists of messages, or None."""
    column = find_fields(source, config, CHAT_FIELDS)[0].get("messages")
    return column if holds_turns(source, column) else None


def message_notes(source: Source, *columns: str) -> tuple[Fact, ...]:
    """A note that names the keys of messages that are not read."""
    lists = [record.get(column) for record in source.sample for column in columns]
    keys = ignored_keys(lists)
    return ({"kind": "ignored keys", "keys": ", ".join(keys)},) if keys else ()


def _fits_messages(source: Source, config: PrepareConfig) -> bool:
    column = messages_column(source, config)
    return column is not None and plain(column) == "messages" and not _has_from(source, column)


def _fits_conversations(source: Source, config: PrepareConfig) -> bool:
    column = messages_column(source, config)
    return column is not None and not _has_from(source, column)


def _fits_sharegpt(source: Source, config: PrepareConfig) -> bool:
    column = messages_column(source, config)
    return column is not None and _has_from(source, column)


def _has_from(source: Source, column: str) -> bool:
    lists = (as_list(record.get(column)) or () for record in source.sample)
    return any(isinstance(item, Mapping) and "from" in item for items in lists for item in items)


def _plan(name: str, source: Source, config: PrepareConfig) -> Plan:
    column = messages_column(source, config)
    if column is None:
        usual = "messages" if name == "messages" else "conversations"
        raise lacks(name, source, f"a field {usual!r} that holds a list of messages")
    fields, _ = find_fields(source, config, CHAT_FIELDS)
    system = fields.get("system")

    def convert(record: Fields) -> Parsed:
        beside: Any = record.get(system) if system else None
        return parsed(record, record.get(column), beside)

    reason: tuple[Fact, ...] = ({"kind": "list of turns", "column": column},)
    used = (*fields.values(), *BESIDE_MESSAGES, *config.where)
    notes = (*message_notes(source, column), *unused(source, used))
    return Plan(name, fields, reason, convert, notes=notes)


MESSAGES = Format(
    _fits_messages,
    _plan,
    _TAKES,
    {"en": "OpenAI chat messages, with tools and weights", "zh": "OpenAI 对话消息，可含工具与权重"},
    '{"messages": [{"role": "user", "content": "…"}, {"role": "assistant", "content": "…"}]}',
)
CONVERSATIONS = Format(
    _fits_conversations,
    _plan,
    _TAKES,
    {"en": "ChatGLM conversations", "zh": "ChatGLM 对话"},
    '{"conversations": [{"role": "user", "content": "…"}, {"role": "assistant", "content": "…"}]}',
)
SHAREGPT = Format(
    _fits_sharegpt,
    _plan,
    _TAKES,
    {"en": "ShareGPT conversations, with tool calls", "zh": "ShareGPT 对话，可含工具调用"},
    '{"conversations": [{"from": "human", "value": "…"}, {"from": "gpt", "value": "…"}]}',
)
