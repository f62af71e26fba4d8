"""Files → text: which encoding a file has, and exactly where it breaks if it has none."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from tunewright.core.errors import ConfigError, DataError
from tunewright.data.signatures import recognise

_CHUNK = 1 << 20
_HEAD = 1 << 16
_BOMS: tuple[tuple[bytes, str], ...] = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
    (b"\x84\x31\x95\x33", "gb18030"),
)
# GB18030 is a superset of the older names, and of what programs really wrote under them.
_WIDER = {"gbk": "gb18030", "gb2312": "gb18030", "cp936": "gb18030", "utf-8": "utf-8-sig"}
_NAMES = {"utf-8-sig": "UTF-8", "gb18030": "GB18030", "utf-16": "UTF-16", "utf-32": "UTF-32"}
_UTF8_SEQUENCE = re.compile(
    rb"[\xc2-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2}|[\xf0-\xf4][\x80-\xbf]{3}"
)
_NOT_ASCII = re.compile(rb"[\x80-\xff]")
_CONTROL = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f]")
# The commonest characters of running Chinese; text decoded wrongly has almost none of them.
_COMMON = frozenset(
    "的一是不了在人有我他这个们中来上大为和国地到以说时要就出会可也你对生能而子那得于着下"
)
_OTHERS = ("big5", "shift_jis", "euc_kr", "cp1252")


@dataclass(frozen=True)
class TextFile:
    """A file whose encoding is known.

    Attributes:
        path: the file.
        encoding: Python's codec name.
        reason: how the encoding was found; a kind of fact.
        line_count: ends of lines in it.
        nul_bytes: stray NUL characters, which ``lines`` leaves out.
    """

    path: Path
    encoding: str
    reason: str
    line_count: int
    nul_bytes: int = 0

    @property
    def encoding_name(self) -> str:
        """The encoding as people write it, e.g. ``GB18030``."""
        return _NAMES.get(self.encoding, self.encoding.upper())

    @contextmanager
    def lines(self) -> Iterator[Iterator[str]]:
        r"""A stream of lines with their ends as they are: ``\n``, ``\r\n`` or ``\r``.

        Raises:
            DataError: a byte that the encoding cannot read, met on the way.
        """
        try:
            with open(self.path, encoding=self.encoding, newline="") as file:
                yield (line.replace("\0", "") for line in file) if self.nul_bytes else file
        except UnicodeDecodeError:
            raise _unreadable(self.path, self.encoding) from None

    def head(self, count: int) -> list[str]:
        """The first lines that are not blank."""
        with self.lines() as lines:
            return list(islice((line for line in lines if line.strip()), count))


@dataclass(frozen=True)
class _Break:
    """Where an encoding stops fitting; ``at_end`` when only the file's last character is cut."""

    byte: int
    line: int
    at_end: bool


class _Scan(NamedTuple):
    nul_bytes: int
    line_count: int
    broken: _Break | None


def open_text(path: Path, encoding: str | None = None) -> TextFile:
    """Find a file's encoding: by byte order mark, UTF-8, UTF-16 without mark, then GB18030.

    Args:
        path: the file.
        encoding: the encoding to insist on.

    Raises:
        DataError: missing, a folder, unreadable, empty, not text, or text that no encoding
            fits, with the byte and line where it breaks.
        ConfigError: ``encoding`` is not the name of one.
    """
    head = _read_head(path)
    found = recognise(path, head)
    if found:
        raise DataError(f"{path}: this is {found[0]}, not a text file", found[1])
    if not head.strip(b"\xef\xbb\xbf\xff\xfe \t\r\n\0"):
        raise DataError(f"{path}: the file is empty", "Check that the export finished.")
    if encoding is not None:
        return _insisted(path, encoding)
    for mark, name in _BOMS:
        if head.startswith(mark):
            return _checked(path, name, "byte order mark")
    return _without_mark(path, head)


