"""Texts as columns of polars, and what is asked of whole columns."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import reduce
from itertools import islice
from operator import or_

import polars as pl

_MADE_AT_ONCE = 4096
_LEAST_PART = 4096


def column(name: str, texts: Iterable[str]) -> pl.Series:
    """Texts as a column.

    They go through bytes, part by part: from a ``str`` polars would take its UTF-8 form, which
    Python then keeps beside it for good, half as much memory again.
    """
    rest = iter(texts)
    parts = [pl.Series(name, [], pl.String)]
    while part := [text.encode() for text in islice(rest, _MADE_AT_ONCE)]:
        parts.append(pl.Series(name, part, pl.Binary).cast(pl.String))
    return pl.concat(parts, rechunk=True)


def in_parts(texts: pl.Series, what: Callable[[pl.Expr], pl.Expr]) -> pl.Series:
    """What an expression gives for each text, worked out in as many threads as there are."""
    size = max(_LEAST_PART, -(-len(texts) // pl.thread_pool_size()))
    parts = [texts.slice(first, size) for first in range(0, max(1, len(texts)), size)]
    frames = [part.to_frame("text").lazy().select(what(pl.col("text"))) for part in parts]
    return pl.concat(pl.collect_all(frames)).to_series()


def where(columns: Sequence[pl.Series], what: Callable[[pl.Expr], pl.Expr]) -> list[int]:
    """Rows for one of whose texts at least an expression holds.

    Args:
        columns: texts of the same rows; (rows,) each.
        what: from texts to whether they are looked for.
    """
    places: list[int] = reduce(or_, (in_parts(c, what) for c in columns)).arg_true().to_list()
    return places


def suspects(columns: Sequence[pl.Series], pattern: str) -> list[int]:
    """Rows in one of whose texts a pattern (in Rust's syntax) occurs."""
    return where(columns, lambda text: text.str.contains(pattern))
