"""The normal form of texts that are compared, and what their overlap is counted in."""

from __future__ import annotations

import re
import unicodedata

# Sentence marks only: dropping every punctuation sign would make "10%" equal "10".
_FINAL_MARKS = " .!?;,:。、"
# Ideographs (with extensions) and kana: scripts written without spaces between words.
_UNSPACED = r"\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U000323af"
_PIECE = re.compile(rf"[{_UNSPACED}]|(?:(?![{_UNSPACED}])[^\W_])+")
_HAS_UNSPACED = re.compile(f"[{_UNSPACED}]")


def normalise(text: str) -> str:
    """NFKC, casefolded, whitespace collapsed, final sentence marks dropped.

    So ``“Ａ１ ”`` and ``“a1。”`` are the same answer, while ``10%`` and ``10`` are not.
    """
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return " ".join(folded.split()).rstrip(_FINAL_MARKS)


def pieces(text: str) -> list[str]:
    """What overlap is counted in: Chinese by characters, other scripts by words; no punctuation."""
    return _PIECE.findall(normalise(text))


def words(text: str) -> list[str]:
    """Words: Chinese as rjieba cuts it, other scripts at their spaces; no punctuation."""
    import rjieba  # reads its dictionary when it is first used

    folded = normalise(text)
    if not has_unspaced(folded):
        return pieces(folded)
    return [word for word in rjieba.cut(folded) if _PIECE.search(word)]


def has_unspaced(text: str) -> bool:
    """Whether a text holds characters of a script without spaces."""
    return _HAS_UNSPACED.search(text) is not None
