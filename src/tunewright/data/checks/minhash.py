"""Which texts of very many are nearly equal: MinHash finds pairs, exact Jaccard confirms them.

A text is the set of its runs of three characters, taken from its near key, which suits Chinese
(no words to cut) as well as English. MinHash: Broder, "On the resemblance and containment of
documents", 1997. Bands: Leskovec, Rajaraman, Ullman, "Mining of Massive Datasets", chapter 3.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tunewright.data.checks.columns import column
from tunewright.data.hashing import (
    Hashes,
    Places,
    codes_of,
    cuts,
    distinct,
    mixed,
    perhaps_among,
    starts_of,
    window_hashes,
)

GRAM = 3
"""Characters of a shingle: one changed character of thirty leaves a similarity of 0.8."""
SHORTEST = 8
"""Shorter keys have too few shingles to be nearly equal: they are equal or they are not."""
PERMUTATIONS = 128
_RECALL = 0.99
_BLOCK = 1 << 16
_ROWS = 1 << 17
_BATCH = 1 << 21
_SLICE = 1 << 19
# Pairs and texts of a batch are numbered in the bits above their shingles' hashes.
_TAG = np.uint64(44)
_MOST_PAIRS = 1 << 18
_ALL_PAIRS = 9
_WINDOW = 4
_STARS = 3
# An estimate from 128 permutations lies so far below 0.8 in two of a thousand cases.
_DOUBT = 0.1

Pairs = NDArray[np.int64]
"""Places of two texts in each row, the smaller one first; (pairs, 2)."""


class Bands(NamedTuple):
    """How signatures are cut: texts that agree in all rows of one band become candidates."""

    number: int
    rows: int


def bands_for(threshold: float) -> Bands:
    """The widest bands that still find 99 % of the pairs that are just as near as asked.

    A pair of similarity s agrees in a band of r rows with s**r, in one of b bands at least with
    1 - (1 - s**r)**b. Wide bands make few wrong candidates.
    """
    for rows in range(PERMUTATIONS, 1, -1):
        number = PERMUTATIONS // rows
        if 1 - (1 - threshold**rows) ** number >= _RECALL:
            return Bands(number, rows)
    return Bands(PERMUTATIONS, 1)


def similarities(keys: Sequence[str], pairs: Pairs) -> NDArray[np.float64]:
    """Jaccard similarity of the shingles of each pair of near keys; (pairs,).

    Exact, but for a chance of one in a hundred million that two shingles of a pair share
    their 44-bit hash. A key too short for shingles is like its equals only.

    Args:
        keys: near keys.
        pairs: places in ``keys``; (pairs, 2).
    """
    ends = [(keys[one], keys[other]) for one, other in pairs.tolist()]
    scores = np.fromiter((one == other for one, other in ends), np.float64, len(ends))
    shorter = np.fromiter((min(map(len, both)) for both in ends), np.int64, len(ends))
    open_ones = np.flatnonzero((scores == 0) & (shorter >= SHORTEST))
    if open_ones.size:
        scores[open_ones] = _jaccard(keys, pairs[open_ones])
    return scores


def _jaccard(keys: Sequence[str], pairs: Pairs) -> NDArray[np.float64]:
    texts, places = np.unique(pairs, return_inverse=True)
    places = places.reshape(pairs.shape)
    grams, starts = _gram_sets([keys[text] for text in texts.tolist()])
    sizes = np.diff(starts)[places]
    # Both sets of each pair beside each other, tagged with the pair: what is shared comes twice.
    ends = starts_of(sizes.ravel())
    taken = np.arange(ends[-1]) + np.repeat(starts[places].ravel() - ends[:-1], sizes.ravel())
    total = sizes.sum(axis=1)
    tagged = np.repeat(np.arange(len(pairs), dtype=np.uint64) << _TAG, total) | grams[taken]
    tagged.sort()
    twice = tagged[1:][tagged[1:] == tagged[:-1]]
    shared = np.bincount((twice >> _TAG).astype(np.int64), minlength=len(pairs))
    scores: NDArray[np.float64] = shared / (total - shared)
    return scores


def _gram_sets(keys: Sequence[str]) -> tuple[Hashes, Places]:
    """The different shingles of each key as 44-bit hashes, and where each key's begin."""
    codes, starts = codes_of(keys)
    hashes = window_hashes(codes, GRAM) >> (np.uint64(64) - _TAG)
    text = np.repeat(np.arange(len(keys), dtype=np.uint64), np.diff(starts))[: hashes.size]
    whole = np.ones(hashes.size, np.bool_)
    for back in range(1, GRAM):
        whole[starts[1:-1] - back] = False
    different = distinct((text << _TAG | hashes)[whole])
    counts = np.bincount((different >> _TAG).astype(np.int64), minlength=len(keys))
    return different & ((np.uint64(1) << _TAG) - np.uint64(1)), starts_of(counts)


