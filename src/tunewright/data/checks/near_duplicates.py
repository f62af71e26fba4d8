"""Questions that are nearly equal, and rows whose answers are so too."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from tunewright.data.checks.base import Check, Context, Corpus, Drop, Finding, Outcome
from tunewright.data.checks.clusters import Clusters, clusters
from tunewright.data.checks.columns import column
from tunewright.data.checks.likeness import (
    cluster_histogram,
    show,
    tools_identity,
    turning_signs,
)
from tunewright.data.checks.minhash import (
    Pairs,
    batches,
    candidates,
    similarities,
)
from tunewright.data.hashing import Places
from tunewright.data.keys import near_keys
from tunewright.data.normal import exact_key
from tunewright.data.records import Draft


def _run(corpus: Corpus, action: str, context: Context) -> Outcome:
    config = context.config.checks
    found = clusters(corpus.question_keys, config.near)
    sizes = np.bincount(found.first)
    together = np.flatnonzero(sizes[found.first] > 1)
    if not together.size:
        return Outcome(clusters=found.first.tolist())
    repeats = _repeats(corpus, found.first, together, config.near, config.same)
    rows = int(together.size)
    finding = Finding(
        check="near_duplicates",
        rows=rows,
        level="care" if repeats else "info",
        action=action,
        facts={
            "rows": rows,
            "clusters": int((sizes > 1).sum()),
            "largest": int(sizes.max()),
            "repeats": len(repeats),
            "near": config.near,
            "same": config.same,
        },
        examples=show(corpus, _pairs(found, repeats)),
        figure={"cluster_sizes": cluster_histogram(found.first)},
    )
    drops = [Drop(row, "near-duplicate", kept=kept) for row, kept in sorted(repeats.items())]
    return Outcome(finding, drops if action == "drop" else (), clusters=found.first.tolist())


def _pairs(found: Clusters, repeats: Mapping[int, int]) -> Iterator[tuple[int, int]]:
    """Rows to show: those that go first, then questions that are only alike."""
    yield from sorted(repeats.items())
    yield from ((other, one) for one, other, _ in found.pairs)


def _repeats(
    corpus: Corpus, first: Places, together: Places, near: float, same: float
) -> dict[int, int]:
    """Rows that say nearly what another says → the row that stays.

    Rows are taken in the order in which they deserve to stay, and each drops those near it;
    a row stays unless a row that stays is near it itself, not through a chain.

    Args:
        corpus: the rows.
        first: for each row the first row of its question's cluster; (rows,).
        together: rows that share their cluster.
        near: similarity asked of questions.
        same: similarity asked of answers.
    """
    order = sorted(together.tolist(), key=lambda row: _deserves(corpus.drafts[row], row))
    rows = _Rows(corpus, order, near, same)
    own = np.arange(len(order))
    stays = own.copy()
    for pairs in candidates(column("key", rows.compared), same, within=first[order]):
        pairs = pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]
        for batch in batches(rows.compared, pairs[(stays == own)[pairs].all(axis=1)]):
            for one, other in rows.alike(batch[(stays == own)[batch].all(axis=1)]):
                if stays[one] == one and stays[other] == other and rows.match(one, other):
                    stays[other] = one
    while not np.array_equal(stays, stays[stays]):
        stays = stays[stays]
    return {order[row]: order[kept] for row, kept in enumerate(stays.tolist()) if row != kept}


def _deserves(draft: Draft, row: int) -> tuple[bool, int, int]:
    """Sorts the rows marked best first, then long answers, then early rows."""
    return draft.best is not True, -len(draft.answer), row


class _Rows:
    """Rows to compare, by their places in an order.

    Attributes:
        compared: near keys of the answers, or of the texts where rows are plain texts.
    """

    def __init__(self, corpus: Corpus, order: list[int], near: float, same: float) -> None:
        self._drafts = [corpus.drafts[row] for row in order]
        self._near, self._same = near, same
        self._questions: list[str] = corpus.question_keys.gather(order).to_list()
        whole = self._drafts[0].kind == "text"
        self.compared = near_keys([d.question if whole else d.answer for d in self._drafts])
        self._worse = near_keys([_rejected(draft) for draft in self._drafts])
        self._parts: dict[int, tuple[object, ...]] = {}

    def alike(self, pairs: Pairs) -> list[tuple[int, int]]:
        """The pairs whose questions and answers are near enough, in their order."""
        for keys, least in (
            (self.compared, self._same),
            (self._questions, self._near),
            (self._worse, self._same),
        ):
            pairs = pairs[similarities(keys, pairs) >= least]
        return [(one, other) for one, other in pairs.tolist()]

    def match(self, one: int, other: int) -> bool:
        """Whether all is equal that must be, so that one row can stand for the other."""
        return self._must_be_equal(one) == self._must_be_equal(other)

    def _must_be_equal(self, place: int) -> tuple[object, ...]:
        found = self._parts.get(place)
        if found is None:
            found = self._parts[place] = _must_be_equal(self._drafts[place])
        return found


def _rejected(draft: Draft) -> str:
    return "\n".join(turn.text for turn in draft.rejected)


def _must_be_equal(draft: Draft) -> tuple[object, ...]:
    return (
        [exact_key(turn.text) for turn in draft.turns if turn.role == "system"],
        [turn.calls for turn in draft.turns],
        tools_identity(draft),
        (draft.desirable, draft.label),
        [turning_signs(text) for text in (draft.question, draft.answer, _rejected(draft))],
    )


NEAR_DUPLICATES = Check(
    name="near_duplicates",
    actions=("drop", "keep"),
    run=_run,
    title={"en": "Nearly repeated rows", "zh": "近似重复的行"},
    says={
        "en": "{rows:,} rows ask nearly what another row asks; they form {clusters:,} clusters, "
        "the largest of {largest:,} rows, and each cluster stays on one side of the split. "
        "{repeats:,} of these rows also have nearly the same answer as another, with the same "
        "numbers and negations.",
        "zh": "有 {rows:,} 行的问题与其他行近似，共 {clusters:,} 组，最大的一组有 {largest:,} 行；"
        "同组的行不会被拆到训练集和测试集两边。"
        "其中 {repeats:,} 行连答案也近似，且数字和否定词一致。",
    },
    does={
        "drop": {
            "en": "keep one row of those that are nearly equal in question and answer",
            "zh": "问题和答案都近似的行只保留一行",
        },
        "keep": {"en": "keep them all", "zh": "全部保留"},
    },
)
