"""What the report's template shows of answers: side by side, and where they differ most."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from tunewright.evaluation.answers import Scored
from tunewright.evaluation.marking import marked
from tunewright.evaluation.results import Results
from tunewright.evaluation.scorers.base import FINISHED
from tunewright.evaluation.texts import Texts, shown

MOST_ANSWERS = 500
"""Questions shown in the page; all of them are in ``outputs.jsonl``."""
MOST_EXTREMES = 4
"""Questions shown of those that gained most, and of those that lost most."""
_OUTCOMES = {1: "win", 0: "tie", -1: "loss"}


@dataclass(frozen=True, slots=True)
class AnswerCell:
    """One responder's answer; ``score`` is its value under the main metric as shown."""

    html: Markup
    right: bool
    lost: bool
    cut: bool
    score: str = ""


@dataclass(frozen=True, slots=True)
class AnswerRow:
    """One question; ``outcomes`` holds win, tie or loss for every challenger."""

    question: str
    reference: str
    slice: str
    cells: Sequence[AnswerCell]
    outcomes: Sequence[str]


def answer_rows(results: Results, texts: Texts) -> list[AnswerRow]:
    """The questions to show, in file order; where too many, changed ones are kept first."""
    outcomes = [_outcomes(results, index) for index in range(len(results.test.questions))]
    changed_first = sorted(range(len(outcomes)), key=lambda i: (set(outcomes[i]) == {"tie"}, i))
    return [
        _row(results, index, outcomes[index], texts)
        for index in sorted(changed_first[:MOST_ANSWERS])
    ]


def extremes(results: Results, texts: Texts) -> list[tuple[str, list[AnswerRow]]]:
    """``(heading, rows)``: where the last challenger gained most, and where it lost most."""
    if not results.challengers:
        return []
    last = results.challengers[-1]
    gains = {
        index: gain
        for index in range(len(results.test.questions))
        if (gain := _gain(results, last, index))
    }
    ranked = sorted(gains, key=lambda index: (-gains[index], index))
    best = _of_each_group(results, [index for index in ranked if gains[index] > 0])
    worst = _of_each_group(results, [index for index in reversed(ranked) if gains[index] < 0])
    found = [("extremes.best", best), ("extremes.worst", worst)]
    return [
        (
            texts(key, model=last),
            [_row(results, index, _outcomes(results, index), texts) for index in chosen],
        )
        for key, chosen in found
        if chosen
    ]


def _of_each_group(results: Results, ranked: Sequence[int]) -> list[int]:
    """The first of every group: four wordings of one thing would show only one."""
    first: dict[str, int] = {}
    for index in ranked:
        first.setdefault(results.test.questions[index].group, index)
    return list(first.values())[:MOST_EXTREMES]


def _row(results: Results, index: int, outcomes: Sequence[str], texts: Texts) -> AnswerRow:
    question = results.test.questions[index]
    cells = [
        _cell(results, results.test.answers[name][index], question.reference, outcome == "loss")
        for name, outcome in zip(results.responders, ["", *outcomes], strict=True)
    ]
    label = texts.label("slice", question.slice) if question.slice else ""
    return AnswerRow(question.prompt.question, question.reference, label, cells, outcomes)


def _cell(results: Results, answer: Scored, reference: str, lost: bool) -> AnswerCell:
    metric = results.test.metric(results.headline)
    return AnswerCell(
        marked(answer.text, reference),
        answer.scores.get("exact") == 1,
        lost,
        answer.finish_reason != FINISHED,
        shown(metric, answer.scores.get(results.headline)),
    )


def _gain(results: Results, responder: str, index: int) -> float:
    """How much better than the baseline an answer is; 0 where there is nothing to compare."""
    metric = results.test.metric(results.headline)
    before, after = (
        results.test.answers[name][index].scores.get(metric.name)
        for name in (results.baseline, responder)
    )
    if before is None or after is None:
        return 0.0
    return metric.sign * round(after - before, 9)


def _outcomes(results: Results, index: int) -> list[str]:
    gains = [_gain(results, name, index) for name in results.challengers]
    return [_OUTCOMES[(gain > 0) - (gain < 0)] for gain in gains]
