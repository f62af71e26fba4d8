"""Mixing other sets into training: how many rows, and which."""

from __future__ import annotations

import pytest

from tunewright.core.errors import ConfigError
from tunewright.data.mix import bundled_general, draw, wanted_rows
from tunewright.data.records import Draft, Turn


def pool(size: int) -> list[Draft]:
    turns = (Turn("user", "q"), Turn("assistant", "a"))
    return [Draft(turns, "g", n, f"group {n}", None, "general") for n in range(size)]


def test_a_percentage_is_a_share_of_all_training_rows() -> None:
    assert wanted_rows({"general": "10%"}, 90) == {"general": 10}
    assert wanted_rows({"general": "75%"}, 400) == {"general": 1200}
    assert wanted_rows({"general": "0%"}, 400) == {"general": 0}
    assert wanted_rows({"a": "25%", "b": "25 %"}, 100) == {"a": 50, "b": 50}
    assert wanted_rows({"a": "20%", "b": "7"}, 80) == {"a": 20, "b": 7}


@pytest.mark.parametrize("text", ["ten", "-5%", "-3", "%", "0.5", ""])
def test_other_values_are_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="neither a share nor a number"):
        wanted_rows({"general": text}, 10)


def test_shares_must_leave_room_for_the_own_rows() -> None:
    with pytest.raises(ConfigError, match="make 120 % of all"):
        wanted_rows({"a": "60%", "b": "60%"}, 10)


def test_rows_are_drawn_by_seed_and_avoid_held_back_groups() -> None:
    def drawn(wanted: int, seed: int = 0) -> list[int]:
        held = frozenset({"group 3"})
        rows = draw(pool(100), wanted, seed, held, lambda some: [d.number % 10 != 7 for d in some])
        return [row.number for row in rows]

    assert drawn(30) == sorted(drawn(30))
    assert len(drawn(30)) == 30
    assert drawn(30) != drawn(30, seed=1)
    assert set(drawn(30)) < set(drawn(40))
    assert drawn(500) == [n for n in range(100) if n != 3 and n % 10 != 7]


def test_the_bundled_general_rows_are_conversations() -> None:
    rows = bundled_general()
    assert len(rows) > 100
    assert all(row.origin == "general" and row.answer for row in rows[:200])
