"""Improvement: the paired interval of the main metric lies on the better side of zero."""

from __future__ import annotations

import math

from tunewright.evaluation.asked import ALL
from tunewright.evaluation.gates.base import (
    LEAST_GROUPS,
    Case,
    Gate,
    comparison_numbers,
    decide,
    least_gain,
)
from tunewright.evaluation.scorers.base import Metric
from tunewright.evaluation.statistics.comparison import Comparison
from tunewright.evaluation.statistics.power import questions_needed
from tunewright.evaluation.texts import Texts, difference, p_text, points, shown, signed

_MORE = 1.2
"""Where the evidence is not enough, fewer more questions than this share would not do either."""


def improvement(case: Case) -> Gate:
    """Whether it is better than the baseline; where that is open, how many questions would tell."""
    texts, results = case.texts, case.results
    if case.alone:
        evidence = texts("improvement.alone", model=case.responder)
        return Gate("improvement", case.responder, None, evidence, texts("improvement.alone.do"))
    metric = results.test.metric(results.headline)
    seen = results.comparisons[case.responder][results.headline][ALL]
    bound = points if metric.share else signed
    evidence = texts(
        "improvement.evidence",
        metric=texts.label("metric", metric.name),
        before=shown(metric, seen.baseline),
        score=shown(metric, seen.score),
        delta=difference(metric, seen.delta, texts),
        low=bound(seen.low),
        high=bound(seen.high),
        wins=seen.wins,
        losses=seen.losses,
        ties=seen.ties,
        p=p_text(seen.p),
    )
    if seen.groups < LEAST_GROUPS:
        evidence = texts(
            "improvement.few", evidence=evidence, groups=seen.groups, least=LEAST_GROUPS
        )
    passed = decide(seen, metric.scorer.binary, least_gain(case, seen))
    needed = 0 if passed is not None else _needed(case, seen)
    return Gate(
        "improvement",
        case.responder,
        passed,
        evidence,
        "" if passed else _prescription(case, seen, passed, needed),
        {
            "metric": metric.name,
            **comparison_numbers(seen),
            **({"questions_needed": needed} if needed else {}),
        },
    )


def _needed(case: Case, seen: Comparison) -> int:
    # Asking for the power to see less than a worthwhile gain would ask for too much.
    needed = max(questions_needed(seen, _gain(case, seen)), 5 * LEAST_GROUPS)
    if seen.groups < LEAST_GROUPS:
        return needed
    return max(needed, math.ceil(_MORE * seen.questions))


def _gain(case: Case, seen: Comparison) -> float:
    return max(seen.gain, least_gain(case, seen))


def _prescription(case: Case, seen: Comparison, passed: bool | None, needed: int) -> str:
    texts, metric = case.texts, case.results.test.metric(case.results.headline)
    if passed is False:
        worse = seen.gain_interval[1] < 0
        gain = _size(metric, least_gain(case, seen), texts)
        return texts("improvement.worse.do" if worse else "improvement.none.do", gain=gain)
    if seen.groups < LEAST_GROUPS:
        return texts("improvement.few.do", least=LEAST_GROUPS, needed=needed)
    return texts(
        "improvement.open.do",
        needed=needed,
        more=needed - seen.questions,
        gain=_size(metric, _gain(case, seen), texts),
    )


def _size(metric: Metric, gain: float, texts: Texts) -> str:
    return difference(metric, gain, texts).removeprefix("+")
