"""Statistics of paired answers to the same questions.

Rows of one group (rewordings of one situation, say) are not independent, so groups, not rows,
are resampled (Miller 2024, "Adding Error Bars to Evals", arXiv 2411.00640).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

LEVEL_Z = 1.959963984540054
"""Normal quantile of a two-sided 95 % interval."""
POWER_Z = 0.8416212335729143
"""Normal quantile of 80 % power."""
_CELLS = 4_000_000  # drawn groups held at once: 32 MB


@dataclass(frozen=True, slots=True)
class Comparison:
    """One responder against the baseline on the same questions, one metric."""

    questions: int
    groups: int
    baseline: float
    score: float
    delta: float
    low: float
    high: float
    wins: int
    ties: int
    losses: int
    p: float
    """Exact sign test over groups."""
    standard_error: float
    """Of ``delta``, with groups as clusters."""

    @property
    def interval(self) -> tuple[float, float]:
        """The paired 95 % interval of ``delta``."""
        return self.low, self.high


def compare(
    baseline: Sequence[float],
    scores: Sequence[float],
    groups: Sequence[str],
    resamples: int,
    seed: int,
) -> Comparison:
    """Compare two score lists, each (questions,), question by question.

    Args:
        groups: (questions,) label of what belongs together.
        resamples: bootstrap resamples.
        seed: of the resampling; the same inputs and seed give the same interval.

    Raises:
        ValueError: when the lists are empty or of unequal length.
    """
    if not (len(baseline) == len(scores) == len(groups)) or not len(scores):
        raise ValueError("baseline, scores and groups must be equally long and not empty")
    before, after = np.asarray(baseline, np.float64), np.asarray(scores, np.float64)
    difference = after - before
    sums, sizes = cluster_sums(difference, groups)
    low, high = bootstrap_interval(sums, sizes, resamples, seed)
    # Float noise in char_f1 must not turn a tie into a win.
    signs = np.sign(np.round(difference, 9))
    group_signs = np.sign(np.round(sums, 9))
    return Comparison(
        questions=len(difference),
        groups=len(sums),
        baseline=float(before.mean()),
        score=float(after.mean()),
        delta=float(difference.mean()),
        low=low,
        high=high,
        wins=int((signs > 0).sum()),
        ties=int((signs == 0).sum()),
        losses=int((signs < 0).sum()),
        p=sign_test(int((group_signs > 0).sum()), int((group_signs < 0).sum())),
        standard_error=clustered_error(sums, sizes),
    )


def cluster_sums(values: Floats, groups: Sequence[str]) -> tuple[Floats, Floats]:
    """Sum and number of ``values`` (questions,) in each group, both (groups,)."""
    _, index = np.unique(np.asarray(groups, dtype=object).astype(str), return_inverse=True)
    sums = np.bincount(index, weights=values).astype(np.float64)
    return sums, np.bincount(index).astype(np.float64)


def bootstrap_interval(
    sums: Floats, sizes: Floats, resamples: int, seed: int
) -> tuple[float, float]:
    """95 % percentile interval of the mean over questions, whole groups resampled.

    ``sums`` and ``sizes`` are (groups,). Efron & Tibshirani (1993), chapter 13.
    """
    count = len(sums)
    random = np.random.default_rng(seed)
    step = max(1, _CELLS // count)
    means = []
    for start in range(0, resamples, step):
        drawn = random.integers(0, count, size=(min(step, resamples - start), count))
        means.append(sums[drawn].sum(axis=1) / sizes[drawn].sum(axis=1))
    low, high = np.quantile(np.concatenate(means), (0.025, 0.975))
    return float(low), float(high)


def clustered_error(sums: Floats, sizes: Floats) -> float:
    """Standard error of the mean over questions with groups as clusters.

    Miller (2024), equation 4, with the usual G / (G - 1) correction; infinite for one group.
    """
    count = len(sums)
    if count < 2:
        return math.inf
    residuals = sums - sizes * (sums.sum() / sizes.sum())
    return float(np.sqrt((residuals**2).sum() * count / (count - 1)) / sizes.sum())


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
