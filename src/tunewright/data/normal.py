"""What makes two texts equal or near-equal."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from hashlib import blake2b

import numpy as np

from tunewright.data.records import Turn, said_by

# Signs of calculation stay, in half and full width: 1+1 and 1<1 are not one question.
_SAYING = re.compile(r"[\w+<=>$^|~＋＜＝＞＄＾｜～°℃㎡√∞≤≥≠±×÷]+")
# Marks that NFKC leaves apart although people type one for the other.
_MARKS = str.maketrans("。、“”‘’「」『』【】〔〕—－～", '.,""\'\'""""[][]--~')
# Control characters, halves of surrogate pairs and byte order marks: never meant, always noise.
_NOISE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ufeff\ud800-\udfff]")


def clean(text: str) -> str:
    r"""A cell's text: line ends become ``\n``, noise characters go, outer space goes."""
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    if _NOISE.search(text):
        text = _NOISE.sub(lambda m: "\ufffd" if "\ud800" <= m.group() <= "\udfff" else "", text)
    return text.strip()


def clean_all(texts: Sequence[str]) -> list[str]:
    """``clean`` of every text; twice as fast where, as usual, only spaces are to be cleaned."""
    return (
        [text.strip() for text in texts] if _are_clean("\n".join(texts)) else [*map(clean, texts)]
    )


def _are_clean(text: str) -> bool:
    """Whether a text surely holds no noise and no carriage return."""
    try:
        codes = np.frombuffer(text.encode("utf-16-le"), "<u2")
    except UnicodeEncodeError:  # half of a surrogate pair
        return False
    low = np.count_nonzero(codes < 32) - np.count_nonzero((codes == 9) | (codes == 10))
    return low == 0 and "\x7f" not in text and "\ufeff" not in text


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
        key = near_key(said_by(turns, "user"))
    return blake2b(key.encode(), digest_size=8).hexdigest()
