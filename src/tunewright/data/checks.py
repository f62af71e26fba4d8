"""What makes two texts equal, near-equal or suspicious."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from hashlib import blake2b

from tunewright.data.records import Draft, Turn

# Signs of calculation stay, in half and full width: 1+1 and 1<1 are not one question.
_SAYING = re.compile(r"[\w+<=>$^|~＋＜＝＞＄＾｜～°℃㎡√∞≤≥≠±×÷]+")
# Marks that NFKC leaves apart although people type one for the other.
_MARKS = str.maketrans("。、“”‘’「」『』【】〔〕—－～", '.,""\'\'""""[][]--~')
# Control characters, halves of surrogate pairs and byte order marks: never meant, always noise.
_NOISE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ufeff\ud800-\udfff]")
# U+FFFD, and what Chinese text turns into when it is decoded with the wrong encoding.
_MOJIBAKE = ("\ufffd", "锟斤拷", "烫烫烫", "屯屯屯", "â€", "ï¼", "ã€")
_PHONE = re.compile(r"(?<!\d)1[3-9]\d{9}(?!\d)")
_ID_CARD = re.compile(r"(?<!\d)[1-9]\d{5}(?:19|20)\d{9}[\dXx](?!\d)")


def clean(text: str) -> str:
    r"""A cell's text: line ends become ``\n``, noise characters go, outer space goes."""
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    if _NOISE.search(text):
        text = _NOISE.sub(lambda m: "\ufffd" if "\ud800" <= m.group() <= "\udfff" else "", text)
    return text.strip()


def near_key(text: str) -> str:
    """Equal for texts that differ only in punctuation, space, width (NFKC) or case."""
    # Punctuation goes first: without it most Chinese text is in NFKC already, which is quick.
    plain = "".join(_SAYING.findall(text)).replace("_", "")
    return unicodedata.normalize("NFKC", plain).casefold() if plain else exact_key(text)


def exact_key(text: str) -> str:
    """Equal for texts that differ only in white space and in full or half width."""
    return " ".join(unicodedata.normalize("NFKC", text).translate(_MARKS).split())


def turns_group(turns: tuple[Turn, ...], key: str | None = None) -> str:
    """A conversation's group: by its near-equality key, made of its user turns if not given."""
    if key is None:
        key = near_key("\n".join([turn.text for turn in turns if turn.role == "user"]))
    return blake2b(key.encode(), digest_size=8).hexdigest()


class Seen:
    """Finds repeated rows in one pass; exact keys are made only where groups already meet."""

    def __init__(self) -> None:
        self._first: dict[str, Draft] = {}
        self._more: dict[str, dict[str, tuple[str, Draft]]] = {}
        self.near_equal = 0

    def verdict(self, draft: Draft) -> tuple[str, Draft] | None:
        """``("duplicate" or "contradicting answer", the row kept)``, or None for a new row."""
        first = self._first.setdefault(draft.group, draft)
        if first is draft:
            return None
        if first.turns == draft.turns:
            return "duplicate", first
        more = self._more.get(draft.group)
        if more is None:
            more = {_question_key(first): (exact_key(first.answer), first)}
            self._more[draft.group] = more
        answer = exact_key(draft.answer)
        known = more.setdefault(_question_key(draft), (answer, draft))
        if known[1] is draft:
            self.near_equal += 1
            return None
        return ("duplicate" if known[0] == answer else "contradicting answer"), known[1]


def _question_key(draft: Draft) -> str:
    """Everything that leads to the answer: two rows ask the same only if this is equal."""
    return "\x1f".join(
        exact_key(turn.text) for turn in draft.turns if turn.role not in ("assistant", "tool")
    )


def suspicious(drafts: Iterable[Draft]) -> list[dict[str, object]]:
    """Warnings about kept rows: ``{kind, rows, file, row}``, the last two of the first one seen."""
    found: dict[str, list[Draft]] = {}
    for draft in drafts:
        for turn in draft.turns:
            for kind in _suspicions(turn.text):
                hits = found.setdefault(kind, [])
                if not hits or hits[-1] is not draft:
                    hits.append(draft)
    return [
        {"kind": kind, "rows": len(hits), "file": hits[0].file, "row": hits[0].number}
        for kind, hits in sorted(found.items())
    ]


def _suspicions(text: str) -> Iterable[str]:
    if not text.isascii() and any(marker in text for marker in _MOJIBAKE):
        yield "garbled characters"
    if _PHONE.search(text):
        yield "phone numbers"
    if _ID_CARD.search(text):
        yield "identity card numbers"
