"""CSV and TSV: the delimiter, the header, and rows that fit it or say why not."""

from __future__ import annotations

import csv
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from itertools import chain, count, islice, repeat

from tunewright.core.errors import DataError
from tunewright.data.columns import plain
from tunewright.data.headers import column_names
from tunewright.data.labels import Fact
from tunewright.data.limits import EmptyFileError
from tunewright.data.records import Record, Unusable
from tunewright.data.text import MAX_LINE, TextFile

DELIMITERS = (",", "\t", ";", "|")
_SNIFFED_LINES = 400
_FIELD_LIMIT = 1 << 23
_BLOCK = 256
_BLOCK_BYTES = 1 << 22
# Follows the last line: read as a row of its own it proves that no quote was left open.
_END = "\x02end\x02"
_END_ROW = [_END]


@dataclass(frozen=True)
class Table:
    """A table's delimiter, columns and stream of records."""

    delimiter: str
    columns: tuple[str, ...]
    notes: tuple[Fact, ...]
    read: Callable[[], Iterator[Record]]


def table_source(text: TextFile, delimiter: str | None = None, ending: str = "") -> Table:
    """Understand a table from its first lines.

    Args:
        text: the file.
        delimiter: what separates columns; found when None.
        ending: the file's ending, which settles what the content leaves open.

    Raises:
        DataError: when it has no header row, too many columns, or a line without end.
    """
    # The csv module knows this limit only as a global; its default refuses fields over 128 KiB.
    csv.field_size_limit(_FIELD_LIMIT)
    if text.long_line:
        raise DataError(
            f"{text.label}, line {text.long_line}: longer than {MAX_LINE:,} characters",
            "No row of text is that long; is a line end or a quote missing, or is it no table?",
        )
    separator = delimiter or sniff(text.head(_SNIFFED_LINES), ending)
    rows = enumerate(chain.from_iterable(_blocks(text, separator)), start=1)
    at, header = next(((n, row) for n, row in rows if _may_head(row)), (0, []))
    if not at:
        raise EmptyFileError(f"{text.label}: the file is empty", "Check that the export finished.")
    columns, notes = column_names(header, f"{text.label}, row {at}")
    return Table(separator, columns, notes, lambda: _records(text, separator, columns, header, at))


def _may_head(row: list[str]) -> bool:
    """Whether a row can hold column names: not blank, and not Excel's ``sep=;``."""
    return any(row) and not row[0].lower().startswith("sep=")


def sniff(lines: list[str], ending: str = "") -> str:
    """The delimiter that cuts the first rows most evenly into two or more fields.

    Args:
        lines: the first lines of the file, with their ends.
        ending: the file's ending; ``.csv`` and ``.tsv`` favour their own when several fit.
    """
    if lines and lines[0].lstrip("\ufeff").lower().startswith("sep="):
        named = lines[0].lstrip("\ufeff")[4:5].strip("\r\n")
        return named or ("\t" if lines[0].rstrip("\r\n").endswith("\t") else ",")
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


def has_known_header(lines: list[str], known: Collection[str]) -> bool:
    """Whether the first line names two or more columns that people usually mean.

    Args:
        lines: the first lines of the file.
        known: usual names of columns, as ``columns.plain`` gives them.
    """
    if not lines or len(lines[0]) > 4096:
        return False
    header = next(csv.reader(lines[:1], delimiter=sniff(lines)), [])
    return sum(plain(name.lstrip("\ufeff")) in known for name in header) >= 2


def _records(
    text: TextFile, delimiter: str, columns: tuple[str, ...], header: list[str], at: int
) -> Iterator[Record]:
    """Records of the rows below the header, which is row ``at``; blank rows are none.

    Whole blocks of rows that fit go through C functions only, which takes half the time.
    """
    width, number = {len(columns)}, 1
    for block in _blocks(text, delimiter):
        fit = number > at and set(map(len, block)) == width and header not in block
        if fit and all(map(any, block)):
            yield from map(Record, count(number), map(dict, map(zip, repeat(columns), block)))
        else:
            for place, row in enumerate(block, start=number):
                if place > at and any(row):
                    yield Record(place, _fields(row, delimiter, columns, header))
        number += len(block)


def _fields(
    row: list[str], delimiter: str, columns: tuple[str, ...], header: list[str]
) -> dict[str, str] | Unusable:
    width = len(columns)
    if row == header:
        return Unusable("header repeated", delimiter.join(row)[:200])
    if len(row) == width or (len(row) > width and not any(row[width:])):
        return dict(zip(columns, row, strict=False))
    fields = f"{len(row)} {'field' if len(row) == 1 else 'fields'}"
    return Unusable(
        "wrong number of fields",
        f"{fields}, the header has {width}: {delimiter.join(row)[:200]}",
    )


def _blocks(text: TextFile, delimiter: str) -> Iterator[list[list[str]]]:
    """Rows in blocks, blank lines included, so that their count is the row's number."""
    number, size = 0, _block_rows(text)
    with text.lines() as lines:
        reader = csv.reader(chain(lines, _END_ROW), delimiter=delimiter)
        ended = False
        while not ended:
            block: list[list[str]] = []
            try:
                block.extend(islice(reader, size))  # keeps what came before an error
            except csv.Error as error:
                raise DataError(
                    f"{text.label}, row {number + len(block) + 1} (line {reader.line_num}): "
                    f"{error}",
                    "Correct that row, or name the separator with --delimiter.",
                ) from None
            ended = bool(block[-1]) and block[-1][-1].endswith(_END)
            if ended and block[-1] != _END_ROW:
                raise _open_quote(text, number + len(block), block[-1])
            yield block[:-1] if ended else block
            number += len(block)


def _block_rows(text: TextFile) -> int:
    """Rows that are taken at a time: many, but of long ones fewer, for memory's sake."""
    mean = text.path.stat().st_size // (text.line_count + 1) + 1
    return max(1, min(_BLOCK, _BLOCK_BYTES // mean))


def _open_quote(text: TextFile, number: int, row: list[str]) -> DataError:
    body = row[-1].removesuffix(_END).strip("\r\n")
    swallowed = body.count("\n") or body.count("\r")
    start = body[:60].splitlines()[0] if body else ""
    return DataError(
        f"{text.label}, row {number}: a field begins with a double quote that never closes, so "
        f"the {swallowed} lines after it would become one text; it begins {start!r}",
        'Close the quote or, if it belongs to the text, write it as """ at the beginning; '
        "if the file was cut off, export it again.",
    )
