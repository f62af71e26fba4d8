"""Training rows that ask what a test set asks: a score on them proves nothing."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import Literal, NamedTuple

import numpy as np
import polars as pl

from tunewright.data.checks.base import (
    EXAMPLES,
    Check,
    Context,
    Corpus,
    Drop,
    Example,
    Finding,
    Outcome,
    excerpt,
)
from tunewright.data.checks.minhash import batches, cross_candidates, similarities
from tunewright.data.checks.shown import hidden
from tunewright.data.hashing import (
    Places,
    codes_of,
    perhaps_among,
    slices,
    starts_of,
    window_hashes,
)
from tunewright.data.keys import near_keys

GRAM = 13
"""Characters of Chinese, or words of other languages, that texts do not share by chance.

Brown et al., "Language Models are Few-Shot Learners", 2020, appendix C.
"""
_FRAME, _FRAME_LEAST = 0.01, 5
_UNSPACED = r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Hangul}\p{Thai}]"
_WORDS = re.compile(r"\w+")

How = Literal["same", "near", "13-gram"]


class Overlap(NamedTuple):
    """A training text that meets a held one.

    Attributes:
        train: place of the training text.
        held: place of the held text that it meets most.
        how: ``same`` but for punctuation and case, ``near`` by Jaccard similarity of character
            runs, or ``13-gram``, a run that they share.
        score: the similarity; of a 13-gram, the share of the held text's runs that are shared.
    """

    train: int
    held: int
    how: How
    score: float


def overlap(train: Sequence[str], held: Sequence[str], near: float) -> list[Overlap]:
    """Which training texts repeat a held text, wholly or in part, in the order of training.

    Runs that stand in more than one in a hundred of the training texts are the frame of the
    task and count for nothing.

    Args:
        train: texts to be learned from.
        held: texts to be tested on.
        near: Jaccard similarity from which two texts count as near.
    """
    return _overlaps(train, near_keys(train), held, near)


def _overlaps(
    train: Sequence[str], keys: Sequence[str], held: Sequence[str], near: float
) -> list[Overlap]:
    places: dict[str, int] = {}
    for place, key in enumerate(near_keys(held)):
        places.setdefault(key, place)
    found = {
        row: Overlap(row, places[key], "same", 1.0) for row, key in enumerate(keys) if key in places
    }
    rest = [row for row in range(len(keys)) if row not in found]
    for row, place, score in _near(keys, rest, places, near):
        found[row] = Overlap(row, place, "near", score)
    rest = [row for row in rest if row not in found]
    others = list(places.values())
    for row, place, score in _shared_runs(train, keys, rest, [held[p] for p in others]):
        found[row] = Overlap(row, others[place], "13-gram", score)
    return [found[row] for row in sorted(found)]


def _near(
    keys: Sequence[str], rows: list[int], places: Mapping[str, int], threshold: float
) -> Iterator[tuple[int, int, float]]:
    others = list(places)
    mine = [keys[row] for row in rows]
    both = [*mine, *others]
    best: dict[int, tuple[float, int]] = {}
    for found in cross_candidates(mine, others, threshold):
        for pairs in batches(both, found + np.array([0, len(mine)])):
            scores = similarities(both, pairs).tolist()
            for (one, other), score in zip(pairs.tolist(), scores, strict=True):
                if score >= threshold:
                    best[one] = max(best.get(one, (0.0, 0)), (score, len(mine) - other))
    for one, (score, other) in best.items():
        yield rows[one], places[others[-other]], score


def _shared_runs(
    train: Sequence[str], keys: Sequence[str], rows: list[int], held: Sequence[str]
) -> Iterator[tuple[int, int, float]]:
    """Rows, places in ``held``, and shares of its runs: by characters, then by words."""
    unspaced = pl.Series([train[row] for row in rows], dtype=pl.String).str.contains(_UNSPACED)
    held_unspaced = pl.Series(held, dtype=pl.String).str.contains(_UNSPACED)
    for by_words in (False, True):
        mine = [row for row, yes in zip(rows, unspaced, strict=True) if yes != by_words]
        theirs = [place for place, yes in enumerate(held_unspaced) if yes != by_words]
        if not mine or not theirs:
            continue
        others = [held[place] for place in theirs]
        runs = (
            _word_runs([train[row] for row in mine], others)
            if by_words
            else _character_runs([keys[row] for row in mine], near_keys(others))
        )
        for row, place, score in _meet(*runs, _frame_limit(len(train))):
            yield mine[row], theirs[place], score


def _frame_limit(rows: int) -> float:
    return max(_FRAME_LEAST, _FRAME * rows)


class _Runs(NamedTuple):
    """Hashes of the runs in texts, and the text of each; both (runs,)."""

    hashes: np.ndarray[tuple[int], np.dtype[np.uint64]]
    texts: Places


def _character_runs(keys: Sequence[str], held: Sequence[str]) -> tuple[_Runs, _Runs]:
    wanted = _runs(*codes_of(held))
    hits = [_Runs(wanted.hashes[:0], wanted.texts[:0])]
    for first, part in slices(keys):
        hits.append(_wanted(_runs(*codes_of(part)), wanted, first))
    return _Runs(*map(np.concatenate, zip(*hits, strict=True))), wanted


def _word_runs(texts: Sequence[str], held: Sequence[str]) -> tuple[_Runs, _Runs]:
    """As ``_character_runs``; a word that no held text has is number 0, which never matches."""
    words = [_WORDS.findall(text.lower()) for text in held]
    different = dict.fromkeys(chain.from_iterable(words))
    numbers = {word: number for number, word in enumerate(different, start=1)}
    wanted = _numbered_runs(words, numbers)
    found = _numbered_runs([_WORDS.findall(text.lower()) for text in texts], numbers)
    return _wanted(found, wanted, 0), wanted


def _numbered_runs(texts: list[list[str]], numbers: Mapping[str, int]) -> _Runs:
    units = [numbers.get(word, 0) for words in texts for word in words]
    lengths = np.fromiter(map(len, texts), np.int64, len(texts))
    return _runs(np.array(units, np.uint32), starts_of(lengths))


def _runs(units: np.ndarray[tuple[int], np.dtype[np.uint32]], starts: Places) -> _Runs:
    """Every run of 13 units inside a text."""
    hashes = window_hashes(units, GRAM)
    lengths = np.diff(starts)
    texts = np.repeat(np.arange(lengths.size), np.maximum(lengths - GRAM + 1, 0))
    ends = starts_of(np.maximum(lengths - GRAM + 1, 0))
    begins = np.arange(texts.size) + (starts[:-1] - ends[:-1])[texts]
    return _Runs(hashes[begins], texts)


def _wanted(runs: _Runs, wanted: _Runs, first: int) -> _Runs:
    """The runs that stand in a held text too; ``first`` is added to their texts' places."""
    known = np.flatnonzero(perhaps_among(runs.hashes, wanted.hashes))
    known = known[np.isin(runs.hashes[known], wanted.hashes)]
    return _Runs(runs.hashes[known], runs.texts[known] + first)


