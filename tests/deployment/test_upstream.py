"""Pauses between starts, and the refusal of models that do not fit their base."""

from tunewright.deployment.upstream import pause_after


def test_the_first_death_costs_nothing_and_later_ones_ever_more() -> None:
    assert [pause_after(n) for n in range(1, 6)] == [0, 1, 3, 7, 15]
    assert pause_after(10) == pause_after(10_000) == 60
