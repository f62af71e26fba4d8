"""How far two judges agree beyond chance."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Literal

import numpy as np

Weights = Literal["none", "linear", "quadratic"]
_PENALTY = {"none": 0.0, "linear": 1.0, "quadratic": 2.0}


def kappa(
    first: Sequence[Hashable],
    second: Sequence[Hashable],
    categories: Sequence[Hashable],
    weights: Weights = "none",
) -> float:
    """Cohen's kappa (1960), weighted (1968) where categories have an order.

    Args:
        first: what one judge said of every item, (items,).
        second: what the other said, (items,).
        categories: all of them, in their order.
        weights: how much worse a distant disagreement is than a near one.

    Returns:
        1 for full agreement, 0 for that of chance; 1 where both always said the same one thing.

    Raises:
        ValueError: lists of unequal length, empty ones, or something that is no category.
    """
    if len(first) != len(second) or not len(first):
        raise ValueError("both judges must have judged the same items, at least one")
    place = {category: index for index, category in enumerate(categories)}
    strange = [said for said in (*first, *second) if said not in place]
    if strange:
        raise ValueError(f"{strange[0]!r} is none of the categories")
    size = len(place)
    seen = np.zeros((size, size))
    for one, other in zip(first, second, strict=True):
        seen[place[one], place[other]] += 1 / len(first)
    expected = np.outer(seen.sum(axis=1), seen.sum(axis=0))
    apart = np.abs(np.subtract.outer(np.arange(size), np.arange(size))).astype(np.float64)
    cost = (apart > 0).astype(np.float64) if weights == "none" else apart ** _PENALTY[weights]
    by_chance = float((cost * expected).sum())
    return 1.0 if by_chance == 0 else 1.0 - float((cost * seen).sum()) / by_chance
