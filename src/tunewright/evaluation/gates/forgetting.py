"""Forgetting: the general probe does not fall by more than the margin."""

from __future__ import annotations

from tunewright.evaluation.gates.base import Case, Gate, comparison_numbers
from tunewright.evaluation.results import ALL
from tunewright.evaluation.statistics.comparison import Comparison
from tunewright.evaluation.texts import percent, points


def forgetting(case: Case) -> Gate | None:
    """How much of everyday ability was lost; open where it was not asked, or cannot be seen."""
    texts, results = case.texts, case.results
    if case.alone:
        return None
    if results.general is None:
        return _open(case, texts("forgetting.unasked"), texts("forgetting.unasked.do"))
    seen = results.general_comparisons[case.responder]["exact"][ALL]
    margin = case.config.forgetting_margin
    if seen.baseline <= margin:
        blind = texts("forgetting.blind", base=results.baseline, before=percent(seen.baseline))
        return _open(case, blind, texts("forgetting.blind.do"))
    # A loss of exactly the margin passes; 1e-9 absorbs the rounding of the two means.
    passed = seen.delta >= -margin - 1e-9
    cure = "forgetting.mixed.do" if case.dataset.mixed else "forgetting.unmixed.do"
    return Gate(
        "forgetting",
        case.responder,
        passed,
        _evidence(case, seen),
        "" if passed else texts(cure, mixed=case.dataset.mixed),
        {**comparison_numbers(seen), "margin": margin},
    )


def _open(case: Case, evidence: str, prescription: str) -> Gate:
    return Gate("forgetting", case.responder, None, evidence, prescription)


def _evidence(case: Case, seen: Comparison) -> str:
    return case.texts(
        "forgetting.evidence",
        before=percent(seen.baseline),
        score=percent(seen.score),
        delta=points(seen.delta),
        low=points(seen.low),
        high=points(seen.high),
        questions=seen.questions,
        margin=f"{100 * case.config.forgetting_margin:g}",
    )
