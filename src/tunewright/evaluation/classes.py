"""Answers that are classes: accuracy, macro-F1 and who was taken for whom."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from tunewright.evaluation.results import Results
from tunewright.evaluation.scorers.form import label_key


@dataclass(frozen=True, slots=True)
class LabelScore:
    """One label's scores in 0..1, and the test rows that bear it."""

    precision: float
    recall: float
    f1: float
    rows: int


@dataclass(frozen=True)
class Classes:
    """One responder's answers as classes.

    Attributes:
        labels: the classes.
        matrix: ``matrix[i][j]`` rows of class ``i`` were given class ``j``; the last column
            counts answers that are no class. (labels, labels + 1).
    """

    labels: tuple[str, ...]
    matrix: tuple[tuple[int, ...], ...]

    @property
    def accuracy(self) -> float:
        """Share of the rows that were given their class."""
        rows = sum(map(sum, self.matrix))
        return sum(self.matrix[i][i] for i in range(len(self.labels))) / rows if rows else 0.0

    @property
    def macro_f1(self) -> float:
        """Mean F1 of the classes that occur in the rows or in the answers."""
        scores = [one.f1 for i, one in enumerate(self.by_label) if one.rows or self._given(i)]
        return sum(scores) / len(scores) if scores else 0.0

    @property
    def by_label(self) -> list[LabelScore]:
        """Every class's scores, in the order of ``labels``; 0 where a share is of nothing."""
        return [self._score(index) for index in range(len(self.labels))]

    def json(self) -> dict[str, Any]:
        """As stored in the record."""
        return {
            "accuracy": self.accuracy,
            "macro_f1": self.macro_f1,
            "by_label": {
                label: asdict(one) for label, one in zip(self.labels, self.by_label, strict=True)
            },
            "matrix": [list(row) for row in self.matrix],
        }

    def _given(self, index: int) -> int:
        return sum(row[index] for row in self.matrix)

    def _score(self, index: int) -> LabelScore:
        right, rows, given = self.matrix[index][index], sum(self.matrix[index]), self._given(index)
        return LabelScore(
            precision=right / given if given else 0.0,
            recall=right / rows if rows else 0.0,
            # The harmonic mean of both, without a division of nothing by nothing.
            f1=2 * right / (rows + given) if rows + given else 0.0,
            rows=rows,
        )


def classes_of(labels: Sequence[str], references: Sequence[str], answers: Sequence[str]) -> Classes:
    """Count who was taken for whom.

    Answers are compared as the scorer ``label`` does.

    Args:
        labels: the classes.
        references: the class of every row; rows of none of the classes do not count.
        answers: what was said of it, (rows,).
    """
    key = label_key(labels)
    places = {key(label): place for place, label in enumerate(labels)}
    counts = [[0] * (len(labels) + 1) for _ in labels]
    for reference, answer in zip(references, answers, strict=True):
        row = places.get(key(reference))
        if row is not None:
            counts[row][places.get(key(answer), len(labels))] += 1
    return Classes(tuple(labels), tuple(map(tuple, counts)))


def all_classes(labels: Sequence[str], results: Results) -> dict[str, Classes]:
    """Every responder's answers to the test questions; nothing where there are no labels."""
    if not labels:
        return {}
    references = [question.reference for question in results.test.questions]
    return {
        name: classes_of(labels, references, [answer.text for answer in answers])
        for name, answers in results.test.answers.items()
    }


def classes_json(classes: Mapping[str, Classes]) -> dict[str, Any]:
    """``{labels, responders: {name: …}}`` for the record; empty without labels."""
    if not classes:
        return {}
    labels = next(iter(classes.values())).labels
    return {
        "labels": list(labels),
        "responders": {name: one.json() for name, one in classes.items()},
    }
