"""How alike two texts are, 0..1.

Words are counted as they are written between spaces, and Chinese and kana by characters, since
they are written without spaces.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from operator import mul

from rapidfuzz import fuzz
from rapidfuzz.distance import LCSseq

_UNSPACED = r"\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U000323af"
_WORD = rf"[{_UNSPACED}]|(?:(?![{_UNSPACED}])[^\W_])+"
_WORDS = re.compile(_WORD)
_MARKED = re.compile(rf"{_WORD}|[^\w\s]|_")
_ORDER = 4

Grams = Counter[tuple[str, ...]]


def words(text: str) -> list[str]:
    """Words in any case of letters and any width, without punctuation."""
    return _WORDS.findall(unicodedata.normalize("NFKC", text).casefold())


def marked_words(text: str) -> list[str]:
    """Words as they are written, and punctuation marks as words of their own."""
    return _MARKED.findall(text)


def fuzzy_match(text: str, reference: str) -> float:
    """1 − insertions and deletions as a share of both lengths (normalised indel similarity)."""
    return fuzz.ratio(text, reference) / 100


def rouge_n(text: str, reference: str, order: int) -> float:
    """F1 over runs of ``order`` words (ROUGE-N, Lin 2004)."""
    found, wanted = (grams(words(one), order) for one in (text, reference))
    shared = (found & wanted).total()
    return 2 * shared / (found.total() + wanted.total()) if shared else 0.0


def rouge_l(text: str, reference: str) -> float:
    """F1 of the longest common subsequence of words (ROUGE-L, Lin 2004)."""
    found, wanted = words(text), words(reference)
    if not found or not wanted:
        return 0.0
    return 2 * LCSseq.similarity(found, wanted) / (len(found) + len(wanted))


def bleu(text: str, reference: str) -> float:
    """BLEU of one sentence (Papineni et al. 2002).

    Precisions of one to four words, as many as the text has; those without a match count as 1/2,
    1/4, … of one (Chen & Cherry 2014, smoothing 3), as sacreBLEU's sentence score does.
    """
    found, wanted = marked_words(text), marked_words(reference)
    logs: list[float] = []
    smooth = 1.0
    for order in range(1, min(_ORDER, len(found)) + 1):
        mine = grams(found, order)
        shared = (mine & grams(wanted, order)).total()
        if order == 1 and not shared:
            return 0.0
        smooth = smooth if shared else 2 * smooth
        logs.append(math.log((shared or 1 / smooth) / mine.total()))
    if not logs:
        return 0.0
    brevity = min(0.0, 1 - len(wanted) / len(found))
    return math.exp(brevity + math.fsum(logs) / len(logs))


def gleu(text: str, reference: str) -> float:
    """The smaller of precision and recall over one to four words (Wu et al. 2016, 1609.08144)."""
    mine, theirs = (_upto(marked_words(one)) for one in (text, reference))
    larger = max(mine.total(), theirs.total())
    return (mine & theirs).total() / larger if larger else 0.0


def cosine(one: Sequence[float], other: Sequence[float]) -> float:
    """Cosine of the angle between two vectors; 0 where one has no length."""
    lengths = math.hypot(*one) * math.hypot(*other)
    return math.fsum(map(mul, one, other)) / lengths if lengths else 0.0


def grams(tokens: Sequence[str], order: int) -> Grams:
    """Runs of ``order`` tokens."""
    return Counter(zip(*(tokens[start:] for start in range(order)), strict=False))


def _upto(tokens: Sequence[str]) -> Grams:
    return sum((grams(tokens, order) for order in range(1, _ORDER + 1)), Counter())


METRICS: dict[str, Callable[[str, str], float]] = {
    "fuzzy_match": fuzzy_match,
    "bleu": bleu,
    "gleu": gleu,
    "rouge_l": rouge_l,
    **{f"rouge_{order}": partial(rouge_n, order=order) for order in range(1, 6)},
}
"""By OpenAI's names; cosine and meteor need more than the texts."""
