"""Seeded choices that depend on a key alone.

A running generator would reshuffle every later row when one sentence is added; a hash of the
row's own key does not, and it is the same on every Python version.
"""

import hashlib
from collections.abc import Iterable, Sequence
from typing import TypeVar

T = TypeVar("T")


def draw(key: str) -> float:
    """Return a number in [0, 1) that is uniform over keys."""
    digest = hashlib.sha256(key.encode("utf-8")).digest()
    return int.from_bytes(digest[:6], "big") / 2**48


def pick(items: Sequence[T], key: str) -> T:
    """Return one of `items` (not empty)."""
    return items[int(draw(key) * len(items))]


def shuffled(items: Iterable[T], key: str) -> list[T]:
    """Return the items in an order given by `key` and each item's position."""
    keyed = [(draw(f"{key}/{place}"), place, item) for place, item in enumerate(items)]
    return [item for _, _, item in sorted(keyed, key=lambda entry: entry[:2])]
