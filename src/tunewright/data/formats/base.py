"""What a format is: how it is recognised, and the plan by which its records become rows."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from tunewright.config.data import PrepareConfig
from tunewright.core.errors import DataError
from tunewright.core.messages import RowKind
from tunewright.data.columns import EXTRA_FIELDS, column_map, given_columns, usual_columns
from tunewright.data.formats.dates import comparable_date
from tunewright.data.labels import Fact
from tunewright.data.normal import clean
from tunewright.data.records import Record, Turn, Unusable
from tunewright.data.sources import Source

Fields = Mapping[str, Any]
Tools = tuple[dict[str, Any], ...]
_SHOWN = 12
_FEW_GROUPS = 10


class Parsed(NamedTuple):
    """What a record says.

    Attributes:
        turns: the conversation; of plain text one user turn that holds the text.
        key: its near-equality key, when that is not simply its user turns'.
        rejected: the worse answer of a preference.
        desirable: the judgement of a rating.
        tools: functions offered, in OpenAI's ``tools`` format.
        label: its class.
    """

    turns: tuple[Turn, ...]
    key: str | None = None
    rejected: tuple[Turn, ...] = ()
    desirable: bool | None = None
    tools: Tools = ()
    label: str | None = None


PHRASES = ("required", "forbidden")
"""Fields of phrases that answers are scored by."""


@dataclass(frozen=True)
class Plan:
    """How one file's records become rows.

    Attributes:
        format: name in ``FORMATS``.
        fields: field → column; ``best``, ``slice``, ``group``, ``date``, ``required`` and
            ``forbidden`` are read by whoever makes rows of what ``convert`` gives.
        reason: why this format and these columns.
        convert: what a record says; raises Unusable.
        kind: what the file's rows are.
        notes: remarks for the report.
        pair: the columns of question and answer, where a row is made of these two alone;
            ``convert`` then gives both as clean text.
        join: makes one record of several, where a record is only part of a row. Every record
            that it takes in is given out, or becomes part of one that is.
    """

    format: str
    fields: dict[str, str]
    reason: tuple[Fact, ...]
    convert: Callable[[Fields], Parsed]
    kind: RowKind = "conversation"
    notes: tuple[Fact, ...] = field(default=())
    pair: tuple[str, str] | None = None
    join: Callable[[Iterator[Record]], Iterator[Record]] | None = None

    @property
    def best(self) -> str | None:
        """Column that marks the best of several answers; rows without the mark are left out."""
        return self.fields.get("best")

    @property
    def slice(self) -> str | None:
        """Column whose value names what a row is counted under when scores are reported."""
        return self.fields.get("slice")

    @property
    def group(self) -> str | None:
        """Column whose equal values tell that rows belong together."""
        return self.fields.get("group")

    @property
    def date(self) -> str | None:
        """Column that says when a row was written."""
        return self.fields.get("date")

    @property
    def phrases(self) -> dict[str, str]:
        """``required`` and ``forbidden``: the columns of phrases that answers are scored by."""
        return {kind: self.fields[kind] for kind in PHRASES if kind in self.fields}


@dataclass(frozen=True)
class Format:
    """One entry of the table.

    Attributes:
        fits: whether a file is in this format; the options' ``map`` may name its columns.
        plan: how such a file is read; raises DataError when it is not in this format.
        takes: the fields that ``--map`` may name for it.
        title: what it is, by language.
        example: one record.
    """

    fits: Callable[[Source, PrepareConfig], bool]
    plan: Callable[[str, Source, PrepareConfig], Plan]
    takes: frozenset[str]
    title: Mapping[str, str]
    example: str


# Columns ---------------------------------------------------------------------------------------


def find_fields(
    source: Source, config: PrepareConfig, fields: Iterable[str]
) -> tuple[dict[str, str], tuple[Fact, ...]]:
    """Field → column for those fields that ``--map`` or a usual name gives, and why.

    A ``group`` or ``date`` whose values cannot be one is left out unless the user named it.

    Raises:
        DataError: ``--map`` names an unknown field or column.
    """
    given = given_columns(source.name, source.columns, config.map)
    found = column_map(usual_columns(source.columns, (*fields, *EXTRA_FIELDS)), given)
    kept = sensible(found.fields, given, source)
    return kept, column_map(kept, given).reason


def sensible(fields: Mapping[str, str], given: Mapping[str, str], source: Source) -> dict[str, str]:
    """Fields without a ``group`` or ``date`` that the name suggests but the values belie."""

    def stands(name: str, column: str) -> bool:
        test = _SENSIBLE.get(name)
        return test is None or name in given or test([r.get(column) for r in source.sample])

    return {name: column for name, column in fields.items() if stands(name, column)}


def _many_groups(values: list[Any]) -> bool:
    """Whether values tell many groups apart: two values for a whole file would undo its split."""
    distinct = {str(value) for value in values if value not in (None, "")}
    return len(distinct) >= min(_FEW_GROUPS, max(2, len(values) // 2))


def _dates(values: list[Any]) -> bool:
    told = [value for value in values if value not in (None, "")]
    return 2 * sum(comparable_date(value) is not None for value in told) > len(told) > 0


_SENSIBLE: dict[str, Callable[[list[Any]], bool]] = {"group": _many_groups, "date": _dates}


def unused(source: Source, used: Iterable[str]) -> tuple[Fact, ...]:
    """A note that names the columns that hold something and are not used."""
    taken = set(used)
    left = [
        column
        for column in source.columns
        if column not in taken and any(r.get(column) not in (None, "") for r in source.sample)
    ]
    if not left:
        return ()
    names = ", ".join(column[:60] for column in left[:_SHOWN])
    return ({"kind": "unused columns", "columns": names + (", …" if len(left) > _SHOWN else "")},)


def lacks(name: str, source: Source, needs: str) -> DataError:
    """The refusal of a format that was asked for but that a file is not in."""
    return DataError(
        f"{source.name}: format {name!r} needs {needs}; "
        f"its fields are: {', '.join(column[:60] for column in source.columns[:40])}",
        "Leave out --format to have the format found, or name the columns with --map.",
    )


# Values ----------------------------------------------------------------------------------------


def text_of(record: Fields, column: str) -> str:
    """A cell as clean text; numbers and yes/no become text, nested values are refused."""
    value = record.get(column)
    if isinstance(value, str):
        return clean(value)
    if value is None:
        return ""
    if isinstance(value, (list, dict)):
        raise Unusable("not text", f"column {column!r} holds a {type(value).__name__}")
    return str(value)


def as_list(value: Any) -> list[Any] | None:
    """A list, also one that a table's cell holds as JSON text; None for anything else."""
    if isinstance(value, list):
        return value
    if isinstance(value, str) and value.lstrip().startswith("["):
        try:
            parsed = json.loads(value)
        except (ValueError, RecursionError):
            return None
        return parsed if isinstance(parsed, list) else None
    return None


def holds_turns(source: Source, column: str | None) -> bool:
    """Whether a column holds lists of messages in any record of the sample."""
    if column is None:
        return False
    lists = (as_list(record.get(column)) for record in source.sample)
    return any(items is not None and _are_objects(items) for items in lists)


def _are_objects(items: list[Any]) -> bool:
    return not items or isinstance(items[0], dict)
