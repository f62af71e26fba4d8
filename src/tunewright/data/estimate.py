"""Lengths of very many rows: measured where it matters, estimated where it cannot.

Rendering a row costs a hundred times what every check together costs. Of a large set only these
rows are measured: an even sample, the first rows of every pattern of roles (a template refuses by
pattern), and every row whose bytes do not already prove that it fits. The other rows certainly
fit, and get an estimate from their bytes for the length summary.
"""

from __future__ import annotations

from collections.abc import Sequence
from unicodedata import is_normalized

import numpy as np
from numpy.typing import NDArray

from tunewright.core.events import Listener
from tunewright.data.hashing import slices
from tunewright.data.measure import Length, measure
from tunewright.data.records import Draft
from tunewright.model.rendering import Renderer

MEASURED = 20_000
"""Sets of up to this many rows are measured row by row."""
SAMPLE = 4_000
"""Rows of a larger set that are measured for its summary, evenly spread."""
_OF_A_PATTERN = 50
_SLICE = 1 << 16
_FRAME = 64
"""Tokens that a template may write around one message, generously."""
_PLAIN_ROLES = {"system", "user", "assistant"}


def lengths_of(
    drafts: Sequence[Draft], renderer: Renderer, limit: int, listen: Listener
) -> list[Length]:
    """A length for every row, in the order given; ``Length.estimated`` where it is a guess.

    Args:
        drafts: the rows.
        renderer: the base's renderer.
        limit: tokens that a row may have; an estimated row certainly has fewer.
        listen: told the progress.
    """
    sizes = _sizes(drafts)
    hopeless = _hopeless(drafts, sizes, renderer, limit)
    if hopeless:
        possible = [draft for place, draft in enumerate(drafts) if place not in hopeless]
        others = iter(lengths_of(possible, renderer, limit, listen))
        return [hopeless.get(place) or next(others) for place in range(len(drafts))]
    if len(drafts) <= MEASURED or not renderer.bounded_by_bytes:
        return measure(drafts, renderer, listen)
    chosen = _chosen(drafts, sizes, limit)
    found = dict(zip(chosen, measure([drafts[i] for i in chosen], renderer, listen), strict=True))
    refused = {_pattern(drafts[i]) for i, length in found.items() if length.refusal}
    if refused:
        rest = [i for i, d in enumerate(drafts) if i not in found and _pattern(d) in refused]
        rows = measure([drafts[i] for i in rest], renderer, listen)
        found |= dict(zip(rest, rows, strict=True))
    return _filled(found, sizes)


def _sizes(drafts: Sequence[Draft]) -> NDArray[np.int64]:
    """Messages, UTF-8 bytes of all text, and of the text that is learned; (rows, 3)."""
    counts = np.array([len(draft.turns) for draft in drafts], np.int64)
    turns = [turn for draft in drafts for turn in draft.turns]
    sizes = np.fromiter(
        (len(turn.text.encode("utf-8", "surrogatepass")) for turn in turns), np.int64, len(turns)
    )
    learned = [turn.role == "assistant" and turn.weight == 1 for turn in turns]
    ends = np.cumsum(counts)
    return np.stack((counts, _sums(sizes, ends), _sums(sizes * learned, ends)), axis=1)


def _sums(values: NDArray[np.int64], ends: NDArray[np.int64]) -> NDArray[np.int64]:
    """Sums of runs of values that end before these places."""
    totals = np.concatenate((np.zeros(1, np.int64), np.cumsum(values)))[ends]
    return np.diff(totals, prepend=0)


def _hopeless(
    drafts: Sequence[Draft], sizes: NDArray[np.int64], renderer: Renderer, limit: int
) -> dict[int, Length]:
    """Rows so long that they cannot fit whatever their tokens are; tokenizing takes a kilobyte
    of memory for each character."""
    found: dict[int, Length] = {}
    for place in np.flatnonzero(sizes[:, 1] > limit).tolist():
        draft = drafts[place]
        least = sum(len(turn.text) for turn in draft.turns) // renderer.longest_token
        if least > limit and draft.kind != "text":
            found[place] = Length(least, 1, estimated=True)
    return found


def _pattern(draft: Draft) -> tuple[str, ...]:
    return tuple([turn.role for turn in draft.turns])


def _chosen(drafts: Sequence[Draft], sizes: NDArray[np.int64], limit: int) -> list[int]:
    """Places of the rows to measure."""
    chosen = sizes[:, 1] + _FRAME * sizes[:, 0] > limit
    chosen[:: -(-len(drafts) // SAMPLE)] = True
    chosen |= [draft.kind != "conversation" or bool(draft.tools) for draft in drafts]
    chosen[_denormal(drafts)] = True
    rows_of: dict[tuple[str, ...], list[int]] = {}
    for place, draft in enumerate(drafts):
        rows_of.setdefault(_pattern(draft), []).append(place)
    for pattern, rows in rows_of.items():
        chosen[rows if not _PLAIN_ROLES.issuperset(pattern) else rows[:_OF_A_PATTERN]] = True
    return np.flatnonzero(chosen).tolist()


def _denormal(drafts: Sequence[Draft]) -> list[int]:
    """Rows with a text that a tokenizer may write anew, so that its bytes prove nothing."""
    texts = [turn.text for draft in drafts for turn in draft.turns]
    rows = [row for row, draft in enumerate(drafts) for _ in draft.turns]
    return [
        rows[first + place]
        for first, part in slices(texts, _SLICE)
        if not is_normalized("NFC", "\n".join(part))
        for place, text in enumerate(part)
        if not is_normalized("NFC", text)
    ]


def _filled(found: dict[int, Length], sizes: NDArray[np.int64]) -> list[Length]:
    """Measured lengths, and for the other rows least-squares estimates from their bytes."""
    usable = [place for place, length in found.items() if not length.refusal]
    known = sizes[usable].astype(np.float64)
    tokens = np.array([found[place].tokens for place in usable], dtype=np.float64)
    learned = np.array([found[place].supervised for place in usable], dtype=np.float64)
    by_size = np.linalg.lstsq(known[:, :2], tokens, rcond=None)[0]
    by_answer = np.linalg.lstsq(known[:, [0, 2]], learned, rcond=None)[0]
    guessed = np.maximum(1, np.rint(sizes[:, :2] @ by_size)).astype(int)
    learns = np.maximum(1, np.rint(sizes[:, [0, 2]] @ by_answer)).astype(int)
    learns = np.minimum(learns, guessed)
    lengths = [
        Length(total, part, estimated=True)
        for total, part in zip(guessed.tolist(), learns.tolist(), strict=True)
    ]
    for place, length in found.items():
        lengths[place] = length
    return lengths
