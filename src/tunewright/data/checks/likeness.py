"""What the checks that compare rows share: when two rows say the same, and how to show them."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import islice

import numpy as np
import orjson

from tunewright.data.checks.base import EXAMPLES, Corpus, Example
from tunewright.data.checks.minhash import batches, similarities
from tunewright.data.checks.shown import example
from tunewright.data.hashing import Places
from tunewright.data.keys import near_keys
from tunewright.data.normal import exact_key
from tunewright.data.records import Draft, Turn

# One of these changes what a sentence says however alike the rest is: 13 % and 9 %, 可以 and
# 不可以. 一 is left out since most of its uses count nothing (一下, 一些).
_TURNING = re.compile(
    r"\d+(?:[.．]\d+)*"
    r"|[零二三四五六七八九十百千万亿两半]+"
    r"|[不没无無未非否勿莫别]"
    r"|\b(?:no|not|cannot|never|none|without)\b|n['’]t\b",
    re.IGNORECASE,
)
_ENDS = " .!?~…"
_SIZES = ((2, 2), (3, 3), (4, 5), (6, 10), (11, 100), (101, None))


def turning_signs(text: str) -> tuple[str, ...]:
    """The numbers and negations of a text, sorted: near-equal texts must share them."""
    found = "\n".join(sorted(_TURNING.findall(text)))
    return tuple(sorted(unicodedata.normalize("NFKC", found).lower().split("\n")))


def say_the_same(
    texts: Sequence[str], pairs: Sequence[tuple[int, int]], threshold: float
) -> list[bool]:
    """Whether both texts of each pair are near-equal and differ in no number and no negation.

    Args:
        texts: of answers.
        pairs: places in ``texts``.
        threshold: Jaccard similarity asked of near-equal texts.
    """
    if not pairs:
        return []
    places = sorted({place for pair in pairs for place in pair})
    new = {place: number for number, place in enumerate(places)}
    keys = near_keys([texts[place] for place in places])
    numbered = np.array([(new[one], new[other]) for one, other in pairs], np.int64)
    near = [
        score >= threshold
        for batch in batches(keys, numbered)
        for score in similarities(keys, batch).tolist()
    ]
    return [
        yes and turning_signs(texts[one]) == turning_signs(texts[other])
        for yes, (one, other) in zip(near, pairs, strict=True)
    ]


def prompt_identity(draft: Draft) -> Hashable:
    """Equal for rows that ask the same in the same setting.

    System and user turns and the functions offered count; white space, width and the marks
    that end a question do not.
    """
    turns = tuple(
        (turn.role, exact_key(turn.text).rstrip(_ENDS) or exact_key(turn.text))
        for turn in draft.turns
        if turn.role not in ("assistant", "tool")
    )
    return turns, tools_identity(draft)


def row_identity(draft: Draft) -> Hashable:
    """Equal for rows whose every part is equal, but for white space and width."""
    return _parts(draft.turns), _parts(draft.rejected), draft.desirable, tools_identity(draft)


def _parts(turns: Sequence[Turn]) -> tuple[Hashable, ...]:
    return tuple((t.role, exact_key(t.text), t.weight, t.calls, t.name) for t in turns)


def tools_identity(draft: Draft) -> bytes:
    """Equal for rows that offer the same functions."""
    return orjson.dumps(draft.tools) if draft.tools else b""


def first_of_best(drafts: Sequence[Draft], rows: Iterable[int]) -> int:
    """The row to keep of rows that are equal: the one marked best, the newest, the first."""
    return min(rows, key=lambda row: (drafts[row].best is not True, _reversed(drafts[row]), row))


def _reversed(draft: Draft) -> tuple[int, ...]:
    """Sorts later dates first, rows without a date last."""
    return (*(-ord(sign) for sign in draft.date or ""), 1)


def show(corpus: Corpus, pairs: Iterable[tuple[int, int | None]]) -> tuple[Example, ...]:
    """Examples of rows, each with the row it meets; no more than a finding shows."""
    shown: list[Example] = []
    for row, other in islice(pairs, EXAMPLES):
        here = example(corpus.drafts[row])
        if other is not None:
            met = example(corpus.drafts[other])
            here = replace(here, other=(met.file, met.row, met.text))
        shown.append(here)
    return tuple(shown)


def cluster_histogram(first: Places) -> Mapping[str, int]:
    """How many clusters there are of each size, single rows left out.

    Args:
        first: for each row the first row of its cluster; (rows,).
    """
    sizes = np.bincount(first)
    return {
        str(low) if low == high else f"{low}–{high}" if high else f"{low}+": int(
            ((sizes >= low) & (sizes <= (high or sizes.max()))).sum()
        )
        for low, high in _SIZES
    }
