"""Canaries: the exact test against counting, the share of false alarms, who gets which model."""

from __future__ import annotations

import random
from fractions import Fraction
from math import comb

import pytest

from tunewright.config.deployment import CanaryConfig
from tunewright.deployment.canary import Trial, fails_more, position


def counted(failed: int, of: int, others_failed: int, others: int) -> Fraction:
    """The tail of the hypergeometric distribution in whole numbers."""
    failures = failed + others_failed
    ways = sum(
        comb(failures, k) * comb(of + others - failures, of - k)
        for k in range(failed, min(of, failures) + 1)
    )
    return Fraction(ways, comb(of + others, of))


@pytest.mark.parametrize(
    "table", [(3, 10, 1, 90), (0, 20, 0, 20), (5, 5, 5, 5), (20, 20, 0, 400), (1, 40, 39, 40)]
)
def test_the_exact_test_is_exact(table: tuple[int, int, int, int]) -> None:
    assert fails_more(*table) == pytest.approx(float(counted(*table)), rel=1e-9)


def test_every_small_table_agrees_with_counting() -> None:
    for of in range(1, 7):
        for others in range(1, 7):
            for failed in range(of + 1):
                for others_failed in range(others + 1):
                    table = (failed, of, others_failed, others)
                    assert fails_more(*table) == pytest.approx(float(counted(*table)), rel=1e-9)


def run(trial: Trial, draw: random.Random, canary: float, model: float, requests: int) -> bool:
    """Whether a canary with these shares of failures is taken back."""
    for _ in range(requests):
        tried = draw.random() < 0.2
        trial.note(tried, draw.random() < (canary if tried else model))
    return trial.verdict is not None


def test_a_canary_as_good_as_its_model_is_taken_back_no_more_often_than_said() -> None:
    draw = random.Random(5)
    config = CanaryConfig(level=0.2, least=10)
    alarms = sum(run(Trial(config), draw, 0.2, 0.2, 1500) for _ in range(300))
    # At most 60 are expected; 86 or more with a chance of 1e-4.
    assert alarms < 86


def test_a_broken_canary_is_found_at_the_first_look() -> None:
    trial = Trial(CanaryConfig(least=20))
    for _ in range(60):
        trial.note(canary=False, failed=False)
    for _ in range(19):
        trial.note(canary=True, failed=True)
    assert trial.verdict is None
    trial.note(canary=True, failed=True)
    assert "20 of 20" in str(trial.verdict)


def test_a_canary_no_worse_than_a_failing_model_stays() -> None:
    trial = Trial(CanaryConfig(least=5))
    for _ in range(200):
        trial.note(canary=False, failed=True)
        trial.note(canary=True, failed=True)
    assert trial.verdict is None


def test_places_are_even_and_stay() -> None:
    draw = random.Random(1)
    places = [position("a", f"user {number}", draw) for number in range(2000)]
    assert places == [position("a", f"user {number}", draw) for number in range(2000)]
    for tenth in range(10):
        share = sum(tenth / 10 <= place < (tenth + 1) / 10 for place in places)
        assert 140 < share < 265, "200 are expected; outside with a chance below 1e-5"
    assert places != [position("b", f"user {number}", draw) for number in range(2000)]
    assert position("a", None, draw) != position("a", None, draw)
