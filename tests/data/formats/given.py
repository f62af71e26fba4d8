"""Sources made of records, and what becomes of them."""

from __future__ import annotations

from typing import Any

import pytest

from tunewright.config.data import PrepareConfig
from tunewright.data.formats import Parsed, Plan, make_plan
from tunewright.data.records import Turn, Unusable
from tunewright.data.sources import Source


def source_of(*records: dict[str, Any]) -> Source:
    """A JSON file that holds these records."""
    columns = tuple(dict.fromkeys(key for record in records for key in record))
    return Source("d.json", "json", columns, records, lambda: iter(()))


def plan_of(*records: dict[str, Any], **options: Any) -> Plan:
    """How such a file is read."""
    return make_plan(source_of(*records), PrepareConfig.build({"files": ["d.json"], **options}))


def parsed_of(record: dict[str, Any], **options: Any) -> Parsed:
    """What the only record of a file says."""
    return plan_of(record, **options).convert(record)


def said(turns: tuple[Turn, ...]) -> list[tuple[str, str]]:
    """Role and text of each turn."""
    return [(turn.role, turn.text) for turn in turns]


def turns_of(record: dict[str, Any], **options: Any) -> list[tuple[str, str]]:
    """Role and text of each turn of the only record of a file."""
    return said(parsed_of(record, **options).turns)


def verdict_of(record: dict[str, Any], **options: Any) -> Unusable:
    """Why the only record of a file cannot be used."""
    plan = plan_of(record, **options)
    with pytest.raises(Unusable) as caught:
        plan.convert(record)
    return caught.value


def reason_of(record: dict[str, Any], **options: Any) -> str:
    """The countable part of that."""
    return verdict_of(record, **options).reason


USER = {"role": "user", "content": "q"}
BOT = {"role": "assistant", "content": "a"}
