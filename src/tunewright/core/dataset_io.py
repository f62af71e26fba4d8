"""Rows on disk: one JSON object per line."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from tunewright.core.errors import DataError
from tunewright.core.messages import Passage, Row, Split

_Stored = TypeVar("_Stored", bound=BaseModel)


def write_rows(path: Path, rows: Iterable[Row | Passage]) -> int:
    """Write rows as JSONL and return how many."""
    count = 0
    with open(path, "w", encoding="utf-8", newline="\n") as file:
        for row in rows:
            file.write(row.model_dump_json(exclude_defaults=True) + "\n")
            count += 1
    return count


def read_rows(folder: Path, split: Split) -> list[Row]:
    """The rows of one split of a dataset's folder; an absent file is an empty split.

    Raises:
        DataError: when a line is not a row, naming file and line.
    """
    return _read(folder / f"{split}.jsonl", Row)


def read_passages(folder: Path, split: Split) -> list[Passage]:
    """The rows of one split of a dataset of plain text.

    Raises:
        DataError: when a line is not a passage, naming file and line.
    """
    return _read(folder / f"{split}.jsonl", Passage)


def _read(path: Path, kind: type[_Stored]) -> list[_Stored]:
    if not path.exists():
        return []
    rows: list[_Stored] = []
    with open(path, encoding="utf-8") as file:
        for number, line in enumerate(file, start=1):
            try:
                rows.append(kind.model_validate_json(line))
            except ValidationError as error:
                raise DataError(f"{path}, line {number}: {error.errors()[0]['msg']}") from None
    return rows
