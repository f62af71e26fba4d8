"""Finding values that nobody should learn, and putting a mark in the place of each."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from tunewright.data.checks.turns import has_chinese

# Digits and signs that an input method typed in full width; one character for one.
_HALF_WIDTH = str.maketrans("０１２３４５６７８９＠．－：＝＋（）", "0123456789@.-:=+()")


@dataclass(frozen=True, eq=False)
class Kind:
    """One kind of value, an entry of a table.

    Attributes:
        name: its key in figures, and its word in ``changed.jsonl``.
        labels: what it is called, by language.
        hint: a pattern, in the syntax that Rust and Python share, which every text with such a
            value matches, and few others do.
        pattern: finds it; the group ``value``, where there is one, is the part to hide.
        accept: tells it from what merely looks like it.
        contact: whether it may be what an organisation tells everyone.
    """

    name: str
    labels: Mapping[str, str]
    hint: str
    pattern: re.Pattern[str]
    accept: Callable[[re.Match[str]], bool]
    contact: bool = False

    def mark(self, language: str) -> str:
        """What stands in the place of a value."""
        label = self.labels[language]
        return f"〔{label}〕" if language == "zh" else f"[{label}]"


class Found(NamedTuple):
    """A value in a text: its range and its kind."""

    start: int
    end: int
    kind: Kind

    def value(self, text: str) -> str:
        """What it says, alike however it is spaced; to be compared and never to be shown."""
        plain = text[self.start : self.end].translate(_HALF_WIDTH)
        return re.sub(r"[\s()（）-]", "", plain).casefold()


def find(text: str, kinds: Sequence[Kind]) -> list[Found]:
    """Values in a text, in order; where two kinds overlap, the one earlier in the table counts."""
    plain = text.translate(_HALF_WIDTH)
    taken = bytearray(len(text))
    found: list[Found] = []
    for kind in kinds:
        for match in kind.pattern.finditer(plain):
            start, end = match.span("value" if "value" in kind.pattern.groupindex else 0)
            if not any(taken[start:end]) and kind.accept(match):
                found.append(Found(start, end, kind))
                taken[start:end] = b"\1" * (end - start)
    return sorted(found, key=lambda one: one.start)


def mask(
    text: str, kinds: Sequence[Kind], keep: Collection[str] = (), language: str | None = None
) -> tuple[str, Counter[str]]:
    """A text with a mark in the place of each value, and how many of each kind there were.

    Args:
        text: any text; when it is JSON it is JSON afterwards.
        kinds: what to hide.
        keep: values, as ``Found.value`` gives them, that stay.
        language: of the marks; Chinese where the text has a Chinese character if not given.
    """
    found = find(text, kinds)
    if keep:
        found = [one for one in found if one.value(text) not in keep]
    if not found:
        return text, Counter()
    language = language or ("zh" if has_chinese(text) else "en")
    done = Counter(one.kind.name for one in found)
    masked = _replaced(text, found, language, quoted=False)
    if text.lstrip()[:1] in ("{", "[") and _is_json(text) and not _is_json(masked):
        masked = _replaced(text, found, language, quoted=True)
    return masked, done


def joined_hints(kinds: Iterable[Kind]) -> str:
    """One pattern for polars that finds every text worth a closer look."""
    return "|".join(dict.fromkeys(kind.hint for kind in kinds))


def _replaced(text: str, found: Iterable[Found], language: str, quoted: bool) -> str:
    out: list[str] = []
    place = 0
    for one in found:
        before = text[place : one.start]
        mark = one.kind.mark(language)
        # A bare number in JSON becomes a string.
        bare = quoted and before.rstrip()[-1:] in (":", ",", "[")
        out += [before, f'"{mark}"' if bare else mark]
        place = one.end
    return "".join([*out, text[place:]])


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True
