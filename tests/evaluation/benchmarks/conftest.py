"""Small files of our own in the layouts that the benchmarks were published in."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

Rows = Sequence[Sequence[str]]
Write = Callable[..., Path]


def sums(count: int, first: int = 2) -> list[list[str]]:
    """``n + 1`` with four options; the right one moves."""
    rows = []
    for n in range(first, first + count):
        place = n % 4
        options = [str(n + 1 + (option - place)) for option in range(4)]
        rows.append([f"{n} + 1 = ?", *options, "ABCD"[place]])
    return rows


def write_csv(path: Path, rows: Rows, header: Sequence[str] = (), encoding: str = "utf-8") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", encoding=encoding, newline="") as file:
        csv.writer(file).writerows([header, *rows] if header else rows)
    return path


@pytest.fixture
def mmlu(tmp_path: Path) -> Path:
    """No column names; test/abstract_algebra_test.csv."""
    folder = tmp_path / "mmlu"
    for subject, split, count, first in (
        ("abstract_algebra", "dev", 5, 50),
        ("abstract_algebra", "test", 6, 2),
        ("prehistory", "dev", 5, 60),
        ("prehistory", "test", 4, 20),
    ):
        write_csv(folder / split / f"{subject}_{split}.csv", sums(count, first))
    return folder


@pytest.fixture
def ceval(tmp_path: Path) -> Path:
    """With names; val/law_val.csv has answers, dev also explanations, test neither."""
    folder = tmp_path / "ceval"
    names = ["id", "question", "A", "B", "C", "D", "answer"]
    val = [[str(n), *row] for n, row in enumerate(sums(5))]
    dev = [[*row, "因为如此"] for row in ([str(n), *r] for n, r in enumerate(sums(5, 40)))]
    write_csv(folder / "val" / "law_val.csv", val, names)
    write_csv(folder / "dev" / "law_dev.csv", dev, [*names, "explanation"])
    write_csv(folder / "test" / "law_test.csv", [row[:-1] for row in val], names[:-1])
    return folder


@pytest.fixture
def cmmlu(tmp_path: Path) -> Path:
    """With an unnamed column of numbers before the names; test/agronomy.csv."""
    folder = tmp_path / "cmmlu"
    names = ["", "Question", "A", "B", "C", "D", "Answer"]
    for subject, split, count, first in (
        ("agronomy", "dev", 5, 50),
        ("agronomy", "test", 6, 2),
        ("chinese_history", "dev", 5, 60),
        ("chinese_history", "test", 4, 20),
    ):
        rows = [[str(n), *row] for n, row in enumerate(sums(count, first))]
        write_csv(folder / split / f"{subject}.csv", rows, names)
    return folder
