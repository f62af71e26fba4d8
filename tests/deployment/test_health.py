"""The health rule over hand-made times."""

from __future__ import annotations

from tunewright.config.deployment import HealthConfig
from tunewright.deployment.health import Health


class Clock:
    """Time that a test moves."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_the_share_of_failures_counts_once_there_are_enough_requests() -> None:
    health = Health(HealthConfig(error_share=0.5, least=4), Clock())
    for seconds in (None, None, None):
        health.note(seconds)
    assert health.complaint() is None
    health.note(0.1)
    assert health.complaint() == "3 of 4 requests in 60 s got no answer"
    for _ in range(3):
        health.note(0.1)
    assert health.complaint() is None
    health.note(None)
    assert health.complaint() is not None


def test_what_is_older_than_the_window_counts_no_more() -> None:
    clock = Clock()
    health = Health(HealthConfig(error_share=0.5, least=2, window=10), clock)
    health.note(None)
    health.note(None)
    clock.now += 9.9
    assert health.complaint() is not None
    clock.now += 0.1
    assert health.complaint() is None


def test_the_slowest_twentieth_may_be_slow() -> None:
    health = Health(HealthConfig(p95_seconds=1.0, least=20), Clock())
    for seconds in [0.5] * 19 + [30.0]:
        health.note(seconds)
    assert health.complaint() is None
    health.note(31.0)
    assert "95 %" in str(health.complaint())
    health.forget()
    assert health.complaint() is None


def test_without_a_rule_nothing_is_kept() -> None:
    health = Health(HealthConfig(), Clock())
    for _ in range(100):
        health.note(None)
    assert health.complaint() is None