def batches(keys: Sequence[str], pairs: Pairs) -> Iterator[Pairs]:
    """The pairs in runs that are small enough to compare at once."""
    sizes = (len(keys[one]) + len(keys[other]) for one, other in pairs.tolist())
    ends = np.cumsum(np.fromiter(sizes, np.int64, len(pairs)))
    first = 0
    while first < len(pairs):
        done = ends[first - 1] if first else 0
        last = int(np.searchsorted(ends, done + _BATCH, side="right"))
        last = min(max(last, first + 1), first + _MOST_PAIRS)
        yield pairs[first:last]
        first = last


@dataclass(frozen=True)
class Signatures:
    """What MinHash makes of texts.

    Attributes:
        bands: a hash of each text's rows in each band; (bands, texts).
        sketch: eight bits of each of its minima, to estimate similarity; (texts, 128).
        long: which texts are long enough to have a signature; (texts,).
    """

    bands: Hashes
    sketch: NDArray[np.uint8]
    long: NDArray[np.bool_]


def signatures(keys: pl.Series, bands: Bands) -> Signatures:
    """MinHash signatures of near keys, cut into bands; about 2 µs for thirty characters."""
    lengths = keys.str.len_chars().to_numpy().astype(np.int64)
    result = Signatures(
        np.zeros((bands.number, len(keys)), np.uint64),
        np.zeros((len(keys), PERMUTATIONS), np.uint8),
        lengths >= SHORTEST,
    )
    # numpy lets go of Python's lock, and every slice fills rows of its own.
    with ThreadPoolExecutor(pl.thread_pool_size()) as threads:
        for _ in threads.map(partial(_sign, result, bands, keys), cuts(lengths, _SLICE)):
            pass
    return result


def _sign(result: Signatures, bands: Bands, all_keys: pl.Series, place: tuple[int, int]) -> None:
    """Fill in the signatures of the texts between two places."""
    first, last = place
    keys = all_keys[first:last].to_list()
    codes, starts = codes_of(keys)
    hashes = (window_hashes(codes, GRAM) >> np.uint64(32)).astype(np.uint32)
    rows = np.flatnonzero(result.long[first : first + len(keys)])
    lengths = np.diff(starts)[rows] - GRAM + 1
    order = np.argsort(lengths, kind="stable")
    for block, places in _blocks(starts[:-1][rows[order]], lengths[order]):
        minima = _minima(hashes[places])
        target = first + rows[order[block]]
        result.sketch[target] = (minima >> np.uint32(12)).astype(np.uint8).T
        result.bands[:, target] = _band_hashes(minima, bands)


