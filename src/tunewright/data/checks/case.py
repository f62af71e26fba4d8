"""Texts typed in capitals throughout."""

from __future__ import annotations

from collections import Counter

import polars as pl

from tunewright.core.messages import Role
from tunewright.data.checks.base import EXAMPLES, Change, Check, Context, Corpus, Finding, Outcome
from tunewright.data.checks.shown import example
from tunewright.data.checks.turns import Edit, rewritten

_LEAST_ROWS = 10
_LEAST_LETTERS = 10
_SHARE = 0.5
_MOSTLY_ASCII = 1.5
"""At most so many bytes a character: the rest of a row's letters have no case."""


def _shouted(texts: pl.Series) -> list[int]:
    """Texts written mostly in capitals, if more than half of those with letters are; else none."""
    frame = texts.to_frame("text").with_row_index("row")
    # Chinese rows need three bytes a character: they are out before anything is counted.
    counted = (
        frame.lazy()
        .filter(pl.col("text").str.len_bytes() <= _MOSTLY_ASCII * pl.col("text").str.len_chars())
        .select(
            "row",
            pl.col("text").str.count_matches("[A-Z]").alias("upper"),
            pl.col("text").str.count_matches("[a-z]").alias("lower"),
        )
        .filter(pl.col("upper") + pl.col("lower") >= _LEAST_LETTERS)
        .collect()
    )
    shouted = counted.filter(pl.col("upper") > pl.col("lower"))["row"].to_list()
    enough = len(counted) >= _LEAST_ROWS and len(shouted) > _SHARE * len(counted)
    return shouted if enough else []


def _run(corpus: Corpus, action: str, context: Context) -> Outcome:
    questions, answers = _shouted(corpus.questions), _shouted(corpus.answers)
    rows = sorted({*questions, *answers})
    if not rows:
        return Outcome()
    finding = Finding(
        check=CASE.name,
        rows=len(rows),
        level="info",
        action=action,
        facts={"rows": len(rows), "questions": len(questions), "answers": len(answers)},
        examples=tuple(example(corpus.drafts[row]) for row in rows[:EXAMPLES]),
    )
    if action == "keep":
        return Outcome(finding)
    asked, answered = frozenset(questions), frozenset(answers)
    changes = (_lowered(corpus, row, row in asked, row in answered) for row in rows)
    return Outcome(finding, changes=[change for change in changes if change is not None])


def _lowered(corpus: Corpus, row: int, question: bool, answer: bool) -> Change | None:
    edits: dict[Role, Edit] = {}
    if question:
        edits["user"] = _lower
    if answer:
        edits["assistant"] = _lower
    return rewritten(row, corpus.drafts[row], edits)


def _lower(text: str) -> tuple[str, Counter[str]]:
    lower = text.lower()
    return lower, Counter({"to lower case": 1} if lower != text else {})


CASE = Check(
    name="case",
    actions=("keep", "lower"),
    run=_run,
    title={"en": "Texts in capitals", "zh": "全大写的文本"},
    says={
        "en": "Most texts with Latin letters are written in capitals ({questions:,} questions, "
        "{answers:,} answers). Tokenizers cut capitals into more and rarer tokens, and users "
        "will not write that way.",
        "zh": "多数含英文字母的文本为全大写（{questions:,} 个问题，{answers:,} 个回答）。"
        "大写会被切成更多、更少见的词元，而用户平时并不这样书写。",
    },
    does={
        "keep": {"en": "keep them as they are", "zh": "原样保留"},
        "lower": {"en": "write them in lower case", "zh": "改为小写"},
    },
)
