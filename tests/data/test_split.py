"""Splits: whole groups, the same every time, unmoved by new rows."""

from __future__ import annotations

from collections import Counter

import pytest

from tunewright.config.data import SplitConfig
from tunewright.core.errors import DataError
from tunewright.data.split import assign, held_topics

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


def test_every_class_is_measured_where_it_has_enough_groups() -> None:
    labels = {group: "rare" if n % 100 == 0 else "common" for n, group in enumerate(GROUPS)}
    labels |= {GROUPS[n]: "once" for n in range(1, 6)}
    chosen = assign(GROUPS, SplitConfig(dev=0.001, test=0.001), labels=labels)
    counts = Counter((labels[group], split) for group, split in chosen.items())
    assert counts["rare", "test"] >= 1
    assert counts["rare", "dev"] >= 1
    assert counts["common", "test"] >= 1
    assert sum(counts["once", split] for split in ("train", "dev", "test")) == 5


def test_topics_are_held_back_whole_and_by_their_own_names() -> None:
    names = [f"topic {n}" for n in range(200)]
    held = held_topics(names, SplitConfig(topics=0.1))
    assert 10 <= len(held) <= 32
    assert held_topics([*names, "another"], SplitConfig(topics=0.1)) >= held
    assert held_topics(names, SplitConfig(topics=0.1, seed=1)) != held
    assert len(held_topics(names[:3], SplitConfig(topics=0.001))) == 1
    assert held_topics(names, SplitConfig()) == frozenset()
    with pytest.raises(DataError, match="rows name 2 topics"):
        held_topics(["a", "b", "a"], SplitConfig(topics=0.1))
