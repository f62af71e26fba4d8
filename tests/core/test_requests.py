"""Requests that are repeated: told from new ones, whichever of them is quicker."""

from __future__ import annotations

import time

import pytest

from tunewright.core.asked_records import Eval
from tunewright.core.requests import Attempt, made_before, make_once, remember
from tunewright.core.store import Store


def test_a_repeated_request_finds_what_the_first_made(store: Store) -> None:
    first = Attempt("a")
    assert made_before(store, Attempt("a", 1)) is None
    remember(store, first, "file-1")
    assert made_before(store, Attempt("a", 1)) == "file-1"
    assert made_before(store, Attempt("b", 1)) is None
    assert made_before(store, Attempt("a", 0)) is None
    remember(store, Attempt("a"), "file-2")
    assert made_before(store, Attempt("a", 2)) == "file-2"


def test_a_first_attempt_that_was_overtaken_makes_nothing_of_its_own(store: Store) -> None:
    slow = Attempt("a", arrived=time.time() - 5)
    remember(store, Attempt("a", 1), "file-1")
    assert made_before(store, slow) == "file-1"
    assert made_before(store, Attempt("a")) is None


def test_after_ten_minutes_it_is_a_new_request(store: Store) -> None:
    remember(store, Attempt("a"), "file-1")
    assert made_before(store, Attempt("a", 1, time.time() + 601)) is None


def test_what_is_made_once_is_made_whole_or_not_at_all(store: Store) -> None:
    """A repetition gets the first one's; what belongs to it is written with it, and once."""
    notes: list[str] = []

    def new() -> Eval:
        return Eval(id=Store.new_id(Eval), name="e", source={}, criteria=(), metadata={})

    def fail() -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        make_once(store, Attempt("a"), new(), fail)
    assert list(store.list(Eval)) == []
    made = make_once(store, Attempt("a"), new(), lambda: notes.append("first"))
    again = make_once(store, Attempt("a", 1), new(), lambda: notes.append("second"))
    assert again.id == made.id
    assert notes == ["first"]
    assert make_once(store, Attempt("b"), new()).id != made.id
    assert len(store.list(Eval)) == 2
