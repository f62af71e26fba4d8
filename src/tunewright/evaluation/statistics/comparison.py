"""One responder against another on the same questions, under every metric."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np

from tunewright.evaluation.statistics.bootstrap import (
    Floats,
    clustered_error,
    group_sums,
    percentiles,
    ratio,
    resampled,
)
from tunewright.evaluation.statistics.significance import mcnemar, sign_test

Total = Callable[[Floats], Floats]
"""A metric from its sums over questions: ``(…, k)`` → ``(…)``."""


@dataclass(frozen=True)
class Column:
    """One responder's answers under one metric.

    Attributes:
        values: of each answer by itself; NaN where the metric has nothing to say. (questions,)
        parts: what is summed over questions; zeros where there is no value. (questions, k)
        total: the metric from sums of ``parts``.
    """

    values: Floats
    parts: Floats
    total: Total = ratio

    @property
    def score(self) -> float:
        """The metric over all questions."""
        return float(self.total(self.parts.sum(axis=0)))


def mean_column(values: Sequence[float]) -> Column:
    """A metric that is the mean of its values; NaN where there is none."""
    array = np.asarray(values, np.float64)
    there = np.isfinite(array)
    return Column(array, np.stack([np.where(there, array, 0.0), there.astype(np.float64)], axis=1))


@dataclass(frozen=True, slots=True)
class Comparison:
    """One responder against the baseline on the same questions, one metric.

    Attributes:
        questions: that the metric has something to say about.
        groups: of related questions among them.
        baseline: the first responder's score.
        score: the other's.
        delta: score − baseline.
        low: lower end of the paired 95 % interval of ``delta``.
        high: its upper end.
        wins: questions answered better than by the baseline.
        ties: as well.
        losses: worse.
        p: exact sign test over groups; those that are even are left out.
        standard_error: of ``delta``, with groups as clusters.
        mcnemar: exact p over single questions, of metrics that are 0 or 1.
        sign: 1 where more is better, −1 where less is.
    """

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
    standard_error: float
    mcnemar: float | None = None
    sign: int = 1

    @property
    def interval(self) -> tuple[float, float]:
        """The paired 95 % interval of ``delta``."""
        return self.low, self.high

    @property
    def gain(self) -> float:
        """How much better, whichever direction is."""
        return self.sign * self.delta

    @property
    def gain_interval(self) -> tuple[float, float]:
        """The interval of ``gain``."""
        low, high = sorted((self.sign * self.low, self.sign * self.high))
        return low, high


@dataclass(frozen=True, slots=True)
class Pair:
    """Both responders' answers under one metric."""

    baseline: Column
    challenger: Column
    binary: bool = False
    sign: int = 1


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
    pair = Pair(mean_column(baseline), mean_column(scores))
    return compare_all({"": pair}, groups, resamples, seed)[""]


def compare_all(
    pairs: Mapping[str, Pair], groups: Sequence[str], resamples: int, seed: int
) -> dict[str, Comparison]:
    """Compare two responders under several metrics; one draw of groups serves them all.

    The order of the questions does not matter.

    Raises:
        ValueError: when there are no questions, or columns of unequal length.
    """
    columns = [column for pair in pairs.values() for column in (pair.baseline, pair.challenger)]
    if not len(groups) or any(len(column.values) != len(groups) for column in columns):
        raise ValueError("scores and groups must be equally long and not empty")
    sums = group_sums(np.concatenate([column.parts for column in columns], axis=1), groups)
    draws = resampled(sums, resamples, seed)
    ends = [0, *accumulate(column.parts.shape[1] for column in columns)]
    found: dict[str, Comparison] = {}
    for number, (name, pair) in enumerate(pairs.items()):
        first, middle, last = ends[2 * number : 2 * number + 3]
        drawn = pair.challenger.total(draws[:, middle:last]) - pair.baseline.total(
            draws[:, first:middle]
        )
        found[name] = _compared(pair, drawn, groups)
    return found


def _compared(pair: Pair, drawn: Floats, groups: Sequence[str]) -> Comparison:
    difference = pair.sign * (pair.challenger.values - pair.baseline.values)
    there = np.isfinite(difference)
    weights = np.stack([np.where(there, difference, 0.0), there.astype(np.float64)], axis=1)
    sums, sizes = group_sums(weights, groups).T
    # Float noise in a score must not turn a tie into a win.
    signs, group_signs = np.sign(np.round(difference[there], 9)), np.sign(np.round(sums, 9))
    wins, losses = int((signs > 0).sum()), int((signs < 0).sum())
    low, high = percentiles(drawn)
    parts = pair.baseline.parts
    mean = pair.baseline.total is ratio and bool(np.isin(parts[:, 1], (0.0, 1.0)).all())
    return Comparison(
        questions=int(there.sum()),
        groups=int((sizes > 0).sum()),
        baseline=pair.baseline.score,
        score=pair.challenger.score,
        delta=pair.challenger.score - pair.baseline.score,
        low=low,
        high=high,
        wins=wins,
        ties=int((signs == 0).sum()),
        losses=losses,
        p=sign_test(int((group_signs > 0).sum()), int((group_signs < 0).sum())),
        standard_error=clustered_error(sums, sizes) if mean else float(np.std(drawn)),
        mcnemar=mcnemar(wins, losses) if pair.binary else None,
        sign=pair.sign,
    )