def _blocks(starts: Places, lengths: Places) -> Iterator[tuple[slice, Places]]:
    """Texts of like length together, their shingles' places as a matrix (shingles, texts).

    Shorter texts repeat their last shingle, which changes no minimum. Blocks fit the
    processor's caches.
    """
    first = 0
    while first < lengths.size:
        most = max(1, _BLOCK // int(lengths[first]))
        last = min(first + most, lengths.size)
        # One long text must not stretch a block of short ones.
        last = int(np.searchsorted(lengths[:last], lengths[first] * 5 // 4 + 1, side="right"))
        steps = np.arange(lengths[last - 1])[:, None]
        places = starts[first:last] + np.minimum(steps, lengths[first:last] - 1)
        yield slice(first, last), places
        first = last


def _multipliers() -> NDArray[np.uint32]:
    """128 odd numbers, the same for ever: each orders the 32-bit hashes in its own way."""
    numbers = mixed(np.arange(1, PERMUTATIONS + 1, dtype=np.uint64))
    return (numbers >> np.uint64(32)).astype(np.uint32) | np.uint32(1)


_MULTIPLIERS = _multipliers()


def _minima(hashes: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """The least hash of each text under each permutation.

    Args:
        hashes: (shingles, texts).

    Returns:
        ``(128, texts)``.
    """
    hashes = np.ascontiguousarray(hashes)
    minima = np.empty((PERMUTATIONS, hashes.shape[1]), np.uint32)
    permuted = np.empty_like(hashes)
    for row, factor in zip(minima, _MULTIPLIERS, strict=True):
        np.multiply(hashes, factor, out=permuted)
        np.minimum.reduce(permuted, axis=0, out=row)
    return minima


def _band_hashes(minima: NDArray[np.uint32], bands: Bands) -> Hashes:
    """One hash for each band of each text; (bands, texts)."""
    used = minima[: bands.number * bands.rows].reshape(bands.number, bands.rows, -1)
    hashes = np.zeros((bands.number, minima.shape[1]), np.uint64)
    for row in range(bands.rows):
        hashes ^= used[:, row]
        hashes *= np.uint64(0x9E3779B97F4A7C15)
        hashes ^= hashes >> np.uint64(29)
    return hashes


def candidates(keys: pl.Series, threshold: float, within: Places | None = None) -> Iterator[Pairs]:
    """Pairs of texts that may be as near as asked, band by band; the same pair may come again.

    Texts with equal keys come first. Buckets of very many texts give a number of pairs linear
    in their size: each text with the first few and with its neighbours.

    Args:
        keys: near keys; (texts,).
        threshold: Jaccard similarity looked for.
        within: only texts with the same number here are compared; (texts,).
    """
    salt = np.zeros(len(keys), np.uint64) if within is None else mixed(within.astype(np.uint64))
    whole = keys.hash().to_numpy() ^ salt
    yield _bucket_pairs(whole, np.arange(len(keys)))
    made = signatures(keys, bands_for(threshold))
    long = np.flatnonzero(made.long)
    for band in made.bands:
        pairs = _bucket_pairs((band ^ salt)[long], long)
        yield _likely(made, made, pairs, threshold)


def cross_candidates(
    keys: Sequence[str], others: Sequence[str], threshold: float
) -> Iterator[Pairs]:
    """Pairs of a text and one of others that may be as near as asked, part by part.

    Args:
        keys: near keys, of very many texts.
        others: near keys of the texts to compare them with, all different.
        threshold: Jaccard similarity looked for.

    Yields:
        Places in ``keys`` and in ``others``; (pairs, 2). The same pair may come again.
    """
    bands = bands_for(threshold)
    theirs = signatures(column("key", others), bands)
    other_long = np.flatnonzero(theirs.long)
    for first in range(0, len(keys), _ROWS):
        mine = signatures(column("key", keys[first : first + _ROWS]), bands)
        long = np.flatnonzero(mine.long)
        for band, other_band in zip(mine.bands, theirs.bands, strict=True):
            pairs = _meetings(band[long], other_band[other_long])
            pairs = np.stack((long[pairs[:, 0]], other_long[pairs[:, 1]]), axis=1)
            yield _likely(mine, theirs, pairs, threshold) + np.array([first, 0])


def _likely(mine: Signatures, theirs: Signatures, pairs: Pairs, threshold: float) -> Pairs:
    """The pairs whose sketches do not rule out that they are as near as asked."""
    likely = np.ones(len(pairs), np.bool_)
    for first in range(0, len(pairs), _BLOCK):
        one, other = pairs[first : first + _BLOCK].T
        agree = (mine.sketch[one] == theirs.sketch[other]).mean(axis=1)
        likely[first : first + _BLOCK] = agree >= threshold - _DOUBT
    return pairs[likely]


def _meetings(hashes: Hashes, others: Hashes) -> Pairs:
    """Places of equal hashes on both sides; each meets no more than a few of the others."""
    order = np.argsort(others, kind="stable")
    ordered = others[order]
    places = np.flatnonzero(perhaps_among(hashes, others))
    start = np.searchsorted(ordered, hashes[places], side="left")
    end = np.searchsorted(ordered, hashes[places], side="right")
    pairs = [np.zeros((0, 2), np.int64)]
    for step in range(_ALL_PAIRS):
        met = start + step < end
        pairs.append(np.stack((places[met], order[start[met] + step]), axis=1))
    return np.concatenate(pairs)


def _bucket_pairs(hashes: Hashes, places: Places) -> Pairs:
    """Pairs of places whose hashes are equal."""
    ordered = np.sort(hashes)
    repeated = ordered[1:][ordered[1:] == ordered[:-1]]
    if not repeated.size:
        return np.zeros((0, 2), np.int64)
    order = np.flatnonzero(perhaps_among(hashes, repeated))
    order = order[np.argsort(hashes[order], kind="stable")]
    _, sizes = np.unique(hashes[order], return_counts=True)
    return places[order[_run_pairs(sizes)]]


def _run_pairs(sizes: Places) -> Pairs:
    """Pairs inside runs of these sizes: all of them in small runs, some in large ones."""
    starts = starts_of(sizes)
    first = np.repeat(starts[:-1], sizes)
    end = np.repeat(starts[1:], sizes)
    large = end - first > _ALL_PAIRS
    place = np.arange(first.size)
    pairs = []
    for step in range(1, _ALL_PAIRS):
        near = (place + step < end) & (~large | (step <= _WINDOW))
        pairs.append(np.stack((place[near], place[near] + step), axis=1))
    for star in range(_STARS):
        far = large & (place > first + star + _WINDOW)
        pairs.append(np.stack((first[far] + star, place[far]), axis=1))
    return np.concatenate(pairs)
