"""Paired accuracies against published figures, and in simulations."""

from __future__ import annotations

import numpy as np
import pytest

from tunewright.evaluation.statistics.paired import Paired, questions_to_rule_out
from tunewright.evaluation.statistics.significance import mcnemar


def test_outcomes_are_counted() -> None:
    seen = Paired.of([True, True, False, False, True], [True, False, True, False, True])
    assert (seen.both, seen.lost, seen.gained, seen.neither) == (2, 1, 1, 1)
    assert (seen.before, seen.after, seen.delta) == (0.6, 0.6, 0.0)
    assert seen.p == mcnemar(1, 1) == 1.0
    for first, second in (([], []), ([True], [True, False])):
        with pytest.raises(ValueError, match="equally many"):
            Paired.of(first, second)


@pytest.mark.parametrize(
    ("table", "low", "high"),
    # Newcombe (1998), Statistics in Medicine 17:2635, table II, method 10.
    [((36, 2, 12, 0), 0.0569, 0.3404), ((36, 0, 14, 0), 0.1528, 0.4167)],
)
def test_intervals_are_the_published_ones(
    table: tuple[int, int, int, int], low: float, high: float
) -> None:
    assert Paired(*table).interval == pytest.approx((low, high), abs=1e-4)


@pytest.mark.parametrize("count", [5, 20, 60, 1000])
def test_nothing_lost_is_not_certainty(count: int) -> None:
    low, high = Paired(count, 0, 0, 0).interval
    assert low == -high
    # Below the rule of three's 3 / n, which is one-sided, and never above it by much.
    assert 1.5 / count < high < 5 / count


@pytest.mark.parametrize(("before", "lost", "gained"), [(0.9, 0.08, 0.04), (0.6, 0.15, 0.15)])
def test_the_interval_covers_the_truth(before: float, lost: float, gained: float) -> None:
    random = np.random.default_rng(11)
    chances = [before - lost, lost, gained, 1 - before - gained]
    tables = random.multinomial(160, chances, size=1000)
    covered = 0
    for table in tables:
        low, high = Paired(*map(int, table)).interval
        covered += low <= gained - lost <= high
    assert 0.93 <= covered / 1000 <= 0.97


def test_a_loss_of_the_whole_margin_is_hardly_ever_ruled_out() -> None:
    """The error that matters: 2.5 % in theory, as the interval has two sides."""
    random = np.random.default_rng(12)
    tables = random.multinomial(160, [0.78, 0.12, 0.02, 0.08], size=1000)
    ruled_out = sum(Paired(*map(int, table)).interval[0] > -0.1 for table in tables)
    assert ruled_out / 1000 <= 0.035


def test_the_number_of_questions_asked_for_does_it() -> None:
    seen = Paired(137, 8, 4, 11)  # two and a half points down, of 160
    needed = questions_to_rule_out(seen, 0.05)
    assert needed is not None
    random = np.random.default_rng(13)
    chances = np.array([seen.both, seen.lost, seen.gained, seen.neither]) / seen.questions
    tables = random.multinomial(needed, chances, size=400)
    ruled_out = sum(Paired(*map(int, table)).interval[0] > -0.05 for table in tables)
    assert 0.72 <= ruled_out / 400 <= 0.9
    assert questions_to_rule_out(Paired(80, 20, 0, 0), 0.1) is None
    assert questions_to_rule_out(Paired(100, 0, 0, 0), 0.1) == 24  # three differing are assumed
