"""A beginning or an end that nearly all questions or all answers share.

Older fine-tuning formats needed separators such as `` ->`` after each prompt and `` END`` after
each completion. A chat template says that with its control tokens, so they are only learned as
noise; a shared instruction before every question, however, may be meant.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal

import polars as pl

from tunewright.core.messages import Role
from tunewright.data.checks.base import (
    EXAMPLES,
    Change,
    Check,
    Context,
    Corpus,
    Finding,
    Outcome,
    excerpt,
)
from tunewright.data.checks.shown import example, hidden
from tunewright.data.checks.turns import Edit, rewritten

_SHARE = 0.9
_LEAST_ROWS = 20
_LONGEST = 400
_WINDOW = 16

_NAMES = (
    r"(?:问题?|提问|用户|客户|答|回答|答案|答复|回复|客服|助手)\s*[:：]|"
    r"(?i:q|a|question|answer|user|human|assistant|bot|prompt|completion)\s*[:：]"
)
_SIGNS = r"-{1,3}>|={1,3}>|→|#{3,}|={3,}|-{3,}|\*{3,}|\+{3,}|&{3,}|\${3,}|@{3,}|%{3,}|\[?END\]?"
_HEAD = rf"^\s*(?:{_NAMES}|{_SIGNS})\s*"
_TAIL = rf"\s*(?:{_NAMES}|{_SIGNS})\s*$"


@dataclass(frozen=True)
class Affix:
    """A shared beginning or end.

    Attributes:
        role: whose texts share it.
        side: where it stands.
        text: what it is.
        separator: whether it is a separator of an older format and so says nothing.
    """

    role: Role
    side: Literal["start", "end"]
    text: str
    separator: bool

    @property
    def quoted(self) -> str:
        """It in quotes, cut short and with nothing personal in it."""
        return f"“{excerpt(hidden(self.text), 40)}”"

    def off(self, text: str) -> str:
        """A text without it; never an empty one."""
        cut = text.removeprefix if self.side == "start" else text.removesuffix
        left = cut(self.text)
        return left.strip() or text if left != text else text


_SIDES: tuple[tuple[Role, Literal["start", "end"], int], ...] = (
    ("user", "start", 13),
    ("user", "end", 13),
    ("assistant", "start", 5),
    ("assistant", "end", 5),
)
"""From how many characters on a shared text is more than chance."""


def shared_affixes(corpus: Corpus) -> list[Affix]:
    """The beginnings and ends that at least nine rows in ten share."""
    if len(corpus.drafts) < _LEAST_ROWS:
        return []
    found = []
    for role, side, least in _SIDES:
        texts = corpus.questions if role == "user" else corpus.answers
        separator = _separator(texts, side)
        text = separator or _shared(texts, side, least)
        if text:
            found.append(Affix(role, side, text, bool(separator)))
    return found


def _separator(texts: pl.Series, side: str) -> str:
    pattern = _HEAD if side == "start" else _TAIL

    def separators(some: pl.Series) -> pl.Series:
        return _cut(some, side, _WINDOW).str.extract(f"({pattern})", 1)

    return _common(texts, separators)


def _shared(texts: pl.Series, side: str, least: int) -> str:
    """The longest text that enough rows share, by halving; "" when it is shorter than least."""

    def common(length: int) -> str:
        text = _common(texts, lambda some: _cut(some, side, length))
        return text if len(text) == length else ""

    best = common(least)
    low, high = least, _LONGEST
    while best and low < high:
        middle = (low + high + 1) // 2
        longer = common(middle)
        best, low, high = (longer, middle, high) if longer else (best, low, middle - 1)
    # All rows being one and the same text is for other checks to say.
    return best.strip() if best and texts.n_unique() > 1 else ""


def _cut(texts: pl.Series, side: str, length: int) -> pl.Series:
    return texts.str.head(length) if side == "start" else texts.str.tail(length)


def _common(texts: pl.Series, values: Callable[[pl.Series], pl.Series]) -> str:
    """The commonest of the texts' values, when enough texts have it.

    What nine rows in ten have, half of any fifth of them have: most times a fifth is enough.
    """
    rows = len(texts)
    few = texts.gather_every(5)
    if not _commonest(values(few), len(few) - (1 - _SHARE) * rows):
        return ""
    return _commonest(values(texts), _SHARE * rows)


def _commonest(values: pl.Series, least: float) -> str:
    counts = values.drop_nulls().value_counts(sort=True)
    if counts.is_empty() or counts["count"][0] < least:
        return ""
    return str(counts[values.name][0])


def _run(corpus: Corpus, action: str, context: Context) -> Outcome:
    found = shared_affixes(corpus)
    if not found:
        return Outcome()
    going = [affix for affix in found if action == "all" or affix.separator]
    changes = [] if action == "keep" else _changes(corpus, going)
    finding = Finding(
        check=AFFIXES.name,
        rows=len(corpus.drafts),
        level="info",
        action=action,
        facts={
            "rows": len(corpus.drafts),
            "count": len(found),
            "texts": " ".join(affix.quoted for affix in found),
            "separators": sum(affix.separator for affix in found),
        },
        examples=tuple(example(draft) for draft in corpus.drafts[:EXAMPLES]),
    )
    return Outcome(finding, changes=changes)


def _changes(corpus: Corpus, affixes: list[Affix]) -> list[Change]:
    if not affixes:
        return []
    roles: dict[Role, list[Affix]] = {}
    for affix in affixes:
        roles.setdefault(affix.role, []).append(affix)
    edits: dict[Role, Edit] = {role: partial(_off, affixes=some) for role, some in roles.items()}
    changes = (rewritten(row, draft, edits) for row, draft in enumerate(corpus.drafts))
    return [change for change in changes if change is not None]


def _off(text: str, affixes: list[Affix]) -> tuple[str, Counter[str]]:
    done: Counter[str] = Counter()
    for affix in affixes:
        left = affix.off(text)
        done[f"{affix.quoted} at the {affix.side}"] += left != text
        text = left
    return text, +done


AFFIXES = Check(
    name="affixes",
    actions=("separators", "keep", "all"),
    run=_run,
    title={"en": "Shared beginnings and ends", "zh": "共同的开头与结尾"},
    says={
        "en": "Nearly all rows share a beginning or an end: {texts}. {separators:,} of these "
        "{count:,} are separators of an older format, which a chat template makes superfluous; "
        "the others may be meant, such as an instruction.",
        "zh": "几乎所有行都有共同的开头或结尾：{texts}。这 {count:,} 处中有 {separators:,} 处"
        "是旧格式的分隔符，有了对话模板便不再需要；其余的（如统一的指令）可能是有意为之。",
    },
    does={
        "separators": {
            "en": "take off the separators and leave the others",
            "zh": "去掉分隔符，其余不动",
        },
        "keep": {"en": "leave all of them", "zh": "全部保留"},
        "all": {"en": "take all of them off", "zh": "全部去掉"},
    },
)
