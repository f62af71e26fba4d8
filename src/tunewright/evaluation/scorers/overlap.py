"""How much of a reference an answer says: equal, shared words, ROUGE, BLEU, chrF."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np

from tunewright.evaluation.scorers.base import Material, Sample, Score, Value
from tunewright.evaluation.scorers.normal import normalise, pieces, words
from tunewright.evaluation.statistics.bootstrap import Floats
from tunewright.grading import similarity

_ORDER = 4
_BEGIN, _END = 2, 2 + 2 * _ORDER


def exact(answer: str, reference: str) -> float:
    """1 when both are the same after ``normalise``."""
    return float(normalise(answer) == normalise(reference))


def verbatim(answer: str, reference: str) -> float:
    """1 when both are the same, character for character, but for space around them."""
    return float(answer.strip() == reference.strip())


def char_f1(answer: str, reference: str) -> float:
    """Harmonic mean of precision and recall over the multiset of ``pieces``.

    The token F1 of SQuAD (Rajpurkar et al. 2016), with characters as tokens in Chinese.
    """
    return _f1(answer, reference, pieces)


def word_f1(answer: str, reference: str) -> float:
    """As ``char_f1``, with whole words in Chinese too."""
    return _f1(answer, reference, words)


def _f1(answer: str, reference: str, cut: Callable[[str], list[str]]) -> float:
    found, wanted = Counter(cut(answer)), Counter(cut(reference))
    if not found or not wanted:
        return exact(answer, reference)
    shared = (found & wanted).total()
    return 2 * shared / (found.total() + wanted.total())


def rouge_l(answer: str, reference: str) -> float:
    """F1 of the longest common subsequence (Lin 2004), as the grader of that name computes it."""
    return similarity.rouge_l(answer, reference)


def length(answer: str, reference: str) -> float:
    """Shorter over longer length in ``pieces``: 1 is the reference's length, 0 an empty answer."""
    counts = sorted((len(pieces(answer)), len(pieces(reference))))
    return counts[0] / counts[1] if counts[1] else 1.0


def bleu(material: Material) -> Score:
    """BLEU by sacreBLEU: of all answers together; each answer's own is smoothed."""
    from sacrebleu.metrics.bleu import BLEU

    scorer = BLEU(tokenize="zh" if material.chinese else "13a", effective_order=True)

    def run(samples: Sequence[Sample]) -> list[Value | None]:
        found: list[Value | None] = []
        for one in samples:
            # In sacreBLEU a text is a line.
            seen = scorer.sentence_score(_line(one.answer), [_line(one.reference)])
            parts = (seen.sys_len, seen.ref_len, *seen.counts, *seen.totals)
            found.append(Value(seen.score / 100, tuple(map(float, parts))))
        return found

    return run


def corpus_bleu(parts: Floats) -> Floats:
    """BLEU in 0..1 from sums of lengths, matches and runs: ``(…, 10)`` → ``(…)``.

    Papineni et al. 2002; orders without a match count half a match, then a quarter and so on
    ("exp", sacreBLEU's default), and without any match at all it is 0.
    """
    theirs, ours = parts[..., 0], parts[..., 1]
    matches, runs = parts[..., _BEGIN : _BEGIN + _ORDER], parts[..., _BEGIN + _ORDER : _END]
    missed = (matches == 0) & (runs > 0)
    halved = 0.5 ** np.cumsum(missed, axis=-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        logs = np.log(np.where(missed, halved, matches) / runs)
        brevity = np.minimum(0.0, 1 - ours / theirs)
        score = np.exp(brevity + logs.mean(axis=-1))
    nothing = (matches.sum(axis=-1) == 0) | (runs == 0).any(axis=-1) | (theirs == 0)
    found: Floats = np.where(nothing, 0.0, score)
    return found


def chrf(material: Material) -> Score:
    """Mean chrF (Popović 2015) of the answers, by sacreBLEU: shared runs of 1 to 6 characters."""
    from sacrebleu.metrics.chrf import CHRF

    scorer = CHRF()

    def run(samples: Sequence[Sample]) -> list[Value | None]:
        return [
            Value(scorer.sentence_score(_line(one.answer), [_line(one.reference)]).score / 100)
            for one in samples
        ]

    return run


def _line(text: str) -> str:
    return " ".join(text.split())
