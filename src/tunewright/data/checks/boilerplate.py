"""One short answer to very many questions: a model learns to say nothing else."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import polars as pl

from tunewright.data.checks.base import (
    EXAMPLES,
    Check,
    Context,
    Corpus,
    Drop,
    Finding,
    Outcome,
    excerpt,
)
from tunewright.data.checks.likeness import show
from tunewright.data.checks.shown import hidden
from tunewright.data.keys import near_keys
from tunewright.data.records import Draft

_LONGEST = 60
_MANY, _FEW, _SHARE = 100, 20, 0.01
_HOPELESS = 0.5
# Rows like these name classes: nearly all answers are a word or two out of a few.
_CLASSES, _CLASS_LENGTH, _COVER = 2, 12, 0.9


def _run(corpus: Corpus, action: str, context: Context) -> Outcome:
    answers = _repeated_answers(corpus)
    if not answers or _names_classes(answers, len(corpus.drafts)):
        return Outcome()
    rows = sum(map(len, answers.values()))
    share = rows / len(corpus.drafts)
    texts = [corpus.drafts[places[0]].answer for places in answers.values()]
    counts = {
        excerpt(hidden(text), 40): len(places)
        for text, places in zip(texts, answers.values(), strict=True)
    }
    cap = context.config.checks.cap
    left = {"cap": cap, "keep": rows, "drop": 0}[action]
    drops = sorted(row for places in answers.values() for row in _surplus(corpus, places, left))
    finding = Finding(
        check="boilerplate",
        rows=rows,
        level="stop" if share > _HOPELESS else "care",
        action=action,
        facts={
            "rows": rows,
            "share": share,
            "answers": len(answers),
            "most": max(map(len, answers.values())),
            "cap": cap,
            "dropped": len(drops),
        },
        examples=show(corpus, [(places[0], None) for places in answers.values()]),
        figure={"answers": dict(list(counts.items())[: 2 * EXAMPLES])},
    )
    return Outcome(finding, [Drop(row, "boilerplate answer") for row in drops])


def _repeated_answers(corpus: Corpus) -> dict[str, list[int]]:
    """Near key of each short answer given to very many different questions → its rows."""
    drafts, answers = corpus.drafts, corpus.answers
    # Punctuation and spaces do not count as length, but are seldom a fifth of a text.
    brief = answers.str.len_chars().is_between(1, _LONGEST * 5 // 4).arg_true().to_list()
    rows = [row for row in brief if drafts[row].label is None]
    keys = near_keys(answers.gather(rows).to_list())
    short = pl.DataFrame(
        {"row": rows, "key": keys, "group": [drafts[row].group for row in rows]},
        schema={"row": pl.Int64, "key": pl.String, "group": pl.String},
    ).filter(pl.col("key").str.len_chars() <= _LONGEST)
    least = min(_MANY, max(_FEW, _SHARE * len(drafts)))
    many = (
        short.group_by("key", maintain_order=True)
        .agg(pl.col("row"), pl.col("group").n_unique().alias("questions"))
        .filter(pl.col("questions") >= least)
        .sort(pl.col("row").list.len(), descending=True, maintain_order=True)
    )
    return dict(zip(many["key"].to_list(), many["row"].to_list(), strict=True))


def _names_classes(answers: dict[str, list[int]], rows: int) -> bool:
    sizes = [len(places) for key, places in answers.items() if len(key) <= _CLASS_LENGTH]
    return len(sizes) >= _CLASSES and sum(sizes) >= _COVER * rows and max(sizes) < _COVER * rows


def _surplus(corpus: Corpus, places: Sequence[int], left: int) -> Iterator[int]:
    """The rows beyond ``left``: those that stay are of as many different questions as can be."""
    drafts = corpus.drafts
    stay = set(_spread(drafts, places)[:left])
    return (row for row in places if row not in stay)


def _spread(drafts: Sequence[Draft], places: Sequence[int]) -> list[int]:
    """First one row of each cluster of questions, then the others, each in the order of rows."""
    seen: set[str] = set()
    others: list[int] = []
    firsts: list[int] = []
    for row in places:
        group = drafts[row].group
        (others if group in seen else firsts).append(row)
        seen.add(group)
    return firsts + others


BOILERPLATE = Check(
    name="boilerplate",
    actions=("cap", "keep", "drop"),
    run=_run,
    kinds=frozenset({"conversation"}),
    title={"en": "Boilerplate answers", "zh": "千篇一律的答案"},
    says={
        "en": "{answers:,} short answers are given to very many different questions, in {rows:,} "
        "rows ({share:.1%}); the most frequent one {most:,} times. A model trained on them tends "
        "to give this answer to everything.",
        "zh": "有 {answers:,} 种简短答复被用来回答大量不同的问题，共 {rows:,} 行（{share:.1%}），"
        "最常见的一种出现 {most:,} 次。照此训练，模型很容易对什么问题都只说这一句。",
    },
    does={
        "cap": {
            "en": "keep a few rows of each, of different questions (option checks.cap)",
            "zh": "每种只保留少数几行，并尽量来自不同问题（选项 checks.cap）",
        },
        "keep": {"en": "keep them all", "zh": "全部保留"},
        "drop": {"en": "leave all of them out", "zh": "全部去掉"},
    },
)
