"""Validity: answers have the form that the data has: one of its labels, or JSON."""

from __future__ import annotations

from tunewright.evaluation.gates.base import LEAST_SHARE, Case, Gate
from tunewright.evaluation.scorers.base import Material
from tunewright.evaluation.statistics.proportions import proportion_interval
from tunewright.evaluation.texts import percent
from tunewright.grading.results import NoGrade, parsed


def validity(case: Case) -> Gate | None:
    """Share of answers with the right form; nothing to say where any text will do."""
    kind, values = _formed(case)
    if not values:
        return None
    texts, share = case.texts, sum(values) / len(values)
    low, high = proportion_interval(values, case.results.test.groups())
    passed: bool | None = True if share >= LEAST_SHARE else None
    if high < LEAST_SHARE:
        passed = False
    evidence = texts(
        f"validity.{kind}",
        share=percent(share),
        low=percent(low),
        high=percent(high),
        questions=len(values),
        least=percent(LEAST_SHARE, 0),
    )
    numbers = {"form": kind, "share": share, "interval": [low, high], "questions": len(values)}
    prescription = "" if passed else texts(f"validity.{kind}.do")
    return Gate("validity", case.responder, passed, evidence, prescription, numbers)


def _formed(case: Case) -> tuple[str, list[float]]:
    """Which form is asked for, and for every answer whether it has it."""
    test = case.results.test
    names = {metric.name for metric in test.metrics}
    answers = test.answers[case.responder]
    if "json_schema" in names:
        # An answer that is no JSON is graded 0, so that every answer has a value.
        return "schema", test.values(case.responder, "json_schema")
    if "valid" in names:
        # Held to the labels, nothing else can be said.
        held = case.more.held and all(one.probability is not None for one in answers)
        return "label", [] if held else test.values(case.responder, "valid")
    if Material([question.reference for question in test.questions]).json:
        return "json", [float(_is_json(one.text)) for one in answers]
    return "", []


def _is_json(text: str) -> bool:
    try:
        parsed(text)
    except NoGrade:
        return False
    return True
