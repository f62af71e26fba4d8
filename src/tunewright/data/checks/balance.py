"""Is one side of the data much heavier: one class, the longer answer, one judgement?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from itertools import takewhile

from tunewright.data.checks.base import Check, Context, Corpus, Finding, Outcome
from tunewright.data.records import Draft

_RARE = 10
_MAJORITY = 0.8
_LONGER = 0.7
_JUDGED = 0.9
_SHOWN = 20
_NOTHING = {"keep": {"en": "change nothing", "zh": "不做改动"}}


def _run_classes(corpus: Corpus, action: str, context: Context) -> Outcome:
    counts = Counter(draft.label for draft in corpus.drafts if draft.label is not None)
    if not counts:
        return Outcome()
    (most, largest), *_ = ordered = counts.most_common()
    share = largest / counts.total()
    rare = sum(count < _RARE for count in counts.values())
    split = context.config.split
    test = 0 if context.config.test_files else split.test
    finding = Finding(
        check=CLASSES.name,
        rows=counts.total(),
        level="care" if share > _MAJORITY or rare or len(counts) == 1 else "info",
        action=action,
        facts={
            "rows": counts.total(),
            "classes": len(counts),
            "most": most,
            "share": share,
            "rare": rare,
            "least": _RARE,
            # What rounding leaves of a class in a split is a row at best.
            "no_dev": sum(count * split.dev < 1 for count in counts.values()),
            "no_test": sum(count * test < 1 for count in counts.values()),
        },
        figure={"classes": _shortened(dict(ordered))},
    )
    return Outcome(finding)


def _shortened(counts: Mapping[str, int]) -> dict[str, int]:
    """The largest classes, and all others as one."""
    names = list(counts)
    shown = {name: counts[name] for name in names[:_SHOWN]}
    others = sum(counts[name] for name in names[_SHOWN:])
    return {**shown, "…": others} if others else shown


CLASSES = Check(
    name="class_balance",
    actions=("keep",),
    run=_run_classes,
    title={"en": "Balance of classes", "zh": "类别分布"},
    says={
        "en": "{classes:,} classes in {rows:,} rows. The largest, “{most}”, has {share:.0%}: a "
        "model that always says it is right that often. {rare:,} classes have fewer than "
        "{least} rows; {no_test:,} are too small to be sure of a row in the test, {no_dev:,} of "
        "one in the validation.",
        "zh": "{rows:,} 行共 {classes:,} 个类别。最大的“{most}”占 {share:.0%}：只要永远回答它，"
        "就能有这么高的正确率。有 {rare:,} 个类别不足 {least} 行；{no_test:,} 个类别太小，"
        "测试集中未必分得到一行，验证集则有 {no_dev:,} 个。",
    },
    does=_NOTHING,
    kinds=frozenset({"conversation"}),
)


def _length(draft: Draft) -> int:
    """Characters of the better answer: all that follows the last question."""
    answer = takewhile(lambda turn: turn.role != "user", reversed(draft.turns))
    return sum(len(turn.text) for turn in answer)


def _run_lengths(corpus: Corpus, action: str, context: Context) -> Outcome:
    counts = Counter(
        _compared(_length(draft), sum(len(turn.text) for turn in draft.rejected))
        for draft in corpus.drafts
        if draft.rejected
    )
    if not counts:
        return Outcome()
    longer = counts["longer"] / counts.total()
    finding = Finding(
        check=LENGTH_BIAS.name,
        rows=counts.total(),
        level="care" if not 1 - _LONGER <= longer <= _LONGER else "info",
        action=action,
        facts={"rows": counts.total(), "longer": longer},
        figure={"better_answer": {k: counts[k] for k in ("longer", "equal", "shorter")}},
    )
    return Outcome(finding)


def _compared(better: int, worse: int) -> str:
    if better == worse:
        return "equal"
    return "longer" if better > worse else "shorter"


LENGTH_BIAS = Check(
    name="length_bias",
    actions=("keep",),
    run=_run_lengths,
    title={"en": "Length of the better answers", "zh": "优选回答的长度"},
    says={
        "en": "In {longer:.0%} of {rows:,} pairs the better answer is the longer one. Far from a "
        "half, a model learns the length before it learns what is better.",
        "zh": "{rows:,} 对回答中，有 {longer:.0%} 是较好的那个更长。若远离一半，"
        "模型会先学会长短，而不是好坏。",
    },
    does=_NOTHING,
    kinds=frozenset({"preference"}),
)


def _run_judgements(corpus: Corpus, action: str, context: Context) -> Outcome:
    judged = Counter(draft.desirable for draft in corpus.drafts if draft.desirable is not None)
    if not judged:
        return Outcome()
    share = judged[True] / judged.total()
    finding = Finding(
        check=JUDGEMENTS.name,
        rows=judged.total(),
        level="info" if 1 - _JUDGED <= share <= _JUDGED else "care",
        action=action,
        facts={"rows": judged.total(), "share": share},
        figure={"judgements": {"desirable": judged[True], "undesirable": judged[False]}},
    )
    return Outcome(finding)


JUDGEMENTS = Check(
    name="judgement_balance",
    actions=("keep",),
    run=_run_judgements,
    title={"en": "Balance of judgements", "zh": "评价分布"},
    says={
        "en": "{share:.0%} of {rows:,} answers are judged good. Learning from judgements needs "
        "both kinds, neither of them rare.",
        "zh": "{rows:,} 个回答中，{share:.0%} 评为好。从评价中学习，好坏两类都要有，且都不能太少。",
    },
    does=_NOTHING,
    kinds=frozenset({"rating"}),
)
