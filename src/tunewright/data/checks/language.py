"""Which languages the rows are in, told by their characters; no model is asked.

Chinese characters take three bytes in UTF-8 and ASCII letters one, so two lengths, which cost
nothing to know, tell them apart; only rows with other scripts are counted by character.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from tunewright.data.checks.base import EXAMPLES, Check, Context, Corpus, Finding, Outcome
from tunewright.data.checks.columns import suspects
from tunewright.data.checks.shown import example
from tunewright.data.checks.turns import all_turns
from tunewright.data.records import Draft

Tags = npt.NDArray[np.str_]
LANGUAGES = ("zh", "latin", "mixed", "other")

_OTHER = (
    r"[\p{Hiragana}\p{Katakana}\p{Hangul}\p{Cyrillic}\p{Greek}\p{Arabic}\p{Hebrew}\p{Thai}"
    r"\p{Devanagari}\p{Bengali}\p{Tamil}\p{Khmer}\p{Lao}\p{Myanmar}\p{Tibetan}\p{Mongolian}]"
)
_OTHER_SHARE = 0.2
_CHINESE, _LATIN = 0.4, 0.1
"""Shares of wide characters from which a text is Chinese, and up to which it is Latin."""
_LEAST_LETTERS = 20  # shorter answers are rather names, codes or classes
_CODE = r"```|[{};]\s*\n|def \w+\(|print\(|SELECT |<\w+>|https?://"
_TRANSLATION = (
    r"(?i)翻译|译成|译为|英文|英语|中文|汉语|外语|单词|翻譯|英語|"
    r"translat|chinese|english|mandarin"
)
_MISMATCHED = 0.02
_BOTH_SCRIPTS = 0.02
_LEAST_DIFFERENT = 2


def _hanzi(codec: str, leads: range, trails: range) -> frozenset[str]:
    """The Chinese characters of some rows of a national standard."""
    pairs = (bytes([lead, trail]) for lead in leads for trail in trails)
    return frozenset(pair.decode(codec, "ignore") for pair in pairs) - {""}


_GB2312 = _hanzi("gb2312", range(0xB0, 0xF8), range(0xA1, 0xFF))
_BIG5 = _hanzi("big5", range(0xA4, 0xC7), range(0x40, 0xFF))
_TRADITIONAL = frozenset(c for c in _BIG5 - _GB2312 if "\u4e00" <= c <= "\u9fff")
"""Frequent in Taiwan (Big5, first plane), unknown to the mainland's standard."""
_SIMPLIFIED = frozenset(c for c in _GB2312 if not c.encode("big5", "ignore"))
_TRADITIONAL_CLASS = "[" + "".join(sorted(_TRADITIONAL)) + "]"


def languages(texts: pl.Series) -> Tags:
    """One of ``LANGUAGES`` for each text, or "" where it has no letters; (rows,)."""
    count = texts.str.len_chars().to_numpy().astype(np.int64)
    wide = (texts.str.len_bytes().to_numpy().astype(np.int64) - count) / 2
    others = np.zeros(len(texts), np.int64)
    rows = suspects([texts], _OTHER)
    others[rows] = texts.gather(rows).str.count_matches(_OTHER).to_numpy()
    tags: Tags = np.select(
        [others > _OTHER_SHARE * count, (wide >= _CHINESE * count) & (wide > 0),
         wide > _LATIN * count],
        ["other", "zh", "mixed"], "latin",
    )  # fmt: skip
    latin = np.flatnonzero(tags == "latin")
    worded = texts.gather(latin.tolist()).str.contains("[A-Za-z]{2}").to_numpy()
    tags[latin[~worded.astype(bool)]] = ""
    return tags


def _mismatched(corpus: Corpus, asked: Tags, answered: Tags) -> list[int]:
    """Rows answered in another language than asked in, translations and code left out."""
    plain = ("zh", "latin")
    rows = np.flatnonzero(np.isin(asked, plain) & np.isin(answered, plain) & (asked != answered))
    questions = corpus.questions.gather(rows.tolist())
    answers = corpus.answers.gather(rows.tolist())
    meant = questions.str.contains(_TRANSLATION) | answers.str.contains(_CODE)
    long = answers.str.len_chars() >= _LEAST_LETTERS
    found: list[int] = rows[(long & ~meant).to_numpy().astype(bool)].tolist()
    return found


def _is_traditional(draft: Draft) -> bool:
    """Whether a Chinese row is in traditional characters, a few names aside."""
    different = {character for turn in all_turns(draft) for character in turn.text}
    traditional = len(different & _TRADITIONAL)
    return traditional >= _LEAST_DIFFERENT and traditional > len(different & _SIMPLIFIED)


def _run(corpus: Corpus, action: str, context: Context) -> Outcome:
    asked = languages(corpus.questions)
    answered = languages(corpus.answers)
    # A row is in the language of its answer; a text, a number or a sign in that of its question.
    tags = np.where(answered == "", asked, answered)
    counts = Counter(tags.tolist())
    total = sum(counts[name] for name in LANGUAGES)
    if not total:
        return Outcome()
    chinese = set(np.flatnonzero(tags == "zh").tolist())
    traditional = [
        row
        for row in suspects(corpus.texts, _TRADITIONAL_CLASS)
        if row in chinese and _is_traditional(corpus.drafts[row])
    ]
    mismatched = _mismatched(corpus, asked, answered)
    facts: dict[str, Any] = {name: counts[name] / total for name in LANGUAGES}
    both = _BOTH_SCRIPTS * len(chinese) <= len(traditional) <= (1 - _BOTH_SCRIPTS) * len(chinese)
    finding = Finding(
        check=LANGUAGE.name,
        rows=len(corpus.drafts),
        level="care" if _care(len(mismatched), total) or (traditional and both) else "info",
        action=action,
        facts={
            "rows": len(corpus.drafts),
            **facts,
            "mismatched": len(mismatched),
            "traditional": len(traditional),
        },
        examples=_examples(corpus, mismatched or (traditional if both else [])),
        figure={"language": {name: counts[name] for name in LANGUAGES if counts[name]}},
    )
    return Outcome(finding)


def _care(rows: int, total: int) -> bool:
    return rows >= max(_LEAST_DIFFERENT, _MISMATCHED * total)


def _examples(corpus: Corpus, rows: Sequence[int]) -> tuple[Any, ...]:
    return tuple(example(corpus.drafts[row]) for row in rows[:EXAMPLES])


LANGUAGE = Check(
    name="language",
    actions=("keep",),
    run=_run,
    title={"en": "Languages", "zh": "语言"},
    says={
        "en": "By their answers, {zh:.1%} of the rows are Chinese, {latin:.1%} in Latin letters "
        "(English and the like), {mixed:.1%} mix both, {other:.1%} are in another script. "
        "{mismatched:,} rows are answered in another language than they are asked in; "
        "{traditional:,} are in traditional characters.",
        "zh": "按回答计，中文占 {zh:.1%}，英文等拉丁字母占 {latin:.1%}，两者混杂占 {mixed:.1%}，"
        "其他文字占 {other:.1%}。有 {mismatched:,} 行的回答与问题语言不同；"
        "{traditional:,} 行为繁体。",
    },
    does={"keep": {"en": "change nothing", "zh": "不做改动"}},
)
