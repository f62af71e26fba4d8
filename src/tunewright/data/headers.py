"""A table's header: the names of its columns, made unique."""

from __future__ import annotations

from tunewright.core.errors import DataError
from tunewright.data.labels import Fact

MAX_COLUMNS = 2000
"""Columns in the widest table that is read; a table of texts has a few dozen."""


def column_names(header: list[str], place: str) -> tuple[tuple[str, ...], tuple[Fact, ...]]:
    """A header's names made unique, and what had to be done for that.

    Args:
        header: its cells.
        place: where it stands, for messages.

    Raises:
        DataError: more than ``MAX_COLUMNS``.
    """
    if len(header) > MAX_COLUMNS:
        raise DataError(
            f"{place}: the header has {len(header):,} columns; at most {MAX_COLUMNS:,} are read",
            "Is the separator right? Name it with --delimiter, or leave out unneeded columns.",
        )
    names: list[str] = []
    notes: list[Fact] = []
    for at, raw in enumerate(header, start=1):
        name = raw.strip().lstrip("\ufeff")
        if not name:
            name = f"column {at}"
            notes.append({"kind": "unnamed column", "place": at})
        elif name in names:
            name = f"{name} ({at})"
            notes.append(
                {"kind": "repeated column", "place": at, "name": raw.strip(), "read_as": name}
            )
        names.append(name)
    return tuple(names), tuple(notes)
