"""Exact tests, and what several of them at once are worth."""

from __future__ import annotations

import math
from collections.abc import Mapping

SIGNIFICANCE = 0.05


def sign_test(wins: int, losses: int) -> float:
    """Two-sided exact p of ``wins`` against ``losses`` under fair coins; ties are left out."""
    total = wins + losses
    if total == 0:
        return 1.0
    log_half = total * math.log(2)
    log_all = math.lgamma(total + 1)
    tail = math.fsum(
        math.exp(log_all - math.lgamma(k + 1) - math.lgamma(total - k + 1) - log_half)
        for k in range(max(wins, losses), total + 1)
    )
    return min(1.0, 2 * tail)


def mcnemar(gained: int, lost: int) -> float:
    """Exact two-sided p that two accuracies on the same questions differ (McNemar 1947).

    Questions that both answer right, or both wrong, say nothing. The questions count as
    independent; where they come in groups, the sign test over groups is the one to read.

    Args:
        gained: questions that only the second answers right.
        lost: questions that only the first answers right.
    """
    return sign_test(gained, lost)


def least_wins(decided: int, level: float = SIGNIFICANCE) -> int | None:
    """The fewest wins of so many decided questions whose sign test is below ``level``.

    None where not even winning all of them would do (fewer than six at 5 %).
    """
    for wins in range(decided // 2, decided + 1):
        if sign_test(wins, decided - wins) < level and 2 * wins > decided:
            return wins
    return None


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """Adjusted p values: the chance of one false alarm among all of them stays below each.

    Holm (1979), "A simple sequentially rejective multiple test procedure".
    """
    ordered = sorted(p_values, key=lambda name: p_values[name])
    adjusted: dict[str, float] = {}
    largest = 0.0
    for rank, name in enumerate(ordered):
        largest = max(largest, min(1.0, (len(ordered) - rank) * p_values[name]))
        adjusted[name] = largest
    return {name: adjusted[name] for name in p_values}
