"""What the report's template shows, worked out beforehand: the template holds no logic."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from tunewright.config.evaluation import EvaluateConfig
from tunewright.core.nested import flat
from tunewright.core.records import Evaluation
from tunewright.evaluation import charts
from tunewright.evaluation.answers import Scored
from tunewright.evaluation.compare import Comparison
from tunewright.evaluation.gates import Gate, p_text
from tunewright.evaluation.lineage import Curve, Origin
from tunewright.evaluation.marking import marked
from tunewright.evaluation.results import ALL, Asked, Results
from tunewright.evaluation.scorers import FINISHED, METRICS
from tunewright.evaluation.texts import Texts, percent, points

MOST_ANSWERS = 500
"""Questions shown in the page; all of them are in ``outputs.jsonl``."""
_OUTCOMES = {1: "win", 0: "tie", -1: "loss"}


@dataclass(frozen=True, slots=True)
class ScoreRow:
    """One slice of one challenger's table."""

    label: str
    questions: int
    before: str
    after: str
    delta: str
    low: str
    high: str
    whisker: Markup
    outcomes: tuple[int, int, int]
    p: str
    tone: str


@dataclass(frozen=True, slots=True)
class AnswerCell:
    """One responder's answer."""

    html: Markup
    right: bool
    lost: bool
    cut: bool


@dataclass(frozen=True, slots=True)
class AnswerRow:
    """One question; ``outcomes`` holds win, tie or loss for every challenger."""

    question: str
    reference: str
    slice: str
    cells: Sequence[AnswerCell]
    outcomes: Sequence[str]


@dataclass(frozen=True, slots=True)
class MemoryRow:
    """A challenger's score on training rows and on new questions."""

    responder: str
    seen: str
    unseen: str
    says: str


def sentence(results: Results, gates: Sequence[Gate], texts: Texts) -> str:
    """The verdict in one plain sentence, about the challenger that the verdict hangs on."""
    if not results.challengers:
        return texts("says.alone", model=results.baseline)
    gate = _decisive(gates)
    seen = results.comparisons[gate.responder][results.headline][ALL]
    if gate.passed:
        key = "says.better" if results.headline == "exact" else "says.better.overlap"
    else:
        key = "says.worse" if gate.passed is False else "says.open"
    said = texts(
        key,
        model=gate.responder,
        base=results.baseline,
        score=percent(seen.score),
        before=percent(seen.baseline),
    )
    said_no = [g.name for g in gates if g.passed is False and g.name != "improvement"]
    if gate.passed and said_no:
        names = texts("join").join(texts(f"gate.{name}") for name in dict.fromkeys(said_no))
        said += " " + texts("says.blocked", gates=names)
    return said


def _decisive(gates: Sequence[Gate]) -> Gate:
    """The improvement gate that speaks against the verdict soonest: no, then open, then yes."""
    order = (False, None, True)
    improvements = [gate for gate in gates if gate.name == "improvement"]
    return min(improvements, key=lambda gate: order.index(gate.passed))


def interval_sentence(results: Results, gates: Sequence[Gate], texts: Texts) -> str:
    """The size of the difference behind ``sentence``."""
    if not results.challengers:
        return ""
    seen = results.comparisons[_decisive(gates).responder][results.headline][ALL]
    return texts(
        "says.interval",
        delta=points(seen.delta),
        low=points(seen.low),
        high=points(seen.high),
        questions=seen.questions,
        groups=seen.groups,
    )


def score_rows(by_slice: Mapping[str, Comparison], family: str, texts: Texts) -> list[ScoreRow]:
    """A challenger's table for one metric; ``family`` names the slices' labels."""
    reach = max(0.05, *(max(abs(c.low), abs(c.high)) for c in by_slice.values()))
    return [
        ScoreRow(
            texts.label(family, name),
            seen.questions,
            percent(seen.baseline),
            percent(seen.score),
            points(seen.delta),
            points(seen.low),
            points(seen.high),
            charts.whisker(seen.delta, seen.low, seen.high, reach),
            (seen.wins, seen.ties, seen.losses),
            p_text(seen.p).removeprefix("=\u00a0"),
            "good" if seen.low > 0 else "bad" if seen.high < 0 else "flat",
        )
        for name, seen in by_slice.items()
    ]


