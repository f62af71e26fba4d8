"""Rows that teach nothing: an answer that says nothing, or only repeats the question."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

import polars as pl

from tunewright.data.checks.base import (
    EXAMPLES,
    Check,
    Context,
    Corpus,
    Drop,
    Finding,
    Outcome,
)
from tunewright.data.checks.columns import suspects
from tunewright.data.checks.shown import example
from tunewright.data.normal import near_key
from tunewright.data.records import Draft

_SILENT = r"^[^\p{L}\p{N}]*$"
"""No letter and no digit: only punctuation, symbols or emoji (in Rust's syntax)."""
# Signs that answer a question: right or wrong, more or less.
_SAYING = re.compile(r"[√✓✔☑✅×✗✘❌○●◯△+=<>≤≥≈≠±∞%％°℃＋－＝＞＜－]")
_ABOUT_SIGNS = re.compile(
    r"表情|符号|标点|运算符|emoji|emoticon|symbol|punctuation|operator|sign\b", re.IGNORECASE
)

_EMPTY_WORDS: tuple[tuple[str, re.Pattern[str]], ...] = (
    (
        r"无|没有|暂无|没|无内容|暂无内容|无数据|暂无数据",
        # To these it is an answer.
        re.compile(
            r"有无|有没|是否|有何|有什么|有哪|吗|么|哪些|什么|是不是|几|多少|提取|抽取|识别|输出"
        ),
    ),
    (
        r"null|none|nil|nan|n/a|na|undefined|empty|空|未知",
        re.compile(
            r"返回|输出|结果|变量|函数|代码|提取|抽取|识别|是否|哪|什么|吗|return|output|print|python|sql|"
            r"javascript|which|what|who|is there|are there|any\b|extract|classify|\bif\b",
            re.IGNORECASE,
        ),
    ),
    (
        r"略|同上|如上|见上|同前|见附件|详见附件|如图|见图|见下图|如题|已回复|已回答|已答复|待回复|待补充|"
        r"待定|暂无回复|暂无回答|暂无答案|无回复|未回复|tbd|todo|test|测试|see above|see attached|"
        r"same as above|as above|no answer|no reply|lorem ipsum",
        re.compile(r"(?!)"),
    ),
)
"""Answers that say nothing, and the questions to which they would say something."""
_EMPTY_WORD = (
    r"(?i)^[\s\p{P}\p{S}]*(?:" + "|".join(w for w, _ in _EMPTY_WORDS) + r")[\s\p{P}\p{S}]*$"
)
_SHORT = ("question of one character", "empty question", "empty text")
_GREETINGS = frozenset("嗨嘿喂哈早好嗯哦在")
_LONGEST_WORD = 24
_NEAR = 4


def _run(corpus: Corpus, action: str, context: Context) -> Outcome:
    reasons = {**_questions(corpus), **_repeated(corpus), **_answers(corpus)}
    if not reasons:
        return Outcome()
    rows = sorted(reasons)
    counts = Counter(reasons.values())
    finding = Finding(
        check=TRIVIAL.name,
        rows=len(rows),
        level="care" if action == "keep" else "info",
        action=action,
        facts={
            "rows": len(rows),
            "nothing": counts["answer says nothing"] + counts["empty answer"],
            "repeats": counts["answer repeats the question"],
            "short": sum(counts[reason] for reason in _SHORT),
        },
        examples=tuple(example(corpus.drafts[row]) for row in rows[:EXAMPLES]),
    )
    drops = [Drop(row, reasons[row]) for row in rows]
    return Outcome(finding, drops if action == "drop" else ())


def _answers(corpus: Corpus) -> dict[int, str]:
    """Rows all of whose answers together say nothing."""
    answers = corpus.answers
    silent = suspects([answers], _SILENT)
    short = (answers.str.len_bytes() <= 3 * _LONGEST_WORD).arg_true()
    worded = short.filter(answers.gather(short).str.contains(_EMPTY_WORD))
    reasons = {
        row: "answer says nothing" if corpus.drafts[row].answer.strip() else "empty answer"
        for row in silent
        if _must_answer(corpus.drafts[row]) and not _signs_are_meant(corpus.drafts[row])
    }
    for row in worded:
        if _must_answer(corpus.drafts[row]) and not _word_is_meant(corpus.drafts[row]):
            reasons[row] = "answer says nothing"
    return reasons


def _must_answer(draft: Draft) -> bool:
    """Whether a row lives by its answer's words: not a class, a call, a bad example or a text."""
    return (
        draft.kind != "text"
        and draft.label is None
        and draft.desirable is not False
        and not any(turn.calls for turn in draft.turns)
    )


def _signs_are_meant(draft: Draft) -> bool:
    return bool(_SAYING.search(draft.answer) or _ABOUT_SIGNS.search(draft.question))


def _word_is_meant(draft: Draft) -> bool:
    answer = re.sub(r"^[\W_]+|[\W_]+$", "", draft.answer).lower()
    asked = next(asked for words, asked in _EMPTY_WORDS if re.fullmatch(words, answer))
    return asked.search(draft.question) is not None


def _repeated(corpus: Corpus) -> dict[int, str]:
    """Rows whose answer is their question once more."""
    questions, answers = corpus.questions, corpus.answers
    alike = (
        (questions.str.len_chars().cast(pl.Int64) - answers.str.len_chars().cast(pl.Int64)).abs()
        <= _NEAR
    ) & (questions.str.head(1) == answers.str.head(1))
    return {
        row: "answer repeats the question"
        for row in _places(alike)
        if _must_answer(corpus.drafts[row]) and _repeats(corpus.drafts[row])
    }


def _repeats(draft: Draft) -> bool:
    return bool(draft.question) and near_key(draft.question) == near_key(draft.answer)


def _questions(corpus: Corpus) -> dict[int, str]:
    """Rows whose question, or text, is empty or one character."""
    short = _places(corpus.questions.str.strip_chars().str.len_chars() <= 1)
    reasons = {row: _short_question(corpus.drafts[row]) for row in short}
    return {row: reason for row, reason in reasons.items() if reason}


def _short_question(draft: Draft) -> str:
    """Why a question of one character or none is no question; "" when it is one."""
    question = draft.question.strip()
    if not question:
        return "empty text" if draft.kind == "text" else "empty question"
    # A system message may say what to do with it.
    instructed = any(turn.role == "system" for turn in draft.turns)
    if question in _GREETINGS or instructed or not _must_answer(draft):
        return ""
    return "question of one character"


def _places(marks: pl.Series) -> Sequence[int]:
    places: list[int] = marks.arg_true().to_list()
    return places


TRIVIAL = Check(
    name="trivial",
    actions=("drop", "keep"),
    run=_run,
    title={"en": "Rows that say nothing", "zh": "没有内容的行"},
    says={
        "en": "{rows:,} rows teach nothing: in {nothing:,} the answer is empty or only a sign or "
        "a word such as “N/A”, in {repeats:,} it repeats the question, in {short:,} the question "
        "is empty or a single character. Short answers that do answer (yes, no, numbers, "
        "classes) are not among them.",
        "zh": "{rows:,} 行没有可学的内容：{nothing:,} 行的回答是空的，或只有标点、“略”“同上”之类；"
        "{repeats:,} 行的回答只是重复问题；{short:,} 行的问题为空或只有一个字。"
        "虽短但确实作答的（是、否、数字、类别）不算在内。",
    },
    does={
        "drop": {"en": "leave these rows out", "zh": "去掉这些行"},
        "keep": {"en": "keep them", "zh": "保留"},
    },
)
