"""Splits: whole groups, the same every time, unmoved by new rows."""

from __future__ import annotations

from collections import Counter

import pytest

from tunewright.config.data import SplitConfig
from tunewright.data.general import bundled_general, sample_general
from tunewright.data.records import Draft, Turn
from tunewright.data.split import assign

GROUPS = [f"group {number}" for number in range(4000)]


def test_shares_are_met_and_the_same_every_time() -> None:
    first = assign(GROUPS, SplitConfig())
    counts = Counter(first.values())
    assert first == assign(reversed(GROUPS), SplitConfig())
    assert 320 < counts["test"] < 480
    assert 140 < counts["dev"] < 260
    assert assign(GROUPS, SplitConfig(seed=1)) != first


def test_appended_groups_move_none_of_the_old_ones() -> None:
    before = assign(GROUPS[:1000], SplitConfig())
    after = assign(GROUPS, SplitConfig())
    assert all(after[group] == split for group, split in before.items())


@pytest.mark.parametrize("count", [10, 11, 20, 60])
def test_small_sets_hold_something_back(count: int) -> None:
    for start in range(0, 400, 40):
        chosen = Counter(assign(GROUPS[start : start + count], SplitConfig()).values())
        assert min(chosen["train"], chosen["dev"], chosen["test"]) >= 1


@pytest.mark.parametrize("count", [1, 2, 9])
def test_tiny_sets_are_all_learned_from(count: int) -> None:
    assert set(assign(GROUPS[:count], SplitConfig(test=0.5)).values()) == {"train"}


def test_shares_of_zero_hold_nothing_back() -> None:
    assert set(assign(GROUPS, SplitConfig(dev=0, test=0)).values()) == {"train"}
    assert "test" not in assign(GROUPS, SplitConfig(), with_test=False).values()


def pool(size: int) -> list[Draft]:
    turns = (Turn("user", "q"), Turn("assistant", "a"))
    return [Draft(turns, "g", n, f"group {n}", None, "general") for n in range(size)]


def test_general_rows_are_drawn_by_seed_and_avoid_held_back_groups() -> None:
    def drawn(wanted: int, seed: int = 0) -> list[int]:
        held = frozenset({"group 3"})
        rows = sample_general(
            pool(100), wanted, seed, held, lambda drafts: [d.number % 10 != 7 for d in drafts]
        )
        return [row.number for row in rows]

    assert drawn(30) == sorted(drawn(30))
    assert len(drawn(30)) == 30
    assert drawn(30) != drawn(30, seed=1)
    assert set(drawn(30)) < set(drawn(40))
    assert drawn(500) == [n for n in range(100) if n != 3 and n % 10 != 7]


def test_the_bundled_general_rows_are_conversations() -> None:
    rows = bundled_general()
    assert len(rows) > 100
    assert all(row.origin == "general" and row.row().conversation.answer for row in rows[:200])
