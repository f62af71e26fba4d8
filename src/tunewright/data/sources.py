"""Files → records: one opener for tables (CSV, TSV) and JSON, read as a stream."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from tunewright.config.data import PrepareConfig
from tunewright.core.errors import DataError
from tunewright.data.json_files import json_source
from tunewright.data.labels import Fact
from tunewright.data.records import Record, Unusable
from tunewright.data.tables import table_source
from tunewright.data.text import TextFile, open_text

SAMPLE = 200
_TABLE_ENDINGS = {".csv", ".tsv", ".tab"}
_JSON_ENDINGS = {".json", ".jsonl", ".ndjson"}


@dataclass(frozen=True)
class Source:
    """One file, opened and understood, ready to be read from its first record.

    Attributes:
        name: the file's name as reports show it.
        kind: ``csv``, ``json``, ``jsonl``, ``xlsx``, ``parquet``, ``arrow`` or, for a document
            whose records hold running text, ``text``.
        columns: names in order; for JSON those of the sample.
        sample: the first usable records.
        read: gives a fresh stream over every record, unusable ones included.
        delimiter: of a delimited table, else None.
        encoding: of a text file, as people write it; None for other kinds.
        encoding_reason: how the encoding was found; a kind of fact, None for other kinds.
        rows_hint: about how many records there are, for progress; 0 when nothing is known.
        notes: what is odd about the file but not wrong.
    """

    name: str
    kind: str
    columns: tuple[str, ...]
    sample: tuple[dict[str, Any], ...]
    read: Callable[[], Iterator[Record]]
    delimiter: str | None = None
    encoding: str | None = None
    encoding_reason: str | None = None
    rows_hint: int = 0
    notes: tuple[Fact, ...] = field(default=())


@contextmanager
def opened(files: Sequence[str], config: PrepareConfig) -> Iterator[list[Source]]:
    """Every source that the named files hold, opened; what was unpacked for it goes at the end.

    Raises:
        DataError: when one cannot be read, or holds no record.
    """
    names = display_names(tuple(files))
    yield [open_source(Path(f), names[f], config.encoding, config.delimiter) for f in files]


def open_source(
    path: Path, name: str, encoding: str | None = None, delimiter: str | None = None
) -> Source:
    """Open a data file; its content decides how it is read, its ending only where content does not.

    Raises:
        DataError: when it cannot be read, or holds no record.
    """
    text = open_text(path, encoding)
    separator: str | None = None
    columns: tuple[str, ...] = ()
    notes: tuple[Fact, ...] = ()
    if _is_json(path, text, delimiter):
        kind, read = json_source(text)
    else:
        table = table_source(text, delimiter)
        kind, read, separator = "csv", table.read, table.delimiter
        columns, notes = table.columns, table.notes
    sample = _sample(read)
    if not sample:
        raise DataError(f"{path}: {_why_empty(read, kind)}", "Check that the export finished.")
    if not columns:
        columns = tuple(dict.fromkeys(key for record in sample for key in record))
    if text.nul_bytes:
        notes = (*notes, {"kind": "nul bytes", "count": text.nul_bytes})
    how = (text.encoding_name, text.reason, text.line_count)
    return Source(name, kind, columns, sample, read, separator, *how, notes)


def _is_json(path: Path, text: TextFile, delimiter: str | None) -> bool:
    ending = path.suffix.lower()
    if ending in _JSON_ENDINGS:
        return True
    if ending in _TABLE_ENDINGS or delimiter is not None:
        return False
    return "".join(text.head(1)).lstrip().startswith(("{", "["))


def _sample(read: Callable[[], Iterator[Record]]) -> tuple[dict[str, Any], ...]:
    usable = (r.fields for r in islice(read(), 2 * SAMPLE) if not isinstance(r.fields, Unusable))
    return tuple(islice(usable, SAMPLE))


def _why_empty(read: Callable[[], Iterator[Record]], kind: str) -> str:
    first = next(read(), None)
    if first is not None and isinstance(first.fields, Unusable):
        return f"no usable record; row {first.number}: {first.fields.detail or first.fields.reason}"
    if kind == "csv":
        return "the file holds a header but no rows"
    return "the file holds no records"


def display_names(files: tuple[str, ...]) -> dict[str, str]:
    """File → the shortest end of its path that no other file shares.

    Reports and rows name files this way, so that a dataset does not depend on the folder that
    its files happened to lie in.
    """
    names: dict[str, str] = {}
    for file in files:
        parts = Path(file).parts
        for length in range(1, len(parts) + 1):
            end = parts[-length:]
            if sum(Path(other).parts[-length:] == end for other in files) == 1:
                break
        names[file] = "/".join(end) if end else file
    return names
