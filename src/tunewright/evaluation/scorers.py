"""Metrics: small functions from one answer and its reference to a value in 0..1."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

FINISHED = "stop"
"""The finish reason of an answer that ended by itself, as in OpenAI's protocol."""

# Sentence marks only: dropping every punctuation sign would make "10%" equal "10".
_FINAL_MARKS = " .!?;,:。、"
# Ideographs (with extensions) and kana: scripts written without spaces between words.
_UNSPACED = r"\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U000323af"
_PIECE = re.compile(rf"[{_UNSPACED}]|(?:(?![{_UNSPACED}])[^\W_])+")


def normalise(text: str) -> str:
    """NFKC, casefolded, whitespace collapsed, final sentence marks dropped.

    So ``“Ａ１ ”`` and ``“a1。”`` are the same answer, while ``10%`` and ``10`` are not.
    """
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return " ".join(folded.split()).rstrip(_FINAL_MARKS)


def pieces(text: str) -> list[str]:
    """What overlap is counted in: Chinese by characters, other scripts by words; no punctuation."""
    return _PIECE.findall(normalise(text))


def exact(answer: str, reference: str) -> float:
    """1 when both are the same after ``normalise``."""
    return float(normalise(answer) == normalise(reference))


def char_f1(answer: str, reference: str) -> float:
    """Harmonic mean of precision and recall over the multiset of ``pieces``.

    The token F1 of SQuAD (Rajpurkar et al. 2016), with characters as tokens in Chinese.
    """
    found, wanted = Counter(pieces(answer)), Counter(pieces(reference))
    if not found or not wanted:
        return exact(answer, reference)
    shared = (found & wanted).total()
    return 2 * shared / (found.total() + wanted.total())


def length(answer: str, reference: str) -> float:
    """Shorter over longer length in ``pieces``: 1 is the reference's length, 0 an empty answer."""
    counts = sorted((len(pieces(answer)), len(pieces(reference))))
    return counts[0] / counts[1] if counts[1] else 1.0


@dataclass(frozen=True, slots=True)
class Metric:
    """One column of scores. ``score(answer, reference, finish_reason)`` is in 0..1."""

    name: str
    score: Callable[[str, str, str], float]
    binary: bool
    """Whether every value is 0 or 1, so that a proportion's interval applies."""


METRICS: tuple[Metric, ...] = (
    Metric("exact", lambda answer, reference, _: exact(answer, reference), binary=True),
    Metric("char_f1", lambda answer, reference, _: char_f1(answer, reference), binary=False),
    Metric("length", lambda answer, reference, _: length(answer, reference), binary=False),
    Metric("stop", lambda _, __, finish: float(finish == FINISHED), binary=True),
)


def score(answer: str, reference: str, finish_reason: str) -> dict[str, float]:
    """Every metric's value for one answer."""
    return {metric.name: metric.score(answer, reference, finish_reason) for metric in METRICS}
