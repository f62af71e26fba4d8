"""Text whose bytes were once read in the wrong encoding: telling it, and undoing it.

What can be undone without loss is undone: turned back into the bytes that it was wrongly read
from, and those read as what they are, must succeed to the last byte and give ordinary Chinese or
Latin text. Real text does not pass that by chance; single accented letters beside typographic
quotes might, so they count only beside surer evidence.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable

# What Windows-1252 shows for the bytes 0x80 to 0x9F.
_SYMBOLS = "€‚ƒ„…†‡ˆ‰Š‹ŒŽ‘’“”•–—˜™š›œžŸ"
_WESTERN_RUN = re.compile(rf"[\x80-\xff{_SYMBOLS}]{{2,}}")
_LATIN_1_RUN = re.compile(r"[\xa1-\xfe]{2,}")
_CONTROL = re.compile(r"[\x80-\x9f]")
_HANZI = re.compile(r"[\u4e00-\u9fff]")

# Most Chinese characters begin with E4–E9 in UTF-8, their punctuation with E2, E3 and EF.
_PAIRS = [bytes([first, second]) for first in range(0xE4, 0xEA) for second in range(0x80, 0xC0)]
_PAIRS += [b"\xe2\x80", b"\xe3\x80", b"\xef\xbc"]
_GBK_STARTS = "".join(pair.decode("gbk", "ignore") for pair in _PAIRS)
_GBK_START = re.compile(f"[{_GBK_STARTS}]")

_STRANGE = re.compile(
    r"[^\t\n\x20-\x7e\xa0-\u017f\u2010-\u203b\u20ac\u2103\u2122\u2150-\u24ff\u2500-\u27bf"
    r"\u3000-\u303f\u4e00-\u9fff\ufe0f\uff01-\uffe5\U0001f300-\U0001faff]"
)
"""Characters that neither Chinese nor Western business texts hold."""
# "Ã©" is é; but "Ã”" may be the end of a Portuguese quotation in capitals.
_SURE_LATIN = re.compile(r"[ÃÂ][\xa1-\xaa\xac-\xba\xbc-\xbf‰Ÿ]|â€[™œ\x9d“”¦]")
_LEAST_HANZI = 2
_LEAST_COMMON = 0.7

_LOSSES: tuple[tuple[str, re.Pattern[str], int], ...] = (
    ("U+FFFD", re.compile("\ufffd"), 1),
    ("U+FFFD read as GBK", re.compile("锟斤拷|锟斤锟"), 1),
    ("uninitialised memory", re.compile("烫烫烫烫|屯屯屯屯"), 1),
    ("control characters", _CONTROL, 1),
    ("UTF-8 read as GBK", re.compile("[锛紝銆鐨殑鏄槸鍦鍜鍙鎴鍏鍚鍒鍗彲硶箞灉鏉渶鈥]"), 2),
    ("UTF-8 read as Latin-1", re.compile(rf"[ã-é][\x80-\xbf{_SYMBOLS}]{{2}}"), 2),
    ("GBK read as Latin-1", re.compile(r"[\xc0-\xfe][\xa1-\xfe]{3,}"), 2),
)
"""What damaged text looks like, and how many different matches prove it."""
_LETTER = re.compile(r"[^\W\d_]")
_QUESTION_MARKS = re.compile(r"\?{2,}")

HINT = (
    rf"[\x{{80}}-\x{{9f}}\x{{fffd}}{_GBK_STARTS}锟烫屯紝]|[\x{{c2}}-\x{{f4}}]"
    rf"[\x{{a0}}-\x{{bf}}{_SYMBOLS}]|[\x{{a1}}-\x{{fe}}]{{4}}|\?{{4}}"
)
"""A pattern for polars that every garbled text matches, and few others do."""


def repaired(text: str) -> tuple[str, Counter[str]]:
    """A text with its mojibake undone where that loses nothing, and what was undone how often."""
    done: Counter[str] = Counter()
    for name, repair in _REPAIRS.items():
        better = repair(text)
        if better != text:
            done[name] += 1
            text = better
    return text, done


def losses(text: str) -> list[str]:
    """What tells that a text is damaged beyond repair; empty when nothing does."""
    found = [name for name, pattern, least in _LOSSES if len(set(pattern.findall(text))) >= least]
    marks = sum(map(len, _QUESTION_MARKS.findall(text)))
    # Beside letters they only stress a question.
    if marks >= 4 and 2 * marks > len(text) - text.count(" ") and not _LETTER.search(text):
        found.append("question marks for characters")
    return found


def first_damage(text: str) -> int | None:
    """Where a text is garbled, whether that can be repaired or not; None where it is not."""
    better, done = repaired(text)
    if done:
        pairs = zip(text, better, strict=False)
        return next((at for at, (one, other) in enumerate(pairs) if one != other), len(better))
    if not losses(text):
        return None
    found = (pattern.search(text) for _, pattern, _ in _LOSSES)
    return min((match.start() for match in found if match), default=0)


def _undo_gbk(text: str) -> str:
    """UTF-8 that was read as GBK: the whole text, or else those of its lines that were."""
    if not _GBK_START.search(text):
        return text
    return _from_gbk(text) or "".join(_from_gbk(line) or line for line in _lines(text))


def _lines(text: str) -> list[str]:
    return re.split(r"(\n)", text)


def _from_gbk(text: str) -> str | None:
    if not _GBK_START.search(text):
        return None
    try:
        # Windows reads the byte 0x80 as the euro sign.
        data = b"\x80".join(part.encode("gb18030") for part in text.split("€"))
        read = data.decode("utf-8")
    except UnicodeError:
        return None
    return read if _is_chinese(read) and not _STRANGE.search(read) else None


def _is_chinese(text: str) -> bool:
    """Whether a text holds Chinese, most of it in common characters (GB 2312, first level)."""
    hanzi = _HANZI.findall(text)
    common = sum(_is_common(character) for character in hanzi)
    return len(hanzi) >= _LEAST_HANZI and common >= _LEAST_COMMON * len(hanzi)


def _is_common(character: str) -> bool:
    return b"\xb0" <= character.encode("gb2312", "replace")[:1] <= b"\xd7"


def _undo_western(text: str) -> str:
    """UTF-8 that was read as Latin-1 or Windows-1252."""
    return _undo_runs(text, _WESTERN_RUN, _utf8_of, _is_sure_western)


def _utf8_of(run: str) -> str | None:
    try:
        data = b"".join(
            character.encode("cp1252" if character in _SYMBOLS else "latin-1") for character in run
        )
        read = data.decode("utf-8")
    except UnicodeError:
        return None
    return None if _STRANGE.search(read) else read


def _is_sure_western(run: str, read: str) -> bool:
    return _is_chinese(read) or _SURE_LATIN.search(run) is not None


def _undo_latin_1(text: str) -> str:
    """GBK that was read as Latin-1."""
    return _undo_runs(text, _LATIN_1_RUN, _gbk_of, _is_sure_gbk)


def _gbk_of(run: str) -> str | None:
    try:
        read = run.encode("latin-1").decode("gb2312")
    except UnicodeError:
        return None
    return None if _STRANGE.search(read) else read


def _is_sure_gbk(run: str, read: str) -> bool:
    # "××××" stands for characters left out, and happens to be two of them.
    return len(set(run) - {"×", "÷"}) >= 3 and _is_chinese(read)


def _undo_runs(
    text: str,
    runs: re.Pattern[str],
    read: Callable[[str], str | None],
    is_sure: Callable[[str, str], bool],
) -> str:
    """Undo every run of characters that can be read otherwise, when one of them surely is."""
    results = {run: read(run) for run in runs.findall(text)}
    if not any(result and is_sure(run, result) for run, result in results.items()):
        return text
    return runs.sub(lambda match: results[match.group()] or match.group(), text)


def _undo_controls(text: str) -> str:
    """Quotes and dashes of Windows-1252 that were read as Latin-1."""
    return _CONTROL.sub(lambda match: _cp1252_of(match.group()), text)


def _cp1252_of(character: str) -> str:
    return character.encode("latin-1").decode("cp1252", "ignore") or character


_REPAIRS: dict[str, Callable[[str], str]] = {
    "UTF-8 read as GBK": _undo_gbk,
    "UTF-8 read as Latin-1": _undo_western,
    "GBK read as Latin-1": _undo_latin_1,
    "Windows-1252 read as Latin-1": _undo_controls,
}
