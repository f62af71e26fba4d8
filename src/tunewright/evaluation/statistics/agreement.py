"""How far those who judge agree beyond chance."""

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


def fleiss_kappa(counts: Sequence[Sequence[int]]) -> float | None:
    """Fleiss' kappa (1971) of any number of judges, not everyone of whom judged every item.

    Agreement is the mean over items of the share of pairs of their judges that agree; chance is
    from the categories' shares among all judgements. Items with fewer than two judges are left out.

    Args:
        counts: for every item, how many judges chose each category, (items, categories).

    Returns:
        1 for full agreement, 0 for that of chance; 1 where everybody always said the same one
        thing; None where no item has two judges.
    """
    table = np.array([row for row in counts if sum(row) >= 2], np.float64)
    if not len(table):
        return None
    judges = table.sum(axis=1)
    agreed = ((table**2).sum(axis=1) - judges) / (judges * (judges - 1))
    by_chance = float(((table.sum(axis=0) / table.sum()) ** 2).sum())
    return 1.0 if by_chance == 1 else (float(agreed.mean()) - by_chance) / (1 - by_chance)
