"""The bootstrap: against scipy, against simulation, and for every shape of metric."""

from __future__ import annotations

import numpy as np
import pytest

from tunewright.evaluation.statistics.bootstrap import (
    bootstrap_interval,
    cluster_sums,
    group_sums,
    percentiles,
    ratio,
    resampled,
)
from tunewright.evaluation.statistics.comparison import (
    Column,
    Pair,
    compare,
    compare_all,
    mean_column,
)


def test_the_interval_is_scipys() -> None:
    values = np.random.default_rng(5).normal(0.1, 0.5, 80)
    assert values[0] == pytest.approx(-0.30096571)
    sums, sizes = cluster_sums(values, [str(n) for n in range(80)])
    # scipy.stats.bootstrap(method="percentile", n_resamples=20000), another random stream.
    wanted = (-0.08414388567623228, 0.11528642242052799)
    assert bootstrap_interval(sums, sizes, 20_000, 0) == pytest.approx(wanted, abs=0.006)


def test_it_covers_the_truth_as_often_as_it_says() -> None:
    """A thousand comparisons of 0/1 answers in 120 groups of three."""
    random = np.random.default_rng(3)
    groups, size, truth = 120, 3, 0.1
    names = [str(n // size) for n in range(groups * size)]
    covered = 0
    for trial in range(1000):
        easy = np.repeat(random.normal(0, 0.15, groups), size)
        before = random.random(groups * size) < np.clip(0.5 + easy, 0, 1)
        after = random.random(groups * size) < np.clip(0.5 + truth + easy, 0, 1)
        difference = after.astype(np.float64) - before
        low, high = bootstrap_interval(*cluster_sums(difference, names), 400, trial)
        covered += low <= truth <= high
    assert 0.93 <= covered / 1000 <= 0.97


def test_draws_in_pieces_are_whole_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    sums = np.ones((7, 1))
    assert (resampled(sums, 50, 0) == 7).all()
    monkeypatch.setattr("tunewright.evaluation.statistics.bootstrap._CELLS", 21)
    assert resampled(sums, 50, 0).shape == (50, 1)
    assert (resampled(sums, 50, 0) == 7).all()


def test_sums_over_groups_do_not_depend_on_the_order() -> None:
    parts = np.array([[1.0, 1], [2, 1], [4, 1], [8, 1]])
    names = ["b", "a", "b", "c"]
    wanted = [[2, 1], [5, 2], [8, 1]]
    assert group_sums(parts, names).tolist() == wanted
    order = [3, 1, 0, 2]
    assert group_sums(parts[order], [names[n] for n in order]).tolist() == wanted


def test_a_comparison_does_not_depend_on_the_order_of_questions() -> None:
    random = np.random.default_rng(1)
    before, after = random.random(60).tolist(), random.random(60).tolist()
    names = [str(n // 2) for n in range(60)]
    order = random.permutation(60).tolist()
    straight = compare(before, after, names, 500, 0)
    shuffled = compare(
        [before[n] for n in order], [after[n] for n in order], [names[n] for n in order], 500, 0
    )
    assert shuffled.interval == pytest.approx(straight.interval)
    assert (shuffled.wins, shuffled.losses, shuffled.p) == (
        straight.wins,
        straight.losses,
        straight.p,
    )


def test_metrics_that_are_more_than_means_are_weighed_by_their_parts() -> None:
    """One long answer weighs more than three short ones."""
    parts = np.array([[9.0, 10], [0, 1], [0, 1], [0, 1]])
    column = Column(np.array([0.9, 0, 0, 0]), parts)
    assert column.score == pytest.approx(9 / 13)
    other = Column(np.zeros(4), parts * [0, 1])
    seen = compare_all({"m": Pair(other, column)}, list("abcd"), 2000, 0)["m"]
    assert seen.delta == pytest.approx(9 / 13)
    assert seen.low == 0, "a sample without the long answer gains nothing"
    assert seen.high == pytest.approx(27 / 31), "three long ones and a short one"


def test_less_is_better_where_that_is_so() -> None:
    before, after = mean_column([3.0] * 20), mean_column([2.0] * 20)
    names = [str(n) for n in range(20)]
    seen = compare_all({"perplexity": Pair(before, after, sign=-1)}, names, 200, 0)["perplexity"]
    assert (seen.delta, seen.gain) == (-1, 1)
    assert seen.gain_interval == (1, 1)
    assert (seen.wins, seen.losses) == (20, 0)


def test_questions_without_a_value_count_for_nothing() -> None:
    nothing = float("nan")
    before = mean_column([0, nothing, 0, nothing])
    after = mean_column([1, nothing, 1, 1])
    seen = compare_all({"m": Pair(before, after, binary=True)}, list("abcd"), 500, 0)["m"]
    assert (seen.questions, seen.groups, seen.wins, seen.ties) == (2, 2, 2, 0)
    assert seen.mcnemar == 0.5
    assert seen.standard_error == 0


def test_nothing_to_draw_from_is_no_interval() -> None:
    assert percentiles(ratio(np.zeros((5, 2)))) == (-np.inf, np.inf)