def _read_head(path: Path) -> bytes:
    try:
        if path.exists() and not path.is_file() and not path.is_dir():
            raise DataError(
                f"{path}: this is a pipe or a device, which can be read only once",
                "Save what it gives to a file first.",
            )
        with open(path, "rb") as file:
            return file.read(_HEAD)
    except FileNotFoundError:
        hint = f"The folder {path.absolute().parent} does not exist."
        if path.absolute().parent.is_dir():
            hint = f"Look at the names in {path.absolute().parent}."
        raise DataError(f"{path}: there is no such file", hint) from None
    except IsADirectoryError:
        raise DataError(f"{path}: this is a folder", "Name the files in it one by one.") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from None
    except ValueError as error:
        raise DataError(f"{str(path)!r}: not a file's name ({error})") from None


def _insisted(path: Path, encoding: str) -> TextFile:
    try:
        name = codecs.lookup(encoding).name
        "".encode(name)
    except LookupError:
        raise ConfigError(
            f"option 'encoding': {encoding!r} is not a text encoding",
            "Usual ones: utf-8, gb18030, utf-16, big5, shift_jis, cp1252.",
        ) from None
    return _checked(path, _WIDER.get(name, name), "as given")


def _checked(path: Path, encoding: str, reason: str) -> TextFile:
    scan = _scan(path, encoding)
    broken = scan.broken
    if broken is None:
        nul = 0 if encoding.startswith(("utf-16", "utf-32")) else scan.nul_bytes
        return TextFile(path, encoding, reason, scan.line_count, nul)
    name = _NAMES.get(encoding, encoding)
    if broken.at_end:
        raise _cut_off(path, name, broken)
    raise DataError(
        f"{path}, line {broken.line}: byte {broken.byte} is not valid {name} "
        f"(the encoding {'that was asked for' if reason == 'as given' else 'of its ' + reason})",
        "Leave the encoding out to have it found, or export the file again as UTF-8.",
    )


def _without_mark(path: Path, head: bytes) -> TextFile:
    nul_share = head.count(0) / len(head)
    wide = _utf16_without_mark(head)
    if wide and nul_share > 0.2:
        return _checked(path, wide, "its NUL bytes")
    scan = _scan(path, "utf-8")
    if scan.broken is None:
        if nul_share > 0.05 or len(_CONTROL.findall(head)) > 0.05 * len(head):
            raise _binary(path)
        return TextFile(path, "utf-8", "valid UTF-8", scan.line_count, scan.nul_bytes)
    if wide:
        return _checked(path, wide, "its NUL bytes")
    if _mostly_utf8(path, scan.broken):
        raise _damaged_utf8(path, scan.broken)
    return _gb18030(path, head, scan.broken)


def _scan(path: Path, encoding: str) -> _Scan:
    """Read a file once, chunk by chunk, up to the first byte that ``encoding`` cannot read."""
    decoder = codecs.getincrementaldecoder(encoding)("strict")
    read = lines = nul = 0
    with open(path, "rb") as file:
        while True:
            chunk = file.read(_CHUNK)
            read += len(chunk)
            nul += chunk.count(0)
            try:
                lines += decoder.decode(chunk, final=not chunk).count("\n")
            except UnicodeDecodeError as error:
                good = error.object[: error.start].decode(encoding, "ignore")
                byte = read - len(error.object) + error.start
                broken = _Break(byte, 1 + lines + good.count("\n"), at_end=not chunk)
                return _Scan(nul, lines, broken)
            except UnicodeError:  # utf-16 and utf-32 report a missing mark without a position
                return _Scan(nul, lines, _Break(0, 1, at_end=False))
            if not chunk:
                return _Scan(nul, lines, None)


def _utf16_without_mark(head: bytes) -> str | None:
    """UTF-16 writes the line end with a NUL byte; the right byte order gives readable text."""
    if 0 not in head:
        return None
    even = head[: len(head) & ~1]
    shares = {n: _readable(even.decode(n, "ignore")) for n in ("utf-16-le", "utf-16-be")}
    best = max(shares, key=shares.__getitem__)
    return best if shares[best] > 0.15 else None


def _readable(text: str) -> float:
    """Share of characters that any text in English or Chinese has plenty of."""
    plain = sum(c in _COMMON or " " <= c <= "~" or c in "\r\n\t，。、？：“”（）" for c in text)
    return plain / max(1, len(text))


