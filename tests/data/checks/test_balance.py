"""One side much heavier: classes, lengths, judgements."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.data.checks.compared import found, qa, rows, run, said

from tunewright.data.checks.balance import CLASSES, JUDGEMENTS, LENGTH_BIAS
from tunewright.data.records import Draft, Turn
from tunewright.model.rendering import Renderer


@pytest.fixture(scope="module")
def renderer(tiny_base: Path) -> Renderer:
    return Renderer(tiny_base)


def labelled(**counts: int) -> list[Draft]:
    return [
        qa(f"{label}{n}", label, label=label)
        for label, count in counts.items()
        for n in range(count)
    ]


def test_rare_classes_and_the_largest_are_told(renderer: Renderer) -> None:
    outcome = run(CLASSES, labelled(good=85, bad=12, mixed=3), renderer)
    facts = found(outcome).facts
    assert (facts["rows"], facts["classes"], facts["most"], facts["share"]) == (
        100,
        3,
        "good",
        0.85,
    )
    # A tenth of three rows is no test row; a twentieth of twelve is no validation row.
    assert (facts["rare"], facts["no_test"], facts["no_dev"]) == (1, 1, 2)
    assert found(outcome).level == "care"
    assert found(outcome).figure == {"classes": {"good": 85, "bad": 12, "mixed": 3}}
    assert "“good”, has 85%" in said(CLASSES, outcome)


def test_even_classes_are_only_shown(renderer: Renderer) -> None:
    assert found(run(CLASSES, labelled(a=50, b=50), renderer)).level == "info"
    assert found(run(CLASSES, labelled(a=50), renderer)).level == "care"
    many = labelled(**{f"c{n:02}": 10 for n in range(30)})
    figure = found(run(CLASSES, many, renderer)).figure
    assert figure is not None
    assert figure["classes"]["…"] == 100
    assert len(figure["classes"]) == 21


def test_rows_without_labels_say_nothing(renderer: Renderer) -> None:
    assert run(CLASSES, rows(("q", "a")), renderer).finding is None
    assert run(LENGTH_BIAS, rows(("q", "a")), renderer).finding is None
    assert run(JUDGEMENTS, rows(("q", "a")), renderer).finding is None


def pair(better: str, worse: str) -> Draft:
    return qa("q", better, kind="preference", rejected=(Turn("assistant", worse),))


def test_a_bias_to_length_is_told(renderer: Renderer) -> None:
    outcome = run(LENGTH_BIAS, [pair("long answer", "short")] * 8 + [pair("a", "b")] * 2, renderer)
    assert (found(outcome).level, found(outcome).facts["longer"]) == ("care", 0.8)
    counts = {"longer": 8, "equal": 2, "shorter": 0}
    assert found(outcome).figure == {"better_answer": counts}
    assert "In 80% of 10 pairs" in said(LENGTH_BIAS, outcome)
    even = run(LENGTH_BIAS, [pair("long", "s"), pair("s", "long")], renderer)
    assert found(even).level == "info"


def test_only_what_follows_the_last_question_is_compared(renderer: Renderer) -> None:
    draft = pair("short", "longer answer")
    draft.turns = (*qa("first", "a very very long answer").turns, *draft.turns)
    assert found(run(LENGTH_BIAS, [draft], renderer)).facts["longer"] == 0


def test_one_sided_judgements_are_told(renderer: Renderer) -> None:
    judged = [qa("q", "a", kind="rating", desirable=n > 0) for n in range(20)]
    outcome = run(JUDGEMENTS, judged, renderer)
    assert (found(outcome).level, found(outcome).facts["share"]) == ("care", 0.95)
    assert "95% of 20 answers" in said(JUDGEMENTS, outcome)
    assert found(run(JUDGEMENTS, judged[:2], renderer)).level == "info"
