"""CSV and TSV: the delimiter, the header, and rows that fit it or say why not."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain

from tunewright.core.errors import DataError
from tunewright.data.labels import Fact
from tunewright.data.records import Record, Unusable
from tunewright.data.text import TextFile

DELIMITERS = (",", "\t", ";", "|")
_SNIFFED_LINES = 400
_FIELD_LIMIT = 1 << 26
# Follows the last line: read as a row of its own it proves that no quote was left open.
_END = "\x02end\x02"


@dataclass(frozen=True)
class Table:
    """A table's delimiter, columns and stream of records."""

    delimiter: str
    columns: tuple[str, ...]
    notes: tuple[Fact, ...]
    read: Callable[[], Iterator[Record]]


def table_source(text: TextFile, delimiter: str | None = None) -> Table:
    """Understand a table from its first lines.

    Raises:
        DataError: when it has no header row.
    """
    # The csv module knows this limit only as a global; its default refuses fields over 128 KiB.
    csv.field_size_limit(_FIELD_LIMIT)
    separator = delimiter or sniff(text.head(_SNIFFED_LINES), text.path.suffix)
    header = next((row for row in _parse(text, separator) if any(row)), None)
    if header is None:
        raise DataError(f"{text.path}: the file is empty", "Check that the export finished.")
    columns, notes = _column_names(header)
    return Table(separator, columns, notes, lambda: _records(text, separator, columns))


def sniff(lines: list[str], ending: str = "") -> str:
    """The delimiter that cuts the first rows most evenly into two or more fields.

    Args:
        lines: the first lines of the file, with their ends.
        ending: the file's ending; ``.csv`` and ``.tsv`` favour their own when several fit.
    """
    favoured = {".csv": ",", ".tsv": "\t", ".tab": "\t"}.get(ending.lower())
    best, best_score = favoured or ",", (0.0, False, 0)
    for delimiter in DELIMITERS:
        try:
            rows = [row for row in csv.reader(lines, delimiter=delimiter) if row]
        except csv.Error:
            continue
        if not rows or len(rows[0]) < 2:
            continue
        rows = rows[:-1] if len(rows) > 2 else rows  # the last may be cut off by the sample
        even = sum(len(row) == len(rows[0]) for row in rows) / len(rows)
        score = (round(even, 1), delimiter == favoured, len(rows[0]))
        if score > best_score:
            best, best_score = delimiter, score
    return best


def _column_names(header: list[str]) -> tuple[tuple[str, ...], tuple[Fact, ...]]:
    names: list[str] = []
    notes: list[Fact] = []
    for place, raw in enumerate(header, start=1):
        name = raw.strip().lstrip("\ufeff")
        if not name:
            name = f"column {place}"
            notes.append({"kind": "unnamed column", "place": place})
        elif name in names:
            name = f"{name} ({place})"
            notes.append(
                {"kind": "repeated column", "place": place, "name": raw.strip(), "read_as": name}
            )
        names.append(name)
    return tuple(names), tuple(notes)


def _records(text: TextFile, delimiter: str, columns: tuple[str, ...]) -> Iterator[Record]:
    width = len(columns)
    header_seen = False
    for number, row in enumerate(_parse(text, delimiter), start=1):
        if len(row) == width and header_seen:
            yield Record(number, dict(zip(columns, row, strict=True)))
        elif not any(row):
            continue  # a blank line is no row
        elif not header_seen:
            header_seen = True
        elif len(row) > width and not any(row[width:]):
            yield Record(number, dict(zip(columns, row, strict=False)))
        else:
            fields = f"{len(row)} {'field' if len(row) == 1 else 'fields'}"
            detail = f"{fields}, the header has {width}: {delimiter.join(row)[:200]}"
            yield Record(number, Unusable("wrong number of fields", detail))


def _parse(text: TextFile, delimiter: str) -> Iterator[list[str]]:
    """Rows as lists, blank lines included, so that their count is the row's number."""

    number = 0
    with text.lines() as lines:
        reader = csv.reader(chain(lines, [_END]), delimiter=delimiter)
        try:
            for number, row in enumerate(reader, start=1):
                if row and row[-1].endswith(_END):
                    if row != [_END]:
                        raise _open_quote(text, number, row)
                    return
                yield row
        except csv.Error as error:
            raise DataError(
                f"{text.path}, row {number + 1} (line {reader.line_num}): {error}",
                "Correct that row, or name the separator with --delimiter.",
            ) from None


def _open_quote(text: TextFile, number: int, row: list[str]) -> DataError:
    body = row[-1].removesuffix(_END).strip("\r\n")
    swallowed = body.count("\n") or body.count("\r")
    start = body[:60].splitlines()[0] if body else ""
    return DataError(
        f"{text.path}, row {number}: a field begins with a double quote that never closes, so "
        f"the {swallowed} lines after it would become one text; it begins {start!r}",
        'Close the quote or, if it belongs to the text, write it as """ at the beginning; '
        "if the file was cut off, export it again.",
    )
