"""Contamination: the improvement does not rest on test questions that were trained on."""

from __future__ import annotations

from tunewright.evaluation.asked import ALL, Asked
from tunewright.evaluation.gates.base import Case, Gate, comparison_numbers, decide, least_gain
from tunewright.evaluation.statistics.comparison import Comparison
from tunewright.evaluation.texts import difference, shown


def contamination(case: Case) -> Gate | None:
    """The difference with and without the questions that stand in the training rows.

    Only where those rows are known: not for a base, nor for a model behind an endpoint.
    """
    if case.alone or case.responder not in case.more.met:
        return None
    texts, results = case.texts, case.results
    met = set(case.more.met[case.responder])
    total = len(results.test.questions)
    if not met:
        evidence = texts("contamination.none", questions=total)
        return Gate("contamination", case.responder, True, evidence, "", {"met": 0})
    clean = [place for place in range(total) if place not in met]
    whole = results.comparisons[case.responder][results.headline][ALL]
    without = _compared(case, results.test.only(clean)) if clean else None
    numbers = {
        "met": len(met),
        "questions": total,
        "with": comparison_numbers(whole),
        "without": comparison_numbers(without) if without else None,
    }
    passed = _decide(case, whole, without)
    prescription = "" if passed else texts("contamination.do")
    evidence = _evidence(case, len(met), whole, without)
    return Gate("contamination", case.responder, passed, evidence, prescription, numbers)


def _compared(case: Case, clean: Asked) -> Comparison | None:
    found = clean.against(case.results.baseline, case.responder, case.config)
    by_slice = found.get(case.results.headline)
    return by_slice[ALL] if by_slice else None


def _decide(case: Case, whole: Comparison, without: Comparison | None) -> bool | None:
    """Whether the same is decided without those questions; what was no gain cannot be lost."""
    binary = case.results.test.metric(case.results.headline).scorer.binary
    if decide(whole, binary, least_gain(case, whole)) is not True:
        return True
    if without is None:
        return None
    return decide(without, binary, least_gain(case, whole))


def _evidence(case: Case, met: int, whole: Comparison, without: Comparison | None) -> str:
    texts, metric = case.texts, case.results.test.metric(case.results.headline)
    total = len(case.results.test.questions)
    if without is None:
        return texts("contamination.all", met=met, questions=total)
    return texts(
        "contamination.some",
        met=met,
        questions=total,
        whole=difference(metric, whole.delta, texts),
        without=difference(metric, without.delta, texts),
        score=shown(metric, without.score),
    )