def _mostly_utf8(path: Path, broken: _Break) -> bool:
    """Whether the text around the break is UTF-8 nearly everywhere else.

    UTF-8 read as GB18030 often gives characters without any error, but wrong ones; so a
    damaged UTF-8 file must be told from a GB18030 file before GB18030 is tried.
    """
    with open(path, "rb") as file:
        file.seek(max(0, broken.byte - _HEAD))
        sample = file.read(2 * _HEAD)
    total = len(_NOT_ASCII.findall(sample))
    valid = sum(len(match) for match in _UTF8_SEQUENCE.findall(sample))
    # Measured on GB18030 text: 36 % of its bytes look like UTF-8, at most 50 % in any 300.
    return valid >= 3 if broken.at_end else valid >= 6 and valid > 0.75 * total


def _gb18030(path: Path, head: bytes, utf8: _Break) -> TextFile:
    """GB18030, judged by its beginning; reading it to the end is the proof (see ``lines``)."""
    if len(_CONTROL.findall(head)) > 0.05 * len(head):
        raise _binary(path)
    try:
        text = codecs.getincrementaldecoder("gb18030")("strict").decode(head)
    except UnicodeDecodeError:
        raise _unreadable(path, "gb18030") from None
    if not _reads_well(text):
        raise DataError(
            f"{path}: the text is not UTF-8 (breaks at byte {utf8.byte}, line {utf8.line}), and "
            "read as GB18030 it does not look like Chinese",
            f"{_candidates(head)} If it is GB18030 after all: --encoding gb18030.",
        )
    lines, nul = _count_bytes(path)
    return TextFile(path, "gb18030", "reads as GB18030", lines, nul)


def _unreadable(path: Path, encoding: str) -> DataError:
    """What to say about a file whose encoding, found from its beginning, breaks further on."""
    broken = _scan(path, encoding).broken or _Break(0, 1, at_end=False)
    if broken.at_end:
        return _cut_off(path, _NAMES.get(encoding, encoding), broken)
    utf8 = _scan(path, "utf-8").broken or broken
    return DataError(
        f"{path}, line {broken.line}: the text is neither UTF-8 (breaks at byte {utf8.byte}, "
        f"line {utf8.line}) nor {_NAMES.get(encoding, encoding)} (breaks at byte {broken.byte})",
        f"{_candidates(_read_head(path))} Or export it again as UTF-8.",
    )


def _count_bytes(path: Path) -> tuple[int, int]:
    """``(line ends, NUL bytes)``; neither is ever a part of a longer GB18030 character."""
    lines = nul = 0
    with open(path, "rb") as file:
        while chunk := file.read(_CHUNK):
            lines += chunk.count(b"\n")
            nul += chunk.count(0)
    return lines, nul


def _reads_well(text: str) -> bool:
    """Whether decoded text looks like Chinese; too little of it proves nothing and passes."""
    wide = [character for character in text if character >= "\u2e80"]
    if len(wide) < 100:
        return True
    return sum(character in _COMMON for character in wide) >= 0.02 * len(wide)


def _candidates(head: bytes) -> str:
    fitting = []
    for name in _OTHERS:
        try:
            codecs.getincrementaldecoder(name)("strict").decode(head)
        except UnicodeDecodeError:
            continue
        fitting.append(f"--encoding {name}")
    return f"Name the encoding, e.g. {', '.join(fitting or ['--encoding cp1252'])}."


def _damaged_utf8(path: Path, broken: _Break) -> DataError:
    if broken.at_end:
        return _cut_off(path, "UTF-8", broken)
    return DataError(
        f"{path}, line {broken.line}: byte {broken.byte} is not valid UTF-8, although the text "
        "around it is",
        "The file is damaged there, or two encodings were glued together. Export it again, or "
        "correct that line in an editor.",
    )


def _cut_off(path: Path, name: str, broken: _Break) -> DataError:
    return DataError(
        f"{path}, line {broken.line}: ends in the middle of a character at byte {broken.byte}; "
        f"it looks like a cut-off {name} file",
        "The export or copy did not finish; make it again.",
    )


def _binary(path: Path) -> DataError:
    return DataError(f"{path}: this is binary data, not a text file", "Export it as CSV or JSONL.")
