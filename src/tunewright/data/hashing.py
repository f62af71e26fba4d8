"""Texts as numbers, for whole columns at once: code points, and hashes of runs of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Hashes = NDArray[np.uint64]
Places = NDArray[np.int64]

_SLICE = 1 << 21
_TABLE_BITS = 20
_FACTOR = np.uint64(0x9E3779B97F4A7C15)


def slices(texts: Sequence[str], size: int = _SLICE) -> Iterator[tuple[int, Sequence[str]]]:
    """Runs of texts of about ``size`` characters, each with the place of its first text."""
    for first, last in cuts(np.fromiter(map(len, texts), np.int64, len(texts)), size):
        yield first, texts[first:last]


def cuts(lengths: Places, size: int) -> Iterator[tuple[int, int]]:
    """First and last place, exclusive, of runs of texts of about ``size`` characters.

    Args:
        lengths: characters of each text; (texts,).
        size: characters.
    """
    ends = np.cumsum(lengths)
    first, done = 0, 0
    while first < ends.size:
        last = min(int(np.searchsorted(ends, done + size)) + 1, ends.size)
        yield first, last
        first, done = last, int(ends[last - 1])


def codes_of(texts: Sequence[str]) -> tuple[NDArray[np.uint32], Places]:
    """Texts as code points one after another.

    Returns:
        The code points, ``(characters,)``, and where each text begins, the end included,
        ``(texts + 1,)``.
    """
    joined = "".join(texts).encode("utf-32-le", "surrogatepass")
    lengths = np.fromiter(map(len, texts), np.int64, len(texts))
    return np.frombuffer(joined, "<u4").astype(np.uint32, copy=False), starts_of(lengths)


def starts_of(lengths: Places) -> Places:
    """Where runs of these lengths begin when they follow each other; (runs + 1,)."""
    starts = np.zeros(lengths.size + 1, np.int64)
    np.cumsum(lengths, out=starts[1:])
    return starts


def window_hashes(units: NDArray[np.unsignedinteger[Any]], length: int) -> Hashes:
    """A 64-bit hash of every run of ``length`` units, across the ends of texts too.

    Returns:
        ``(units - length + 1,)``, empty when there are fewer units.
    """
    last = max(units.size - length + 1, 0)
    hashes = np.zeros(last, np.uint64)
    for offset in range(length):
        hashes *= _FACTOR
        hashes += units[offset : offset + last]
    return mixed(hashes)


def distinct(hashes: Hashes) -> Hashes:
    """The different hashes, sorted; many times as fast as ``np.unique``, which fills a table."""
    ordered = np.sort(hashes)
    new = np.ones(ordered.size, np.bool_)
    np.not_equal(ordered[1:], ordered[:-1], out=new[1:])
    return ordered[new]


def perhaps_among(hashes: Hashes, others: Hashes) -> NDArray[np.bool_]:
    """Which hashes may be among others: by their first bits, so that few wrong ones pass."""
    shift = np.uint64(64 - _TABLE_BITS)
    table = np.zeros(1 << _TABLE_BITS, np.bool_)
    table[others >> shift] = True
    found: NDArray[np.bool_] = table[hashes >> shift]
    return found


def mixed(hashes: Hashes) -> Hashes:
    """Every bit spread over all bits (the finalizer of MurmurHash3, public domain)."""
    hashes = hashes ^ (hashes >> np.uint64(33))
    hashes *= np.uint64(0xFF51AFD7ED558CCD)
    hashes ^= hashes >> np.uint64(33)
    hashes *= np.uint64(0xC4CEB9FE1A85EC53)
    hashes ^= hashes >> np.uint64(33)
    return hashes
