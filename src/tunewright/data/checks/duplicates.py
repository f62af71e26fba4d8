"""The same question with the same answer."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence

from tunewright.data.checks.base import Check, Context, Corpus, Drop, Finding, Outcome
from tunewright.data.checks.likeness import (
    first_of_best,
    row_identity,
    show,
    tools_identity,
)
from tunewright.data.normal import near_key
from tunewright.data.records import Draft

_MANY = 0.3


def _run(corpus: Corpus, action: str, context: Context) -> Outcome:
    kept = _repeats(corpus)
    if not kept:
        return Outcome()
    rows = len(kept)
    share = rows / len(corpus.drafts)
    finding = Finding(
        check="duplicates",
        rows=rows,
        level="care" if share > _MANY else "info",
        action=action,
        facts={"rows": rows, "share": share, "different": len(set(kept.values()))},
        examples=show(corpus, kept.items()),
    )
    if action == "keep":
        return Outcome(finding)
    drops = [Drop(row, "duplicate", kept=stays) for row, stays in kept.items()]
    return Outcome(finding, drops)


def _repeats(corpus: Corpus) -> dict[int, int]:
    """Rows that repeat another → the row that stays, in the order of rows.

    Quick signs come first: only rows that share the near key of their question are looked at,
    rows that are equal to the letter count as one, and only what then shares the near key of
    its answer too is compared part by part.
    """
    drafts, keys = corpus.drafts, corpus.question_keys
    suspects = keys.is_duplicated().arg_true()
    key_of = dict(zip(suspects.to_list(), keys.gather(suspects).to_list(), strict=True))
    kept: dict[int, int] = {}
    equal = _grouped(((row,) for row in key_of), lambda row: _to_the_letter(drafts[row]))
    alike = _grouped(equal, lambda row: (key_of[row], near_key(drafts[row].answer)))
    heads = {group[0]: group for group in equal}
    for group in alike:
        inside = [heads[row] for row in group if row in heads]
        same = inside if len(inside) == 1 else _grouped(inside, _identity_in(drafts))
        for rows in same:
            stays = first_of_best(drafts, rows)
            kept.update((row, stays) for row in rows if row != stays)
    return dict(sorted(kept.items()))


def _to_the_letter(draft: Draft) -> Hashable:
    return draft.turns, draft.rejected, draft.desirable, tools_identity(draft)


def _identity_in(drafts: Sequence[Draft]) -> Callable[[int], Hashable]:
    return lambda row: row_identity(drafts[row])


def _grouped(
    groups: Iterable[Sequence[int]], identity: Callable[[int], Hashable]
) -> list[list[int]]:
    """Groups of rows whose first rows have the same identity, put together."""
    merged: dict[Hashable, list[int]] = {}
    for group in groups:
        merged.setdefault(identity(group[0]), []).extend(group)
    return list(merged.values())


DUPLICATES = Check(
    name="duplicates",
    actions=("drop", "keep"),
    run=_run,
    title={"en": "Repeated rows", "zh": "重复的行"},
    says={
        "en": "{rows:,} rows ({share:.1%}) repeat another row: the same question with the same "
        "answer, but for spaces and the width of characters. A repeated row weighs more than it "
        "should, and makes a test look better than it is when it stands on both sides.",
        "zh": "有 {rows:,} 行（{share:.1%}）与另一行重复：除空格和全角、半角写法外，"
        "问题和答案都相同。"
        "重复的行会被过度学习；若同时落入训练集和测试集，还会让测试成绩虚高。",
    },
    does={
        "drop": {"en": "keep one row of each", "zh": "每组只保留一行"},
        "keep": {"en": "keep them all", "zh": "全部保留"},
    },
)
