"""Several answers to one question: a model that learns them all learns to waver."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import polars as pl

from tunewright.data.checks.base import Check, Context, Corpus, Drop, Finding, Outcome
from tunewright.data.checks.clusters import clusters
from tunewright.data.checks.likeness import prompt_identity, say_the_same, show
from tunewright.data.records import Draft

_VARIED = 0.2
"""From this share of questions with several answers on, several answers are what is wanted."""
_NEAR = 0.9

Choice = Callable[[Draft, int], tuple[object, ...]]
"""Of a row and its place: what is greatest for the row that stays."""


@dataclass(frozen=True)
class _Conflict:
    """Rows with one question.

    Attributes:
        rows: all of them.
        stays: the one to keep.
        others: those whose answers differ from its answer.
    """

    rows: tuple[int, ...]
    stays: int
    others: tuple[int, ...]


def _longest(draft: Draft, row: int) -> tuple[object, ...]:
    return len(draft.answer), -row


def _newest(draft: Draft, row: int) -> tuple[object, ...]:
    return draft.date or "", row


def _best(draft: Draft, row: int) -> tuple[object, ...]:
    return draft.best is True, *_longest(draft, row)


_CHOICES: dict[str, Choice] = {"best": _best, "newest": _newest, "longest": _longest}


def _run(corpus: Corpus, action: str, context: Context) -> Outcome:
    same = context.config.checks.same
    conflicts = _conflicts(corpus.drafts, _questions(corpus), action, same)
    near = _near_questions(corpus, same)
    if not conflicts and not near:
        return Outcome()
    asked = corpus.question_keys.n_unique()
    share = len(conflicts) / asked
    drops = [
        Drop(row, "contradicting answer", kept=conflict.stays)
        for conflict in conflicts
        if _decides(corpus.drafts, conflict, action, share)
        for row in conflict.others
    ]
    rows = sum(len(conflict.rows) for conflict in conflicts)
    pairs = [(conflict.others[0], conflict.stays) for conflict in conflicts]
    finding = Finding(
        check="contradictions",
        rows=rows,
        level="care" if drops or (conflicts and share < _VARIED) else "info",
        action=action,
        facts={
            "rows": rows,
            "questions": len(conflicts),
            "share": share,
            "dropped": len(drops),
            "near": len(near),
        },
        examples=show(corpus, pairs + near),
    )
    return Outcome(finding, sorted(drops, key=lambda drop: drop.index))


def _questions(corpus: Corpus) -> list[list[int]]:
    """Rows that ask the same, question by question, in the order of rows."""
    groups: dict[object, list[int]] = {}
    for row in corpus.question_keys.is_duplicated().arg_true().to_list():
        draft = corpus.drafts[row]
        if draft.answer:
            groups.setdefault(prompt_identity(draft), []).append(row)
    return [group for group in groups.values() if len(group) > 1]


def _conflicts(
    drafts: Sequence[Draft], groups: Sequence[list[int]], action: str, same: float
) -> list[_Conflict]:
    """What contradicts what, question by question; groups that agree are left out."""
    pairs: list[tuple[int, int]] = []
    for group in groups:
        choice = _CHOICES.get(action) or _usual(drafts, group)
        stays = max(group, key=lambda row: choice(drafts[row], row))
        pairs += [(row, stays) for row in group if row != stays]
    others: dict[int, list[int]] = {}
    for (row, stays), agree in zip(pairs, _agree(drafts, pairs, same), strict=True):
        if not agree:
            others.setdefault(stays, []).append(row)
    whole = {row: group for group in groups for row in group}
    return [_Conflict(tuple(whole[stays]), stays, tuple(rows)) for stays, rows in others.items()]


def _agree(drafts: Sequence[Draft], pairs: Sequence[tuple[int, int]], same: float) -> list[bool]:
    """Whether the answers of each pair of rows say the same."""
    rows = sorted({row for pair in pairs for row in pair})
    place = {row: number for number, row in enumerate(rows)}
    answers = [drafts[row].answer for row in rows]
    return say_the_same(answers, [(place[one], place[other]) for one, other in pairs], same)


def _usual(drafts: Sequence[Draft], group: list[int]) -> Choice:
    """Marks decide where there are any; a class is corrected later; else the most said wins."""
    if _marked(drafts, group):
        return _best
    return _newest if any(drafts[row].label for row in group) else _longest


def _marked(drafts: Sequence[Draft], rows: Sequence[int]) -> bool:
    return any(drafts[row].best for row in rows)


def _decides(drafts: Sequence[Draft], conflict: _Conflict, action: str, share: float) -> bool:
    """Whether one answer is chosen: a task with many answers to most questions means them."""
    if action != "auto":
        return action != "all"
    labelled = any(drafts[row].label for row in conflict.rows)
    return share < _VARIED or labelled or _marked(drafts, conflict.rows)


def _near_questions(corpus: Corpus, same: float) -> list[tuple[int, int]]:
    """Pairs of rows worded almost alike but answered differently; these are only reported."""
    # Near questions share a group once near-duplicates have been looked for.
    groups = pl.Series([draft.group for draft in corpus.drafts], dtype=pl.String)
    rows = groups.is_duplicated().arg_true()
    found = clusters(corpus.question_keys.gather(rows), _NEAR)
    pairs = [(int(rows[other]), int(rows[one])) for one, other, _ in found.pairs]
    agree = _agree(corpus.drafts, pairs, same)
    return [pair for pair, yes in zip(pairs, agree, strict=True) if not yes]


CONTRADICTIONS = Check(
    name="contradictions",
    actions=("auto", "best", "newest", "longest", "all"),
    run=_run,
    kinds=frozenset({"conversation"}),
    title={"en": "Several answers to one question", "zh": "同一问题的不同答案"},
    says={
        "en": "{questions:,} questions ({share:.1%} of all) have several different answers, in "
        "{rows:,} rows. Another {near:,} pairs of questions are worded almost alike and answered "
        "differently; have a look at them.",
        "zh": "有 {questions:,} 个问题（占 {share:.1%}）对应多个不同的答案，涉及 {rows:,} 行。"
        "另有 {near:,} 对问题措辞几乎一样而答案不同，建议人工看一看。",
    },
    does={
        "auto": {
            "en": "keep the answer marked as best; without marks, keep all of them when a fifth "
            "of the questions have several (variety is then meant), else the longest",
            "zh": "有最佳标记的保留最佳答案；没有标记时，若两成以上的问题都有多个答案"
            "（说明本来就要多样）则全部保留，否则保留最长的",
        },
        "best": {
            "en": "keep the answer marked as best, else the longest",
            "zh": "保留标为最佳的答案；没有标记的保留最长的",
        },
        "newest": {
            "en": "keep the answer with the latest date, else the one that comes last",
            "zh": "保留日期最新的答案；没有日期的保留排在最后的",
        },
        "longest": {"en": "keep the longest answer", "zh": "保留最长的答案"},
        "all": {"en": "keep them all", "zh": "全部保留"},
    },
)
