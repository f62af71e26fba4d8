"""A benchmark's CSV files → questions with four options, or an error that names file and row."""

from __future__ import annotations

import csv
import io
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tunewright.core.errors import DataError
from tunewright.evaluation.benchmarks.layouts import OPTIONS, Layout

_COLUMNS: Final = ("question", "a", "b", "c", "d", "answer")
EXAMPLES: Final = "dev"
"""The split that examples are from."""


@dataclass(frozen=True, slots=True)
class Item:
    """One question.

    Attributes:
        question: its text.
        options: the four texts.
        answer: the right one's letter.
    """

    question: str
    options: tuple[str, ...]
    answer: str


@dataclass(frozen=True, slots=True)
class SubjectItems:
    """One subject's questions, and the examples that are published with them."""

    key: str
    items: Sequence[Item]
    examples: Sequence[Item]


def read_folder(
    folder: Path, layout: Layout, split: str, shots: int, only: Sequence[str] = ()
) -> list[SubjectItems]:
    """Every subject of a split in the order of the files' names.

    Args:
        folder: that holds the splits' folders, or holds ``data`` that does.
        layout: of the benchmark.
        split: that is asked.
        shots: examples that are wanted; with 0 the dev split is not read.
        only: subjects to read; all where none are named.

    Raises:
        DataError: the folder is laid out differently, or a file cannot be used.
    """
    root = _root(folder, layout, split)
    keys = _keys(root, layout, split)
    unknown = [key for key in only if key not in keys]
    if unknown:
        raise DataError(
            f"{folder}: {layout.title} has no subject {unknown[0]!r} there",
            f"Its subjects: {', '.join(keys)}",
        )
    return [
        SubjectItems(
            key,
            read_file(_path(root, layout, split, key), layout),
            _examples(root, layout, key, shots),
        )
        for key in only or keys
    ]


def _root(folder: Path, layout: Layout, split: str) -> Path:
    for root in (folder, folder / "data"):
        if (root / split).is_dir():
            return root
    raise DataError(
        f"{folder}: there is no folder {split!r} in it, so it is not {layout.title} as published",
        f"Expected: {_path(folder, layout, split, 'SUBJECT')}, and the same under "
        f"{EXAMPLES!r} for the examples",
    )


def _path(root: Path, layout: Layout, split: str, key: str) -> Path:
    return root / split / (f"{key}_{split}.csv" if layout.named else f"{key}.csv")


def _keys(root: Path, layout: Layout, split: str) -> list[str]:
    end = f"_{split}.csv" if layout.named else ".csv"
    names = sorted(path.name for path in (root / split).iterdir() if path.is_file())
    keys = [name.removesuffix(end) for name in names if name.endswith(end)]
    if not keys:
        raise DataError(
            f"{root / split}: no file is named SUBJECT{end}, as those of {layout.title} are",
            f"It holds: {', '.join(names[:5]) or 'nothing'}",
        )
    return keys


def _examples(root: Path, layout: Layout, key: str, shots: int) -> Sequence[Item]:
    if not shots:
        return ()
    path = _path(root, layout, EXAMPLES, key)
    if not path.is_file():
        raise DataError(
            f"{path}: there is no such file, and {shots} examples for {key} are from it",
            "Get the dev split too, or ask without examples: --shots 0",
        )
    return read_file(path, layout)[:shots]


def read_file(path: Path, layout: Layout) -> list[Item]:
    """The questions of one file, in UTF-8 (with or without a byte order mark) or GB18030.

    Raises:
        DataError: it cannot be read, lacks a column, or a row cannot be used.
    """
    rows = list(_rows(path))
    if not rows:
        raise DataError(f"{path}: the file holds no rows")
    places = _places(path, layout, rows[0][1])
    body = rows[1:] if _is_header(rows[0][1]) else rows
    if not body:
        raise DataError(f"{path}: the file holds its columns' names and no question")
    return [_item(path, number, row, places) for number, row in body]


def _rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Rows that hold anything, with the line that each ends on."""
    reader = csv.reader(io.StringIO(_text(path), newline=""), strict=True)
    try:
        for row in reader:
            if any(cell.strip() for cell in row):
                yield reader.line_num, row
    except csv.Error as error:
        raise DataError(f"{path}, line {reader.line_num}: {error}") from None


def _text(path: Path) -> str:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}") from None
    for encoding in ("utf-8-sig", "gb18030"):
        try:
            return data.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise DataError(
        f"{path}: the file is neither UTF-8 nor GB18030 text",
        "Download it again, or save it as CSV in UTF-8.",
    )


def _is_header(row: Sequence[str]) -> bool:
    return {"question", "answer"} & {_plain(cell) for cell in row} != set()


def _places(path: Path, layout: Layout, first: Sequence[str]) -> list[int]:
    """Where question, options and answer stand in a row; other columns do not matter."""
    if not _is_header(first):
        if layout.header:
            raise DataError(
                f"{path}: the first row does not name columns; those of {layout.title} do",
                f"Expected: {', '.join(_COLUMNS)}; found: {', '.join(first)[:120]}",
            )
        if len(first) != len(_COLUMNS):
            raise DataError(
                f"{path}: a row of {layout.title} has {len(_COLUMNS)} columns without names "
                f"({', '.join(_COLUMNS)}); the first row has {len(first)}"
            )
        return list(range(len(_COLUMNS)))
    names = [_plain(cell) for cell in first]
    missing = [name for name in _COLUMNS if name not in names]
    if missing == ["answer"]:
        raise DataError(
            f"{path}: there is no column 'answer': this split's answers were not published",
            f"Ask the split that has them: {layout.split}",
        )
    if missing:
        raise DataError(
            f"{path}: there is no column {', '.join(map(repr, missing))}",
            f"Its columns: {', '.join(first)}",
        )
    return [names.index(name) for name in _COLUMNS]


def _item(path: Path, line: int, row: Sequence[str], places: Sequence[int]) -> Item:
    if len(row) <= max(places):
        raise DataError(
            f"{path}, line {line}: the row has {len(row)} cells and needs {max(places) + 1}",
            "A comma or a quotation mark inside a text must be quoted.",
        )
    question, *options, answer = (row[place].strip() for place in places)
    letter = unicodedata.normalize("NFKC", answer).upper()
    if letter not in OPTIONS:
        raise DataError(
            f"{path}, line {line}: the answer is {answer!r}; it must be one of {', '.join(OPTIONS)}"
        )
    if not question:
        raise DataError(f"{path}, line {line}: the question is empty")
    return Item(question, tuple(options), letter)


def _plain(cell: str) -> str:
    return unicodedata.normalize("NFKC", cell).strip().casefold()
