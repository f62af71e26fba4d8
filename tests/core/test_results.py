"""Answers of a job: each question has one, in the order of the questions."""

from __future__ import annotations

import pytest

from tunewright.core.errors import StorageError
from tunewright.core.results import Result, Results
from tunewright.core.store import Store


def result(number: int, outcome: str = "done") -> Result:
    return Result(number, outcome, {"said": f"答案 {number}"})


def test_answers_come_in_order_whatever_theirs_was(store: Store) -> None:
    results = Results(store)
    results.add("a", [result(3), result(1, "failed")])
    results.add("a", [result(2)])
    results.add("b", [result(1)])
    assert results.numbers("a") == {1, 2, 3}
    found, more = results.page("a", 2)
    assert ([one.number for one in found], more) == ([1, 2], True)
    assert [one.number for one in results.page("a", 9, 2)[0]] == [3]
    assert [one.number for one in results.page("a", 9, ascending=False, outcome="done")[0]] == [
        3,
        2,
    ]
    assert list(results.each("a", "done")) == [result(2), result(3)]
    assert results.get("a", 2) == result(2)
    assert results.get("a", 9) is None


def test_a_second_answer_changes_nothing(store: Store) -> None:
    results = Results(store)
    results.add("a", [result(1)])
    with pytest.raises(StorageError):
        results.add("a", [result(2), result(1, "other")])
    assert results.numbers("a") == {1}


def test_many_are_read_a_few_at_a_time(store: Store) -> None:
    results = Results(store)
    results.add("a", [result(number) for number in range(450)])
    assert [one.number for one in results.each("a", "done")] == list(range(450))
    results.delete("a")
    assert results.numbers("a") == set()
    assert list(results.each("a", "done")) == []
