"""Accuracy, macro-F1 and the confusion matrix, by hand-counted examples."""

from __future__ import annotations

import pytest
from tests.evaluation.conftest import MakeResults

from tunewright.evaluation.classes import Classes, all_classes, classes_json, classes_of
from tunewright.evaluation.confusion import MOST_LABELS, class_rows, matrix
from tunewright.evaluation.results import Results
from tunewright.evaluation.texts import Texts

LABELS = ("好评", "中评", "差评")
REFERENCES = ["好评"] * 4 + ["中评"] * 2 + ["差评"] * 2
ANSWERS = ["好评", "好评", "好评", "差评", "好评", "中评", "差评", "说不清"]


@pytest.fixture
def counted() -> Classes:
    return classes_of(LABELS, REFERENCES, ANSWERS)


def test_who_was_taken_for_whom(counted: Classes) -> None:
    assert counted.matrix == ((3, 0, 1, 0), (1, 1, 0, 0), (0, 0, 1, 1))
    assert counted.accuracy == 5 / 8
    # By hand: precision 3/4, 1/1, 1/2; recall 3/4, 1/2, 1/2.
    assert [one.f1 for one in counted.by_label] == pytest.approx([3 / 4, 2 / 3, 1 / 2])
    assert counted.macro_f1 == pytest.approx((3 / 4 + 2 / 3 + 1 / 2) / 3)
    assert [one.rows for one in counted.by_label] == [4, 2, 2]
    assert counted.by_label[0].precision == 3 / 4
    assert counted.by_label[2].recall == 1 / 2


def test_answers_are_compared_as_exact_does_unless_labels_would_fall_together() -> None:
    assert classes_of(("Yes", "No"), ["Yes"], ["yes."]).accuracy == 1
    cased = classes_of(("A", "a"), ["A", "a", "A"], ["A", "a ", "a"])
    assert cased.matrix == ((1, 1, 0), (0, 1, 0))


def test_a_class_that_never_occurs_does_not_count() -> None:
    one = classes_of((*LABELS, "其他"), REFERENCES, REFERENCES)
    assert one.macro_f1 == one.accuracy == 1
    assert one.by_label[3].rows == 0


def test_the_page_shows_counts_and_strays(counted: Classes) -> None:
    shown = matrix(counted, Texts("zh"))
    assert shown.columns == (*LABELS, "非标签")
    label, cells, recall, f1 = shown.rows[0]
    assert (label, recall, f1) == ("好评", "75.0%", "75.0%")
    assert [cell.count for cell in cells] == [3, 0, 1, 0]
    assert [cell.right for cell in cells] == [True, False, False, False]
    assert [cell.depth for cell in cells] == [4, 0, 2, 0]
    held = matrix(classes_of(LABELS, REFERENCES, REFERENCES), Texts("en"))
    assert held.columns == LABELS
    rows = class_rows({"m": counted}, Texts("en"))
    assert [(name, values) for name, _, values in rows] == [
        ("Accuracy", ["62.5%"]),
        ("Macro-F1", ["63.9%"]),
    ]


def test_many_classes_show_the_most_frequent_mistakes() -> None:
    labels = tuple(f"c{number}" for number in range(MOST_LABELS + 1))
    shown = matrix(classes_of(labels, ["c1", "c1", "c2"], ["c3", "c3", "?"]), Texts("en"))
    assert not shown.rows
    assert shown.mistakes == [("c1", "c3", 2), ("c2", "no label", 1)]


def test_without_labels_there_is_nothing(make_results: MakeResults) -> None:
    results: Results = make_results(base=[True] * 4, tuned=[False] * 4)
    assert classes_json(all_classes((), results)) == {}
    found = classes_json(all_classes(("three months", "no idea"), results))
    assert found["labels"] == ["three months", "no idea"]
    assert found["responders"]["base"]["accuracy"] == 1
    assert found["responders"]["tuned"]["matrix"] == [[0, 4, 0], [0, 0, 0]]
