"""Which encoding bytes are in, judged by how their characters are used."""

from __future__ import annotations

import codecs
import re

HEAD = 1 << 16
"""How many bytes at a file's beginning its encoding is judged by."""

BOMS: tuple[tuple[bytes, str], ...] = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
    (b"\x84\x31\x95\x33", "gb18030"),
)
# Supersets of the names that people and programs use: what was really written under them.
_WIDER = {
    **dict.fromkeys(("gbk", "gb2312", "cp936"), "gb18030"),
    **dict.fromkeys(("big5", "cp950"), "big5hkscs"),
    "utf-8": "utf-8-sig",
}
_NAMES = {
    "utf-8-sig": "UTF-8",
    "gb18030": "GB18030",
    "big5hkscs": "Big5",
    "utf-16": "UTF-16",
    "utf-32": "UTF-32",
}
_UTF8_SEQUENCE = re.compile(
    rb"[\xc2-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2}|[\xf0-\xf4][\x80-\xbf]{3}"
)
_NOT_ASCII = re.compile(rb"[\x80-\xff]")
_CONTROL = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f]")
# The commonest characters of running Chinese in both scripts; text decoded wrongly has almost
# none of them: read in the other encoding they become rare ones.
_COMMON = frozenset(
    "的一是不了在人有我他这这個个们們中来來上大为為和国國地到以说說時时要就出会會可也你對对生能而"
    "子那得于於着著下過过後后發发经經问問题題沒没還还請请嗎吗什麼么"
)
_MARKS = frozenset("，。、？！：；“”「」（）《》")
_OTHERS = ("big5hkscs", "shift_jis", "euc_kr", "cp1252")
# Below this share of common characters text is no Chinese; running text has 0.1 to 0.3.
_CHINESE = 0.02
_ENOUGH = 100


def canonical(name: str) -> str:
    """The codec to read with where ``name`` (as ``codecs.lookup`` gives it) was asked for."""
    return _WIDER.get(name, name)


def shown(codec: str) -> str:
    """A codec as people write it, e.g. ``GB18030``."""
    return _NAMES.get(codec, codec.upper())


def is_wide(codec: str) -> bool:
    """Whether the encoding writes line ends as more than one byte."""
    return codec.startswith(("utf-16", "utf-32"))


def is_binary(head: bytes) -> bool:
    """Whether bytes hold more control characters than any text does."""
    return len(_CONTROL.findall(head)) > 0.05 * len(head)


def utf16_without_mark(head: bytes) -> str | None:
    """UTF-16 writes the line end with a NUL byte; the right byte order gives readable text."""
    if 0 not in head:
        return None
    even = head[: len(head) & ~1]
    shares = {n: _readable(even.decode(n, "ignore")) for n in ("utf-16-le", "utf-16-be")}
    best = max(shares, key=shares.__getitem__)
    return best if shares[best] > 0.15 else None


def _readable(text: str) -> float:
    """Share of characters that any text in English or Chinese has plenty of."""
    plain = sum(c in _COMMON or c in _MARKS or " " <= c <= "~" or c in "\r\n\t" for c in text)
    return plain / max(1, len(text))


def mostly_utf8(sample: bytes, at_end: bool) -> bool:
    """Whether bytes around a place that is no UTF-8 are UTF-8 nearly everywhere else.

    UTF-8 read as GB18030 often gives characters without any error, but wrong ones; so a
    damaged UTF-8 file must be told from a GB18030 file before GB18030 is tried.

    Args:
        sample: the bytes around that place.
        at_end: whether only the file's last character is cut off.
    """
    total = len(_NOT_ASCII.findall(sample))
    valid = sum(len(match) for match in _UTF8_SEQUENCE.findall(sample))
    # Measured on GB18030 text: 36 % of its bytes look like UTF-8, at most 50 % in any 300.
    return valid >= 3 if at_end else valid >= 6 and valid > 0.75 * total


def chinese_codec(head: bytes) -> str | None:
    """``gb18030`` or ``big5hkscs``: the one that reads well; None when neither can read it.

    Both can read most of each other's bytes, so what decides is how common the characters
    are. With little text to go by, GB18030 wins unless Big5 reads clearly better.
    """
    simplified, traditional = (_commonness(head, codec) for codec in ("gb18030", "big5hkscs"))
    if traditional is not None and (simplified is None or _clearly(traditional, simplified)):
        return "big5hkscs"
    return None if simplified is None else "gb18030"


def _clearly(better: tuple[int, int], than: tuple[int, int]) -> bool:
    (common, total), (other, others) = better, than
    return common >= 3 and common / max(1, total) > 2 * (other + 1) / max(1, others)


def _commonness(head: bytes, codec: str) -> tuple[int, int] | None:
    """``(common characters and marks, wide characters)`` in bytes that the codec can read."""
    try:
        text = codecs.getincrementaldecoder(codec)("strict").decode(head)
    except UnicodeDecodeError:
        return None
    wide = [character for character in text if character >= "\u2e80"]
    return sum(c in _COMMON or c in _MARKS for c in wide), len(wide)


def reads_well(head: bytes, codec: str) -> bool:
    """Whether bytes look like Chinese in a codec; too little of it proves nothing and passes."""
    found = _commonness(head, codec)
    return found is not None and (found[1] < _ENOUGH or found[0] >= _CHINESE * found[1])


def candidates(head: bytes) -> str:
    """Which encodings could be named, as the end of an error message."""
    fitting = []
    for name in _OTHERS:
        try:
            codecs.getincrementaldecoder(name)("strict").decode(head)
        except UnicodeDecodeError:
            continue
        fitting.append(f"--encoding {'big5' if name == 'big5hkscs' else name}")
    return f"Name the encoding, e.g. {', '.join(fitting or ['--encoding cp1252'])}."
