"""What answers teach: facts (dates, prices, figures, articles) or a form and a tone."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from types import MappingProxyType
from typing import Any, Final

from tunewright.core.messages import Conversation
from tunewright.evaluation.scorers.normal import normalise, pieces

_HAN = "零〇一二两三四五六七八九十百千万"
_SPANS = "个?工作日|个?月|小时|分钟|秒|天|日|周|年|岁|次"
_ENGLISH_SPANS = r"(?:working |business )?(?:days?|hours?|weeks?|months?|years?|minutes?)"
_MONTHS = "jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec"
KINDS: Final[Mapping[str, re.Pattern[str]]] = MappingProxyType(
    {
        "dates": re.compile(
            rf"\d{{4}}\s*[-/年]\s*\d{{1,2}}|\d{{1,2}}\s*月\s*\d{{1,2}}|\d{{1,2}}:\d{{2}}"
            rf"|(?:\d+|[{_HAN}]+)\s*(?:{_SPANS})|\d+\s*{_ENGLISH_SPANS}"
            rf"|\b(?:{_MONTHS})[a-z]*\.?\s+\d{{1,4}}",
            re.IGNORECASE,
        ),
        "prices": re.compile(
            rf"[¥￥$€£]\s*\d|(?:\d[\d,.]*|[{_HAN}]+)\s*(?:万元|亿元|元|美元|块钱)"
            r"|\d[\d,.]*\s*(?:dollars?|euros?|usd|eur|rmb|cny|yuan)\b",
            re.IGNORECASE,
        ),
        "shares": re.compile(rf"\d\s*[%％‰]|百分之[{_HAN}\d]+|\d\s*percent\b", re.IGNORECASE),
        "articles": re.compile(
            rf"第\s*(?:\d+|[{_HAN}]+)\s*[条款章节项]|\b(?:article|section|clause)\s+\d+|§\s*\d+"
            r"|《[^》]{2,30}》",
            re.IGNORECASE,
        ),
        "codes": re.compile(r"https?://\S+|[\w.+-]+@[\w-]+\.\w+|\b[A-Z]{1,6}-?\d{2,}\w*|\d{5,}"),
        "figures": re.compile(r"\d+\.\d+|\d{2,}"),
    }
)
"""Kind of fact → what it looks like, after NFKC."""
_BARE: Final = "figures"
_EDGE = 8
"""Characters at the beginning and the end of an answer that make its form."""
_COMMON = 0.05
_LEAST_ALIKE = 3
_BRIEF = 8


@dataclass(frozen=True)
class Nature:
    """What rows are made of; shares of answers in 0..1.

    Attributes:
        rows: that were read.
        kinds: by kind of fact, answers that hold one which the question does not.
        factual: answers that hold any.
        specific: answers that hold one which is more than a bare figure.
        uniform: answers that begin or end as many others do.
        brief: answers of a few words, such as classes and fields.
        length: median, in characters (Chinese) or words.
    """

    rows: int
    kinds: Mapping[str, float]
    factual: float
    specific: float
    uniform: float
    brief: float
    length: float

    def json(self) -> dict[str, Any]:
        """For machines."""
        return {
            "rows": self.rows,
            "factual": self.factual,
            "specific": self.specific,
            "kinds": dict(self.kinds),
            "uniform": self.uniform,
            "brief": self.brief,
            "length": self.length,
        }


def facts_in(text: str) -> dict[str, set[str]]:
    """The facts that a text states, by kind; equal ones are equal however they are spaced."""
    folded = unicodedata.normalize("NFKC", text)
    return {
        kind: {"".join(found.split()).casefold() for found in pattern.findall(folded)}
        for kind, pattern in KINDS.items()
    }


def new_facts(question: str, answer: str) -> dict[str, set[str]]:
    """The facts of an answer that its question does not give."""
    given = unicodedata.normalize("NFKC", question).casefold()
    given = "".join(given.split())
    return {
        kind: {fact for fact in found if fact not in given}
        for kind, found in facts_in(answer).items()
    }


def nature_of(rows: Sequence[Conversation]) -> Nature:
    """Read conversations that end with an answer, at least one."""
    answers = [row.answer or "" for row in rows]
    stated = [new_facts(_asked(row), answer) for row, answer in zip(rows, answers, strict=True)]
    count = len(rows)
    lengths = [len(pieces(answer)) for answer in answers]
    return Nature(
        count,
        {kind: sum(bool(found[kind]) for found in stated) / count for kind in KINDS},
        sum(any(found.values()) for found in stated) / count,
        sum(any(found[kind] for kind in KINDS if kind != _BARE) for found in stated) / count,
        _alike(answers),
        sum(length <= _BRIEF for length in lengths) / count,
        median(lengths),
    )


def _asked(row: Conversation) -> str:
    return "\n".join(turn.content for turn in row.prompt().messages)


def _alike(answers: Sequence[str]) -> float:
    """Share of answers whose first or last characters are those of many others."""
    texts = [normalise(answer) for answer in answers]
    edges = [{("first", text[:_EDGE]), ("last", text[-_EDGE:])} for text in texts]
    counts = Counter(edge for pair in edges for edge in pair)
    least = max(_LEAST_ALIKE, _COMMON * len(answers))
    long = [
        any(counts[edge] >= least for edge in pair)
        for pair, text in zip(edges, texts, strict=True)
        if len(text) > 2 * _EDGE
    ]
    return sum(long) / max(1, len(answers))
