"""Which rows are learned from and which are held back; near-equal questions stay together."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b

from tunewright.config.data import SplitConfig
from tunewright.core.messages import Split

MIN_GROUPS = 10
"""Fewer distinct questions than this are all learned from: nothing can be measured on them."""


def assign(groups: Iterable[str], config: SplitConfig, with_test: bool = True) -> dict[str, Split]:
    """Group → split, each group by a hash of its own name and the seed.

    A group's place does not depend on the other groups, so appending rows to a file moves none
    of the old ones. Only a share too small to catch any group at all takes the group with the
    lowest hash, which appended rows may replace.

    Args:
        groups: names of groups, repetitions allowed.
        config: shares and seed.
        with_test: False when test rows come from files of their own.
    """
    place = {group: _place(group, config.seed) for group in groups}
    test = config.test if with_test else 0.0
    result: dict[str, Split] = dict.fromkeys(place, "train")
    if len(place) < MIN_GROUPS:
        return result
    for group, value in place.items():
        if value < test:
            result[group] = "test"
        elif value < test + config.dev:
            result[group] = "dev"
    held: tuple[tuple[Split, float], ...] = (("test", test), ("dev", config.dev))
    for split, share in held:
        _ensure(result, place, split, share)
    return result


def _ensure(result: dict[str, Split], place: dict[str, float], split: Split, share: float) -> None:
    if share > 0 and split not in result.values():
        result[min((g for g in place if result[g] == "train"), key=place.__getitem__)] = split


def _place(group: str, seed: int) -> float:
    """A uniform number in [0, 1) that only the group and the seed decide."""
    hashed = blake2b(f"{seed}:{group}".encode(), digest_size=8).digest()
    return int.from_bytes(hashed, "big") / 2**64
