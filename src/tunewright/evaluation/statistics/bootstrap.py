"""Bootstrap over groups of related questions, for every metric at once.

Rows of one group (rewordings of one situation, say) are not independent, so groups, not rows,
are resampled (Miller 2024, "Adding Error Bars to Evals", arXiv 2411.00640). Every metric is a
function of sums over questions: a mean is two of them, BLEU ten. So one matrix product of how often
each group was drawn with each group's sums gives every resample of every metric.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_CELLS = 4_000_000  # drawn groups held at once: 32 MB


def group_sums(parts: Floats, groups: Sequence[str]) -> Floats:
    """Sums of ``parts`` (questions, k) over each group: (groups, k)."""
    names, index = np.unique(np.asarray(groups, dtype=object).astype(str), return_inverse=True)
    sums = np.zeros((len(names), parts.shape[1]))
    np.add.at(sums, index, parts)
    return sums


def cluster_sums(values: Floats, groups: Sequence[str]) -> tuple[Floats, Floats]:
    """Sum and number of ``values`` (questions,) in each group, both (groups,)."""
    both = group_sums(np.stack([values, np.ones(len(values))], axis=1), groups)
    return both[:, 0], both[:, 1]


def resampled(sums: Floats, resamples: int, seed: int) -> Floats:
    """Sums over whole samples of groups drawn with replacement: (resamples, k).

    ``sums`` is (groups, k). Efron & Tibshirani (1993), chapter 13.
    """
    count = len(sums)
    random = np.random.default_rng(seed)
    step = max(1, _CELLS // count)
    found = []
    for start in range(0, resamples, step):
        rows = min(step, resamples - start)
        drawn = random.integers(0, count, size=(rows, count))
        drawn += np.arange(rows)[:, None] * count
        times = np.bincount(drawn.ravel(), minlength=rows * count).reshape(rows, count)
        found.append(times.astype(np.float64) @ sums)
    return np.concatenate(found)


def percentiles(draws: Floats) -> tuple[float, float]:
    """The 95 % percentile interval of resampled values; draws without a value are left out."""
    good = draws[np.isfinite(draws)]
    if not len(good):
        return -math.inf, math.inf
    low, high = np.quantile(good, (0.025, 0.975))
    return float(low), float(high)


def ratio(parts: Floats) -> Floats:
    """A mean from its sums: ``(…, 2)`` of values and weights → ``(…)``; NaN without weight."""
    with np.errstate(invalid="ignore", divide="ignore"):
        found: Floats = parts[..., 0] / parts[..., 1]
    return found


def bootstrap_interval(
    sums: Floats, sizes: Floats, resamples: int, seed: int
) -> tuple[float, float]:
    """95 % percentile interval of the mean over questions, whole groups resampled.

    ``sums`` and ``sizes`` are (groups,).
    """
    return percentiles(ratio(resampled(np.stack([sums, sizes], axis=1), resamples, seed)))


def clustered_error(sums: Floats, sizes: Floats) -> float:
    """Standard error of the mean over questions with groups as clusters.

    Miller (2024), equation 4, with the usual G / (G - 1) correction; infinite for one group.
    """
    count = int((sizes > 0).sum())
    if count < 2:
        return math.inf
    residuals = sums - sizes * (sums.sum() / sizes.sum())
    return float(np.sqrt((residuals**2).sum() * count / (count - 1)) / sizes.sum())
