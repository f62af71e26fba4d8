"""Which rows are learned from and which are held back; near-equal questions stay together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from hashlib import blake2b

import numpy as np

from tunewright.config.data import SplitConfig
from tunewright.core.errors import DataError
from tunewright.core.messages import Split

FEWEST_TOPICS = 3
"""Below this many topics none is held back whole."""
MIN_GROUPS = 10
"""Fewer distinct questions than this are all learned from: nothing can be measured on them."""


def assign(
    groups: Iterable[str],
    config: SplitConfig,
    with_test: bool = True,
    labels: Mapping[str, str] | None = None,
) -> dict[str, Split]:
    """Group → split, each group by a hash of its own name and the seed.

    A group's place does not depend on the other groups, so appending rows to a file moves none
    of the old ones. Only a share too small to catch any group at all takes the group with the
    lowest hash, which appended rows may replace.

    Args:
        groups: names of groups, repetitions allowed.
        config: shares and seed.
        with_test: False when test rows come from files of their own.
        labels: group → class; every class with enough groups then has some in every split.
    """
    place = _places(dict.fromkeys(groups), config.seed)
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
    for members in _strata(place, labels or {}):
        for split, share in held:
            _ensure(result, place, members, split, share)
    return result


def held_topics(topics: Iterable[str], config: SplitConfig) -> frozenset[str]:
    """The topics of which nothing is learned, at least one where any share is asked for.

    Each is chosen by a hash of its own name and the seed, as groups are.

    Raises:
        DataError: fewer than three topics, so that none can be spared.
    """
    if not config.topics:
        return frozenset()
    place = _places((f"topic {name}" for name in dict.fromkeys(topics)), config.seed)
    if len(place) < FEWEST_TOPICS:
        raise DataError(
            f"option 'split.topics': rows name {len(place)} topics; holding one back takes at "
            f"least {FEWEST_TOPICS}",
            "Name the column that holds each row's topic: --map slice=COLUMN",
        )
    lowest = min(place, key=place.__getitem__)
    held = {name for name, value in place.items() if value < config.topics} | {lowest}
    return frozenset(name.removeprefix("topic ") for name in held)


def _strata(place: Mapping[str, float], labels: Mapping[str, str]) -> list[list[str]]:
    """Groups by class; classes too small to be measured are only held back by chance."""
    if not labels:
        return [[*place]]
    strata: dict[str | None, list[str]] = {}
    for group in place:
        strata.setdefault(labels.get(group), []).append(group)
    return [members for members in strata.values() if len(members) >= MIN_GROUPS]


def _ensure(
    result: dict[str, Split],
    place: Mapping[str, float],
    members: list[str],
    split: Split,
    share: float,
) -> None:
    if share > 0 and not any(result[group] == split for group in members):
        left = [group for group in members if result[group] == "train"]
        result[min(left, key=place.__getitem__)] = split


def _places(groups: Iterable[str], seed: int) -> dict[str, float]:
    """Group → a uniform number in [0, 1) that only the group and the seed decide."""
    names = [*groups]
    hashed = [blake2b(f"{seed}:{name}".encode(), digest_size=8).digest() for name in names]
    numbers = np.frombuffer(b"".join(hashed), ">u8") / 2.0**64
    return dict(zip(names, numbers.tolist(), strict=True))
