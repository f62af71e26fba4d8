"""Learned or recited: scores on training wordings, other wordings, new questions, new topics."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np

from tunewright.evaluation.asked import ALL, Asked
from tunewright.evaluation.results import Results
from tunewright.evaluation.statistics.bootstrap import (
    Floats,
    group_sums,
    percentiles,
    ratio,
    resampled,
)
from tunewright.evaluation.tiers import TIERS, Tier

Step = Literal["seen", "paraphrase", "question", "topic"]
STEPS: Final[tuple[Step, ...]] = ("seen", *TIERS)


@dataclass(frozen=True, slots=True)
class Rung:
    """A responder's score on one kind of questions, with its 95 % interval."""

    score: float
    low: float
    high: float
    questions: int

    def json(self) -> dict[str, Any]:
        """For the record."""
        return {
            "score": self.score,
            "interval": [self.low, self.high],
            "questions": self.questions,
        }


@dataclass(frozen=True, slots=True)
class Transfer:
    """Which share of what was gained on training wordings shows on other questions.

    Attributes:
        tier: of those other questions.
        seen_gain: gain over the baseline on training wordings.
        share: gain on the others, as a share of that.
        low: lower end of its 95 % interval.
        high: upper end.
        groups: independent groups of the other questions.
        gap: how much better training wordings are answered.
    """

    tier: Tier
    seen_gain: float
    share: float
    low: float
    high: float
    groups: int
    gap: float


@dataclass(frozen=True)
class Memory:
    """The steps that could be measured, and the share between the first two of them.

    Attributes:
        metric: that scores are of.
        steps: by kind of questions; those that cannot be had are missing.
        transfer: None without training wordings or without anything to compare them with.
    """

    metric: str
    steps: Mapping[Step, Rung]
    transfer: Transfer | None


def memory_of(results: Results, responder: str, tiers: Sequence[Tier]) -> Memory | None:
    """A challenger's steps; None where it was not asked any training rows.

    Other wordings are what training wordings are compared with; without any, new questions, which
    a model can only answer if it learned more than facts.
    """
    if responder not in results.seen.answers:
        return None
    metric = results.headline
    if not results.test.metric(metric).share or metric not in {
        m.name for m in results.seen.metrics
    }:
        metric = "char_f1"
    places = {tier: [n for n, one in enumerate(tiers) if one == tier] for tier in TIERS}
    sets: dict[Step, Asked] = {"seen": results.seen}
    sets |= {tier: results.test.only(chosen) for tier, chosen in places.items() if chosen}
    steps = {name: _rung(results, one, responder, metric) for name, one in sets.items()}
    others: Sequence[Tier] = [tier for tier in TIERS if tier in sets and tier != "topic"]
    transfer = None
    if others and results.baseline in results.seen.answers:
        transfer = _transfer(results, responder, metric, others[0], sets[others[0]])
    return Memory(metric, steps, transfer)


def _rung(results: Results, asked: Asked, responder: str, metric: str) -> Rung:
    low, high = asked.mean_interval(responder, metric, ALL, results.config)
    score = asked.mean(responder, metric) or 0.0
    return Rung(score, low, high, len(asked.questions))


def _transfer(results: Results, responder: str, metric: str, tier: Tier, other: Asked) -> Transfer:
    seen_gain, seen_draws = _gain(results, results.seen, responder, metric, 1)
    other_gain, other_draws = _gain(results, other, responder, metric, 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        shares = np.where(seen_draws > 0, other_draws / seen_draws, np.nan)
    low, high = percentiles(shares)
    gap = (results.seen.mean(responder, metric) or 0.0) - (other.mean(responder, metric) or 0.0)
    return Transfer(
        tier,
        seen_gain,
        other_gain / seen_gain if seen_gain > 0 else 0.0,
        *((low, high) if math.isfinite(low) else (0.0, 1.0)),
        len(set(other.groups())),
        gap,
    )


def _gain(
    results: Results, asked: Asked, responder: str, metric: str, shift: int
) -> tuple[float, Floats]:
    """A challenger's gain over the baseline, and resamples of it; both sets are drawn apart."""
    before = asked.column(results.baseline, metric)
    after = asked.column(responder, metric)
    config = results.config
    draws = [
        ratio(resampled(group_sums(one.parts, asked.groups()), config.bootstrap, seed))
        for one in (before, after)
        for seed in (config.seed + shift,)
    ]
    return after.score - before.score, draws[1] - draws[0]