def _meet(found: _Runs, wanted: _Runs, most: float) -> Iterator[tuple[int, int, float]]:
    """For each text with shared runs the held text that shares most of its own."""
    holders: dict[int, set[int]] = {}
    for run, place in zip(wanted.hashes.tolist(), wanted.texts.tolist(), strict=True):
        holders.setdefault(run, set()).add(place)
    sizes = Counter(place for places in holders.values() for place in places)
    shared: dict[int, set[int]] = {}
    for run, row in zip(found.hashes.tolist(), found.texts.tolist(), strict=True):
        shared.setdefault(row, set()).add(run)
    rows_with = Counter(run for runs in shared.values() for run in runs)
    for row, runs in shared.items():
        meets = Counter(place for run in runs if rows_with[run] <= most for place in holders[run])
        if meets:
            place = max(meets, key=lambda held: (meets[held] / sizes[held], -held))
            yield row, place, meets[place] / sizes[place]


def _run(corpus: Corpus, action: str, context: Context) -> Outcome:
    if not context.held:
        return Outcome()
    held = [draft.question for draft in context.held]
    texts, keys = corpus.questions.to_list(), corpus.question_keys.to_list()
    found = _overlaps(texts, keys, held, context.config.checks.near)
    if not found:
        return Outcome()
    counts = Counter(one.how for one in found)
    finding = Finding(
        check="leakage",
        rows=len(found),
        level="care",
        action=action,
        facts={
            "rows": len(found),
            "exact": counts["same"],
            "near": counts["near"],
            "shared": counts["13-gram"],
            "held": len({one.held for one in found}),
            "tested": len(held),
        },
        examples=_examples(corpus, context, found),
    )
    gone = {"exact": ("same",), "drop": ("same", "near", "13-gram"), "keep": ()}[action]
    drops = [
        Drop(one.train, "question stands in the test set", detail=_detail(one))
        for one in found
        if one.how in gone
    ]
    return Outcome(finding, drops)


def _detail(one: Overlap) -> str:
    return "" if one.how == "same" else f"{one.how}, {one.score:.2f}"


def _examples(corpus: Corpus, context: Context, found: list[Overlap]) -> tuple[Example, ...]:
    """The least sure ones first need a look: near, then shared runs, then equal ones."""
    order = {"near": 0, "13-gram": 1, "same": 2}
    shown = sorted(found, key=lambda one: (order[one.how], -one.score))[:EXAMPLES]
    rows = ((corpus.drafts[one.train], context.held[one.held]) for one in shown)
    return tuple(
        Example(
            mine.file,
            mine.number,
            excerpt(hidden(mine.question)),
            (other.file, other.number, excerpt(hidden(other.question))),
        )
        for mine, other in rows
    )


LEAKAGE = Check(
    name="leakage",
    actions=("exact", "drop", "keep"),
    run=_run,
    title={"en": "Questions of the test set", "zh": "训练数据中的测试题"},
    says={
        "en": "{rows:,} training rows meet {held:,} of the {tested:,} questions of the test set: "
        "{exact:,} ask the same, {near:,} nearly the same, and {shared:,} share a run of 13 "
        "characters (of words in languages with spaces). A model that has seen the question "
        "shows memory, not skill.",
        "zh": "有 {rows:,} 行训练数据与测试集 {tested:,} 个问题中的 {held:,} 个重合："
        "{exact:,} 行问题相同，{near:,} 行近似，{shared:,} 行含有连续 13 个相同的字（英文为词）。"
        "见过题目的模型考出的是记忆，不是能力。",
    },
    does={
        "exact": {
            "en": "leave out the rows that ask the same, and keep those that are only alike",
            "zh": "去掉问题相同的行，只是近似的保留",
        },
        "drop": {"en": "leave out all of them", "zh": "全部去掉"},
        "keep": {"en": "keep them all", "zh": "全部保留"},
    },
)
