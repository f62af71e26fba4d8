"""Lengths of very many rows: measured where it matters, estimated where it cannot.

Rendering a row costs a hundred times what every check together costs. Of a large set only these
rows are measured: an even sample, the first rows of every pattern of roles (a template refuses by
pattern), and every row whose bytes do not already prove that it fits. The other rows certainly
fit, and get an estimate from their bytes for the length summary.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from unicodedata import is_normalized

import numpy as np
from numpy.typing import NDArray

from tunewright.core.events import Listener
from tunewright.data.measure import Length, measure
from tunewright.data.records import Draft
from tunewright.model.rendering import Renderer

MEASURED = 20_000
"""Sets of up to this many rows are measured row by row."""
SAMPLE = 4_000
"""Rows of a larger set that are measured for its summary, evenly spread."""
_OF_A_PATTERN = 50
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
    hopeless = _hopeless(drafts, renderer, limit)
    if hopeless:
        possible = [draft for place, draft in enumerate(drafts) if place not in hopeless]
        others = iter(lengths_of(possible, renderer, limit, listen))
        return [hopeless.get(place) or next(others) for place in range(len(drafts))]
    if len(drafts) <= MEASURED or not renderer.bounded_by_bytes:
        return measure(drafts, renderer, listen)
    sizes = np.array([_sizes(draft) for draft in drafts], dtype=np.int64)
    chosen = _chosen(drafts, sizes, limit)
    found = dict(zip(chosen, measure([drafts[i] for i in chosen], renderer, listen), strict=True))
    refused = {_pattern(drafts[i]) for i, length in found.items() if length.refusal}
    if refused:
        rest = [i for i, d in enumerate(drafts) if i not in found and _pattern(d) in refused]
        rows = measure([drafts[i] for i in rest], renderer, listen)
        found |= dict(zip(rest, rows, strict=True))
    return _filled(found, sizes)


def _hopeless(drafts: Sequence[Draft], renderer: Renderer, limit: int) -> dict[int, Length]:
    """Rows so long that they cannot fit whatever their tokens are; tokenizing takes a kilobyte
    of memory for each character."""
    found: dict[int, Length] = {}
    for place, draft in enumerate(drafts):
        characters = sum(len(turn.text) for turn in draft.turns)
        if characters > limit and draft.kind != "text":
            least = characters // renderer.longest_token
            if least > limit:
                found[place] = Length(least, 1, estimated=True)
    return found


def _sizes(draft: Draft) -> tuple[int, int, int]:
    """Messages, UTF-8 bytes of all text, and of the text that is learned."""
    total = learned = 0
    for turn in draft.turns:
        size = len(turn.text.encode())
        total += size
        if turn.role == "assistant" and turn.weight:
            learned += size
    return len(draft.turns), total, learned


def _pattern(draft: Draft) -> tuple[str, ...]:
    return tuple(turn.role for turn in draft.turns)


def _chosen(drafts: Sequence[Draft], sizes: NDArray[np.int64], limit: int) -> list[int]:
    """Places of the rows to measure."""
    step = -(-len(drafts) // SAMPLE)
    seen: Counter[tuple[str, ...]] = Counter()
    may_not_fit = (sizes[:, 1] + _FRAME * sizes[:, 0] > limit).tolist()
    chosen = []
    for place, draft in enumerate(drafts):
        pattern = _pattern(draft)
        seen[pattern] += 1
        if (
            may_not_fit[place]
            or place % step == 0
            or seen[pattern] <= _OF_A_PATTERN
            or draft.kind != "conversation"
            or draft.tools
            or not all(is_normalized("NFC", turn.text) for turn in draft.turns)
            or not _PLAIN_ROLES.issuperset(pattern)
        ):
            chosen.append(place)
    return chosen


def _filled(found: dict[int, Length], sizes: NDArray[np.int64]) -> list[Length]:
    """Measured lengths, and for the other rows least-squares estimates from their bytes."""
    usable = [place for place, length in found.items() if not length.refusal]
    known = sizes[usable].astype(np.float64)
    tokens = np.array([found[place].tokens for place in usable], dtype=np.float64)
    learned = np.array([found[place].supervised for place in usable], dtype=np.float64)
    by_size = np.linalg.lstsq(known[:, :2], tokens, rcond=None)[0]
    by_answer = np.linalg.lstsq(known[:, [0, 2]], learned, rcond=None)[0]
    guessed = np.maximum(1, np.rint(sizes[:, :2] @ by_size)).astype(int).tolist()
    learns = np.maximum(1, np.rint(sizes[:, [0, 2]] @ by_answer)).astype(int).tolist()
    return [
        found[place] if place in found else Length(total, min(total, part), estimated=True)
        for place, (total, part) in enumerate(zip(guessed, learns, strict=True))
    ]
