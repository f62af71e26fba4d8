"""Stopping and length: answers end by themselves, and are about as long as they should be."""

from __future__ import annotations

from collections.abc import Sequence

from tunewright.evaluation.gates.base import LEAST_GROUPS, LEAST_SHARE, Case, Gate
from tunewright.evaluation.scorers.base import FINISHED, Material
from tunewright.evaluation.scorers.normal import pieces
from tunewright.evaluation.statistics.bootstrap import group_sums, percentiles, ratio, resampled
from tunewright.evaluation.texts import percent

_SAYS_NOTHING = 8
"""A cut answer with fewer words than this fraction of what fitted only repeats signs or spaces."""
_FACTOR = 2.0
"""How much longer or shorter than their references answers may be, all in all."""


def stopping(case: Case) -> Gate:
    """Nearly all answers must end by themselves."""
    texts, test, most = case.texts, case.results.test, case.config.max_new_tokens
    answers = test.answers[case.responder]
    share = test.mean(case.responder, "stop") or 0.0
    low, high = test.mean_interval(case.responder, "stop", "all", case.config)
    evidence = texts(
        "stopping.evidence",
        share=percent(share),
        low=percent(low),
        high=percent(high),
        questions=len(answers),
        least=percent(LEAST_SHARE, 0),
    )
    passed = share >= LEAST_SHARE
    cut = [
        (len(pieces(answer.text)), len(pieces(question.reference)))
        for question, answer in zip(test.questions, answers, strict=True)
        if answer.finish_reason != FINISHED
    ]
    return Gate(
        "stopping",
        case.responder,
        passed,
        evidence,
        "" if passed else texts(_cure(cut, most), tokens=most),
        {"share": share, "interval": [low, high], "questions": len(answers), "least": LEAST_SHARE},
    )


def _cure(cut: Sequence[tuple[int, int]], tokens: int) -> str:
    """Why answers were cut off, told by their lengths and those of their references."""
    empty = sum(_SAYS_NOTHING * ours < min(tokens, theirs) for ours, theirs in cut)
    if 2 * empty > len(cut):
        return "stopping.broken.do"
    shorter = sum(ours < theirs for ours, theirs in cut)
    return "stopping.longer.do" if 2 * shorter > len(cut) else "stopping.ramble.do"


def length(case: Case) -> Gate | None:
    """Free text must not be twice as long as its references, nor half as long, all in all."""
    test = case.results.test
    if not Material([question.reference for question in test.questions]).prose:
        return None
    import numpy as np

    parts = np.array(
        [
            (len(pieces(answer.text)), len(pieces(question.reference)))
            for question, answer in zip(test.questions, test.answers[case.responder], strict=True)
        ],
        np.float64,
    )
    sums = group_sums(parts, test.groups())
    found = float(ratio(parts.sum(axis=0)))
    low, high = percentiles(ratio(resampled(sums, case.config.bootstrap, case.config.seed)))
    passed = None if len(sums) < LEAST_GROUPS else _fits(low, high)
    cure = "" if passed else f"length.{'long' if found > 1 else 'short'}.do"
    evidence = case.texts(
        "length.evidence",
        ratio=f"{found:.2f}",
        low=f"{low:.2f}",
        high=f"{high:.2f}",
        questions=len(parts),
        most=f"{_FACTOR:g}",
        least=f"{1 / _FACTOR:g}",
    )
    numbers = {"ratio": found, "interval": [low, high], "questions": len(parts)}
    prescription = case.texts(cure) if cure else ""
    return Gate("length", case.responder, passed, evidence, prescription, numbers)


def _fits(low: float, high: float) -> bool | None:
    """Inside the bounds, outside, or across one of them."""
    if low > _FACTOR or high < 1 / _FACTOR:
        return False
    return True if low >= 1 / _FACTOR and high <= _FACTOR else None
