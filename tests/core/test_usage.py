"""Usage in the store: sums that only grow together, and last minutes."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tunewright.core.errors import InputError
from tunewright.core.store import Store
from tunewright.core.usage import (
    Account,
    Sums,
    add_usage,
    load_minutes,
    read_usage,
    save_minutes,
    this_hour,
)


def test_sums_by_key_and_by_model(store: Store) -> None:
    hour = this_hour()
    add_usage(store, {Account(hour, "a", "nano"): Sums(1, 10, 5, 0)})
    add_usage(
        store,
        {
            Account(hour, "a", "nano"): Sums(1, -2, 5, 1),
            Account(hour, "a", ""): Sums(3),
            Account(hour, "b", "nano"): Sums(1, 100, 1, 0),
            Account(hour - 7200, "b", "old"): Sums(9, 9, 9, 9),
        },
    )
    numbers = ("requests", "prompt_tokens", "completion_tokens", "errors")

    def read(by: str, seconds: int) -> list[tuple[object, ...]]:
        return [tuple(row.values()) for row in read_usage(store, by, seconds)]

    assert set(read_usage(store, "key", 60)[0]) == {"key", *numbers}
    assert read("key", 60) == [("b", 1, 100, 1, 0), ("a", 5, 8, 10, 1)]
    assert read("model", 60) == [("nano", 3, 108, 11, 1), ("", 3, 0, 0, 0)]
    assert ("old", 9, 9, 9, 9) in read("model", 4 * 3600)


def test_another_grouping_is_refused(store: Store) -> None:
    with pytest.raises(InputError, match="by key or model"):
        read_usage(store, "1; DROP TABLE records", 60)


def test_writers_at_the_same_time_lose_nothing(store: Store) -> None:
    account = Account(this_hour(), "a", "nano")

    def add(_: int) -> None:
        add_usage(store, {account: Sums(1, 2, 3, 0)})

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(add, range(40)))
    assert [tuple(row.values()) for row in read_usage(store, "key", 60)] == [("a", 40, 80, 120, 0)]


def test_last_minutes_replace_each_other_and_grow_old(store: Store) -> None:
    now = int(time.time())
    assert load_minutes(store) == {}
    save_minutes(store, {"a": [(now, 1, 2)], "b": []})
    save_minutes(store, {"a": [(now - 300, 7, 7), (now - 5, 3, 4), (now, 1, 2)]})
    assert load_minutes(store) == {"a": [(now - 5, 3, 4), (now, 1, 2)], "b": []}
