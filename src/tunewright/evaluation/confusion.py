"""What the report's template shows of classes: their scores, and who was taken for whom."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tunewright.evaluation.classes import Classes
from tunewright.evaluation.texts import Texts, percent

MOST_LABELS = 24
"""Labels up to which the whole matrix is shown; beyond, the most frequent mistakes."""
MOST_MISTAKES = 30


@dataclass(frozen=True, slots=True)
class Cell:
    """A count and the depth of its colour, 0 (none) to 5 (nearly the whole row)."""

    count: int
    depth: int
    right: bool


@dataclass(frozen=True)
class Matrix:
    """One responder's confusion matrix, or its most frequent mistakes.

    Attributes:
        columns: headings of the cells.
        rows: label, cells, and the row's recall and F1 as shown.
        mistakes: reference, answer and rows, the most frequent first; where the matrix is too
            large to be read.
    """

    columns: Sequence[str]
    rows: Sequence[tuple[str, Sequence[Cell], str, str]]
    mistakes: Sequence[tuple[str, str, int]]


def class_rows(classes: Mapping[str, Classes], texts: Texts) -> list[tuple[str, str, list[str]]]:
    """``(label, meaning, [value per responder])`` of accuracy and macro-F1."""
    if not classes:
        return []
    return [
        (
            texts(f"classes.{name}"),
            texts(f"classes.{name}.is"),
            [percent(getattr(one, name)) for one in classes.values()],
        )
        for name in ("accuracy", "macro_f1")
    ]


def matrix(classes: Classes, texts: Texts) -> Matrix:
    """A responder's matrix as shown."""
    other = texts("classes.other")
    labels = classes.labels
    strays = any(row[-1] for row in classes.matrix)
    if len(labels) > MOST_LABELS:
        return Matrix((), (), _mistakes(classes, (*labels, other)))
    rows = []
    for place, (label, score) in enumerate(zip(labels, classes.by_label, strict=True)):
        counts = classes.matrix[place]
        shown = counts if strays else counts[:-1]
        cells = [
            Cell(count, _depth(count, score.rows), place == column)
            for column, count in enumerate(shown)
        ]
        recall = percent(score.recall) if score.rows else ""
        rows.append((label, cells, recall, percent(score.f1)))
    return Matrix((*labels, *([other] if strays else [])), rows, ())


def _depth(count: int, rows: int) -> int:
    return -(-5 * count // rows) if count else 0


def _mistakes(classes: Classes, names: Sequence[str]) -> list[tuple[str, str, int]]:
    found = [
        (names[row], names[column], count)
        for row, counts in enumerate(classes.matrix)
        for column, count in enumerate(counts)
        if count and row != column
    ]
    return sorted(found, key=lambda mistake: -mistake[2])[:MOST_MISTAKES]