def metric_rows(results: Results, texts: Texts) -> list[tuple[str, str, list[str]]]:
    """``(label, meaning, [value per responder])`` for every metric over all questions."""
    return [
        (
            texts(f"metric.{metric.name}"),
            texts(f"metric.{metric.name}.is"),
            [percent(results.test.mean(name, metric.name)) for name in results.responders],
        )
        for metric in METRICS
    ]


def dots_chart(
    results: Results, asked: Asked, metric: str, family: str, title: str, texts: Texts
) -> Markup:
    """Every responder's mean by slice; intervals where a slice is large enough to bear one."""
    rows = [
        charts.DotRow(
            texts.label(family, name),
            [
                charts.Dot(
                    asked.mean(responder, metric, name),
                    results.mean_interval(asked, responder, metric, name),
                )
                for responder in results.responders
            ],
        )
        for name in asked.slices()
    ]
    return charts.dots(rows, title)


def curve_chart(curve: Curve, step: int | None, texts: Texts) -> Markup:
    """The training curve with the evaluated checkpoint marked."""
    used = texts("curve.used", step=step) if step is not None else ""
    labels = charts.CurveLabels(texts("curve"), texts("curve.step"), used)
    return charts.loss_chart(curve.train, curve.validation, step, labels)


def memory_rows(results: Results, texts: Texts) -> list[MemoryRow]:
    """Seen against unseen for every challenger that was asked its training rows."""
    rows = []
    for name in results.challengers:
        if name not in results.seen.answers:
            continue
        seen = results.seen.mean(name, results.headline)
        unseen = results.test.mean(name, results.headline)
        key = "low" if seen < 0.5 else "gap" if seen - unseen > 0.1 else "good"
        says = texts(f"memory.{key}", model=name, gap=f"{100 * (seen - unseen):.0f}")
        rows.append(MemoryRow(name, percent(seen), percent(unseen), says))
    return rows


def answer_rows(results: Results, texts: Texts) -> list[AnswerRow]:
    """The questions to show, in file order; where too many, changed ones are kept first."""
    outcomes = [_outcomes(results, index) for index in range(len(results.test.questions))]
    changed_first = sorted(range(len(outcomes)), key=lambda i: (set(outcomes[i]) == {"tie"}, i))
    rows = []
    for index in sorted(changed_first[:MOST_ANSWERS]):
        question = results.test.questions[index]
        cells = [
            _cell(results.test.answers[name][index], question.reference, outcome == "loss")
            for name, outcome in zip(results.responders, ["", *outcomes[index]], strict=True)
        ]
        label = texts.label("slice", question.slice) if question.slice else ""
        text = question.prompt.question
        rows.append(AnswerRow(text, question.reference, label, cells, outcomes[index]))
    return rows


def _cell(answer: Scored, reference: str, lost: bool) -> AnswerCell:
    return AnswerCell(
        marked(answer.text, reference),
        answer.scores["exact"] == 1,
        lost,
        answer.finish_reason != FINISHED,
    )


def _outcomes(results: Results, index: int) -> list[str]:
    def value(name: str) -> float:
        return results.test.answers[name][index].scores[results.headline]

    before = value(results.baseline)
    differences = [round(value(name) - before, 9) for name in results.challengers]
    return [_OUTCOMES[(d > 0) - (d < 0)] for d in differences]


def settings(config: dict[str, Any]) -> list[tuple[str, str]]:
    """A nested config as ``(dotted name, value)`` pairs, as people read them."""
    return [(name, _setting(value)) for name, value in flat(config).items()]


def _setting(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    return "" if value is None else str(value)


def command_line(record: Evaluation) -> str:
    """The command that repeats the evaluation."""
    words = ["tunewright", "evaluate", "--dataset", record.dataset]
    for name in record.models:
        words += ["--models", name]
    asked = EvaluateConfig.model_validate(record.config)
    for name in sorted(asked.model_fields_set - {"dataset", "models"}):
        if getattr(asked, name) != EvaluateConfig.model_fields[name].default:
            words += ["--set", f"{name}={json.dumps(getattr(asked, name))}"]
    return shlex.join(words)


def origin_facts(origin: Origin, texts: Texts) -> list[tuple[str, str]]:
    """Where one responder comes from."""
    facts = [(texts("repeat.base"), f"{origin.base} · {origin.base_digest}")]
    if origin.model is not None:
        facts.insert(0, (texts("model"), origin.model.id))
    if origin.run is not None:
        step = f" @ {origin.step}" if origin.step is not None else ""
        facts.append((texts("repeat.run"), f"{origin.run.id}{step}"))
    return facts
