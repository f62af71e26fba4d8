"""The learning rate's course, and its default by size."""

import pytest

from tunewright.config.training import OptimizerConfig
from tunewright.training.schedule import default_learning_rate, learning_rate


def test_it_rises_to_the_peak_and_falls_to_the_floor() -> None:
    config = OptimizerConfig(warmup=0.1, final=0.2)
    course = [learning_rate(step, 100, 1e-3, config) for step in range(1, 101)]
    assert course[:10] == sorted(course[:10])
    assert course[0] == pytest.approx(1e-4)
    assert max(course) == course[9] == 1e-3
    assert course[9:] == sorted(course[9:], reverse=True)
    assert 2e-4 < course[-1] < 2.1e-4


def test_the_last_step_still_learns() -> None:
    assert learning_rate(40, 40, 1e-3, OptimizerConfig()) > 0


def test_one_step_and_no_warmup_work() -> None:
    assert learning_rate(1, 1, 1e-3, OptimizerConfig()) == 1e-3
    assert 0 < learning_rate(1, 1, 1e-3, OptimizerConfig(warmup=0)) <= 1e-3


def test_the_default_falls_with_size_and_says_why() -> None:
    sizes = (4_000_000, 600_000_000, 8_000_000_000)
    rates = [default_learning_rate(size) for size in sizes]
    assert [rate for rate, _ in rates] == sorted((rate for rate, _ in rates), reverse=True)
    assert all("parameters" in reason for _, reason in rates)
