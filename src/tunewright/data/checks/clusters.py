"""Texts grouped by near-equality: pairs that are near, joined into clusters."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tunewright.data.checks.minhash import Pairs, batches, candidates, similarities
from tunewright.data.hashing import Places


class Clusters(NamedTuple):
    """Texts that are nearly equal, or that a chain of nearly equal texts joins.

    Attributes:
        first: for each text the first text of its cluster; (texts,).
        pairs: confirmed pairs of different keys, at least one for each joint, with their
            similarity.
    """

    first: Places
    pairs: list[tuple[int, int, float]]


def clusters(keys: pl.Series, threshold: float) -> Clusters:
    """Group texts by near-equality of their near keys.

    Args:
        keys: near keys; (texts,).
        threshold: Jaccard similarity from which two texts belong together.
    """
    table = pl.DataFrame({"key": keys}).with_row_index("row")
    of_key = table.select(pl.col("row").min().over("key")).to_series().to_numpy().astype(np.int64)
    distinct = np.flatnonzero(of_key == np.arange(of_key.size))
    texts = keys.gather(distinct)
    parent = np.arange(len(texts))
    joints: list[tuple[int, int, float]] = []
    for pairs in candidates(texts, threshold):
        # Only these texts are taken out of the column, and numbered anew.
        places, numbered = np.unique(pairs[_apart(parent, pairs)], return_inverse=True)
        some = texts.gather(places).to_list()
        for batch in batches(some, numbered.reshape(-1, 2)):
            batch = batch[_apart(parent, places[batch])]
            scores = similarities(some, batch)
            near = scores >= threshold
            for (one, other), score in zip(
                places[batch[near]].tolist(), scores[near].tolist(), strict=True
            ):
                if _join(parent, one, other):
                    joints.append((int(distinct[one]), int(distinct[other]), score))
            parent = _flat(parent)
    place = np.searchsorted(distinct, of_key)
    return Clusters(distinct[parent[place]], joints)


def _apart(parent: Places, pairs: Pairs) -> NDArray[np.bool_]:
    """Which pairs are not of one cluster yet."""
    apart: NDArray[np.bool_] = parent[pairs[:, 0]] != parent[pairs[:, 1]]
    return apart


def _root(parent: Places, place: int) -> int:
    while parent[place] != place:
        parent[place] = parent[parent[place]]
        place = int(parent[place])
    return place


def _join(parent: Places, one: int, other: int) -> bool:
    """Put two clusters together, unless they are one; the first text names the cluster."""
    low, high = sorted((_root(parent, one), _root(parent, other)))
    parent[high] = low
    return low != high


def _flat(parent: Places) -> Places:
    """Every text points at its root."""
    while not np.array_equal(parent, shorter := parent[parent]):
        parent = shorter
    return parent
