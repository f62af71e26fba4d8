from __future__ import annotations

import math

import numpy as np
import pytest

from tunewright.evaluation.statistics.bootstrap import (
    bootstrap_interval,
    cluster_sums,
    clustered_error,
)
from tunewright.evaluation.statistics.comparison import compare
from tunewright.evaluation.statistics.power import questions_needed
from tunewright.evaluation.statistics.proportions import proportion_interval, wilson
from tunewright.evaluation.statistics.significance import sign_test


@pytest.mark.parametrize(
    ("questions", "wins"), [(50, 33), (80, 50), (100, 61), (200, 115), (300, 168), (500, 273)]
)
def test_sign_test_needs_the_known_number_of_wins(questions: int, wins: int) -> None:
    assert sign_test(wins, questions - wins) < 0.05
    assert sign_test(wins - 1, questions - wins + 1) > 0.05


def test_sign_test_is_the_binomial_tail() -> None:
    exact = 2 * sum(math.comb(17, k) for k in range(13, 18)) / 2**17
    assert sign_test(13, 4) == pytest.approx(exact, rel=1e-12)
    assert sign_test(4, 13) == sign_test(13, 4)
    assert sign_test(0, 0) == 1
    assert sign_test(5, 5) == 1
    assert 0 < sign_test(60_000, 58_000) < 1e-8


def test_wilson_known_values() -> None:
    assert wilson(0.8, 10) == pytest.approx((0.4902, 0.9433), abs=1e-4)
    assert wilson(0.0, 10) == pytest.approx((0.0, 0.2775), abs=1e-4)
    assert wilson(1.0, 10) == pytest.approx((0.7225, 1.0), abs=1e-4)


def test_repeated_rows_in_a_group_add_no_certainty() -> None:
    values = [1.0, 0.0, 1.0, 1.0, 0.0, 0.0, 1.0, 1.0, 0.0, 1.0] * 3
    names = [f"g{i}" for i in range(len(values))]
    once = proportion_interval(values, names)
    thrice = proportion_interval(values * 3, names * 3)
    # The G / (G - 1) correction leaves a little room.
    assert thrice == pytest.approx(once, abs=0.01)
    zero = [0.0] * len(values)
    single = compare(zero, values, names, 500, 0)
    triple = compare(zero * 3, values * 3, names * 3, 500, 0)
    assert triple.interval == single.interval
    assert triple.standard_error == pytest.approx(single.standard_error)
    assert triple.p == single.p


def test_clustered_error_of_single_rows_is_the_usual_one() -> None:
    values = np.asarray([0.1, 0.7, 0.4, 1.0, 0.2])
    sums, sizes = cluster_sums(values, list("abcde"))
    assert clustered_error(sums, sizes) == pytest.approx(values.std(ddof=1) / math.sqrt(5))
    assert clustered_error(*cluster_sums(values, list("aaaaa"))) == math.inf


def test_compare_counts_and_is_repeatable() -> None:
    before, after = [0, 1, 0, 1, 0.5], [1, 1, 0, 0, 0.5 + 1e-13]
    seen = compare(before, after, list("aabbc"), 300, seed=5)
    assert (seen.wins, seen.ties, seen.losses) == (1, 3, 1)
    assert (seen.questions, seen.groups) == (5, 3)
    assert seen.delta == pytest.approx(0)
    assert seen.low <= seen.delta <= seen.high
    assert seen == compare(before, after, list("aabbc"), 300, seed=5)


def test_compare_refuses_unequal_lists() -> None:
    with pytest.raises(ValueError, match="equally long"):
        compare([1.0], [1.0, 0.0], ["a"], 100, 0)
    with pytest.raises(ValueError, match="not empty"):
        compare([], [], [], 100, 0)


def test_interval_covers_the_truth_about_95_times_in_100() -> None:
    random = np.random.default_rng(0)
    truth, trials, covered = 0.2, 300, 0
    for trial in range(trials):
        # 60 groups of 1 to 4 rows, correlated within a group.
        sizes = random.integers(1, 5, size=60)
        effects = random.normal(0, 0.3, size=60)
        groups = np.repeat(np.arange(60), sizes)
        values = truth + effects[groups] + random.normal(0, 0.3, size=len(groups))
        sums, counts = cluster_sums(values, [str(g) for g in groups])
        low, high = bootstrap_interval(sums, counts, 400, trial)
        covered += low <= truth <= high
    assert 0.91 <= covered / trials <= 0.98


def test_questions_needed_is_the_power_formula() -> None:
    # Differences of -1, 0, 1 with a known spread: sd² = 0.5 up to the n - 1 correction.
    after = [1.0, 0.0, 0.0, 0.0] * 50
    before = [0.0, 1.0, 0.0, 0.0] * 50
    seen = compare(before, after, [str(i) for i in range(200)], 100, 0)
    wanted = (1.959964 + 0.841621) ** 2 * 0.5 * (200 / 199) / 0.1**2
    assert questions_needed(seen, 0.1) == math.ceil(wanted)


def test_questions_needed_without_a_difference_assumes_a_little_spread() -> None:
    seen = compare([1.0] * 30, [1.0] * 30, [str(i) for i in range(30)], 100, 0)
    assert questions_needed(seen, 0.05) == math.ceil((1.959964 + 0.841621) ** 2 * 0.1 / 0.05**2)


def test_power_holds_in_simulation() -> None:
    random = np.random.default_rng(1)
    gain, spread = 0.15, 0.6
    pilot = compare(
        [0.0] * 400, list(random.normal(gain, spread, 400)), [str(i) for i in range(400)], 100, 0
    )
    needed = questions_needed(pilot, gain)
    shown = 0
    for trial in range(200):
        values = random.normal(gain, spread, needed)
        sums, sizes = cluster_sums(values, [str(i) for i in range(needed)])
        shown += bootstrap_interval(sums, sizes, 200, trial)[0] > 0
    assert 0.68 <= shown / 200 <= 0.92
