"""How many questions it takes to see a difference."""

from __future__ import annotations

import math

from tunewright.evaluation.statistics.comparison import Comparison
from tunewright.evaluation.statistics.proportions import LEVEL_Z
from tunewright.evaluation.statistics.significance import least_wins

POWER_Z = 0.8416212335729143
"""Normal quantile of 80 % power."""


def questions_needed(comparison: Comparison, gain: float) -> int:
    """Questions in all for 80 % power to show ``gain`` at the 95 % level, at the same spread.

    n = ((z95 + z80) · sd / gain)², sd being the per-question spread of the differences. When
    too few answers differ to estimate it, at least three differing questions are assumed (the
    rule of three's upper bound for an event not seen yet).
    """
    questions = comparison.questions
    floor = 3.0 / questions
    error = comparison.standard_error
    variance = error**2 * questions if math.isfinite(error) else 1.0
    return math.ceil((LEVEL_Z + POWER_Z) ** 2 * max(variance, floor) / gain**2)


def power(decided: int, share: float) -> float:
    """How likely the sign test at 5 % is to say so when ``share`` of the decided are wins."""
    needed = least_wins(decided)
    if needed is None:
        return 0.0
    log_all = math.lgamma(decided + 1)
    return math.fsum(
        math.exp(
            log_all
            - math.lgamma(k + 1)
            - math.lgamma(decided - k + 1)
            + k * math.log(share)
            + (decided - k) * math.log1p(-share)
        )
        for k in range(needed, decided + 1)
    )
