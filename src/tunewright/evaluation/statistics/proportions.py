"""Intervals of shares: how many of so many."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from tunewright.evaluation.statistics.bootstrap import cluster_sums, clustered_error

LEVEL_Z = 1.959963984540054
"""Normal quantile of a two-sided 95 % interval."""


def wilson(share: float, questions: float) -> tuple[float, float]:
    """95 % interval of a proportion (Wilson 1927) seen in ``questions`` independent trials."""
    z2 = LEVEL_Z**2
    centre = (share + z2 / (2 * questions)) / (1 + z2 / questions)
    spread = share * (1 - share) / questions + z2 / (4 * questions**2)
    half = LEVEL_Z * math.sqrt(spread) / (1 + z2 / questions)
    return max(0.0, centre - half), min(1.0, centre + half)


def proportion_interval(values: Sequence[float], groups: Sequence[str]) -> tuple[float, float]:
    """Wilson's interval for 0/1 ``values`` (questions,) that come in ``groups``.

    The number of questions is divided by the design effect, the ratio of the clustered to the
    independent variance (Dean & Pagano 2015, doi:10.1093/jssam/smv024), never below 1.
    """
    array = np.asarray(values, np.float64)
    share, questions = float(array.mean()), float(len(array))
    sums, sizes = cluster_sums(array, groups)
    independent = share * (1 - share) / questions
    if independent == 0 or len(sums) < 2:
        return wilson(share, len(sums))
    effect = max(1.0, clustered_error(sums, sizes) ** 2 / independent)
    return wilson(share, questions / effect)
