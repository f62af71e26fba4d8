"""Exact tests against values computed with scipy and statsmodels."""

from __future__ import annotations

import numpy as np
import pytest

from tunewright.evaluation.statistics.agreement import kappa
from tunewright.evaluation.statistics.power import power
from tunewright.evaluation.statistics.significance import holm, least_wins, mcnemar, sign_test


def test_sign_test_equals_scipys_binomtest() -> None:
    assert sign_test(15, 5) == pytest.approx(0.04138946533203125)
    assert sign_test(61, 39) == pytest.approx(0.035200200217704855)
    assert sign_test(3, 0) == pytest.approx(0.25)


@pytest.mark.parametrize(
    ("questions", "wins"), [(50, 33), (80, 50), (100, 61), (200, 115), (300, 168), (500, 273)]
)
def test_the_fewest_wins_are_known(questions: int, wins: int) -> None:
    assert least_wins(questions) == wins


def test_five_questions_can_never_be_enough() -> None:
    assert least_wins(5) is None
    assert least_wins(6) == 6


@pytest.mark.parametrize(
    ("questions", "share", "wanted"), [(100, 0.6, 0.46), (200, 0.6, 0.79), (300, 0.6, 0.93)]
)
def test_power_of_the_sign_test_is_known(questions: int, share: float, wanted: float) -> None:
    assert power(questions, share) == pytest.approx(wanted, abs=0.005)
    assert power(5, share) == 0


def test_mcnemar_equals_statsmodels() -> None:
    assert mcnemar(12, 3) == pytest.approx(0.03515625)
    assert mcnemar(121, 59) == pytest.approx(4.4344492637551645e-06)


def test_holm_equals_statsmodels() -> None:
    four = holm(dict(zip("abcd", (0.01, 0.04, 0.03, 0.005), strict=True)))
    assert list(four.values()) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert list(four) == list("abcd")
    five = holm(dict(zip("abcde", (0.02, 0.6, 0.5, 0.001, 0.04), strict=True)))
    assert list(five.values()) == pytest.approx([0.08, 1.0, 1.0, 0.005, 0.12])
    assert holm({}) == {}


def test_the_sign_test_raises_few_false_alarms() -> None:
    random = np.random.default_rng(0)
    wins = random.binomial(100, 0.5, size=2000)
    alarms = sum(sign_test(int(one), 100 - int(one)) < 0.05 for one in wins)
    assert alarms / 2000 <= 0.05


def test_kappa_equals_scikit_learn() -> None:
    first = [1, 2, 3, 3, 2, 1, 1, 3, 2, 2, 1, 3, 2, 1, 3]
    second = [1, 2, 2, 3, 1, 1, 2, 3, 3, 2, 1, 3, 2, 2, 1]
    assert kappa(first, second, (1, 2, 3)) == pytest.approx(0.4)
    assert kappa(first, second, (1, 2, 3), "linear") == pytest.approx(0.46153846153846156)
    assert kappa(first, second, (1, 2, 3), "quadratic") == pytest.approx(0.5263157894736843)
    one = ["yes"] * 25 + ["no"] * 25
    other = ["yes"] * 20 + ["no"] * 5 + ["yes"] * 10 + ["no"] * 15
    assert kappa(one, other, ("yes", "no")) == pytest.approx(0.4)


def test_kappa_at_its_ends_and_with_wrong_input() -> None:
    assert kappa("aab", "aab", "ab") == 1
    assert kappa("aaa", "aaa", "ab") == 1
    assert kappa("ab", "ba", "ab") == -1
    with pytest.raises(ValueError, match="same items"):
        kappa("a", "ab", "ab")
    with pytest.raises(ValueError, match="none of the categories"):
        kappa("a", "c", "ab")
