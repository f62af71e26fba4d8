"""Files → text: which encoding a file has, and exactly where it breaks if it has none."""

from __future__ import annotations

import codecs
import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np

from tunewright.core.errors import ConfigError, DataError
from tunewright.data import encodings
from tunewright.data.encodings import HEAD, shown
from tunewright.data.limits import EmptyFileError
from tunewright.data.signatures import TEXT, read_head, recognise

MAX_LINE = 1 << 24
"""Characters in the longest line that is read; more than that is no row of anything."""
_CHUNK = 1 << 18
"""Bytes, or characters, that are taken at a time: few enough for the processor's caches."""
_HEAD = 1 << 20


@dataclass(frozen=True)
class TextFile:
    """A file whose encoding is known.

    Attributes:
        path: the file.
        encoding: Python's codec name.
        reason: how the encoding was found; a kind of fact.
        line_count: ends of lines in it.
        nul_bytes: stray NUL characters, which ``lines`` and ``chunks`` leave out.
        lone_returns: whether a carriage return stands alone somewhere, as old systems end lines.
        long_line: number of the first line that may exceed ``MAX_LINE``, else 0.
        label: what messages call it.
    """

    path: Path
    encoding: str
    reason: str
    line_count: int
    nul_bytes: int = 0
    lone_returns: bool = False
    long_line: int = 0
    label: str = ""

    @property
    def encoding_name(self) -> str:
        """The encoding as people write it, e.g. ``GB18030``."""
        return shown(self.encoding)

    @contextmanager
    def lines(self) -> Iterator[Iterator[str]]:
        r"""A stream of lines with their ends as they are: ``\n``, ``\r\n`` or ``\r``.

        A line beyond ``MAX_LINE`` is given as an empty string, which no other line is.

        Raises:
            DataError: a byte that the encoding cannot read, met on the way.
        """
        with self._open() as file:
            lines: Iterator[str] = _bounded(file) if self.long_line else file
            yield (line.replace("\0", "") for line in lines) if self.nul_bytes else lines

    @contextmanager
    def chunks(self, size: int = _CHUNK) -> Iterator[Iterator[str]]:
        """A stream of pieces of ``size`` characters, wherever lines end.

        Raises:
            DataError: as ``lines``.
        """
        with self._open() as file:
            pieces = iter(partial(file.read, size), "")
            yield (piece.replace("\0", "") for piece in pieces) if self.nul_bytes else pieces

    def head(self, count: int) -> list[str]:
        """The first lines that are not blank, as far as the first million characters reach."""
        with self.chunks(_HEAD) as chunks:
            start = next(chunks, "")
        lines = io.StringIO(start, newline="")
        return list(islice((line for line in lines if line.strip()), count))

    @contextmanager
    def _open(self) -> Iterator[IO[str]]:
        try:
            with open(self.path, encoding=self.encoding, newline="") as file:
                yield file
        except UnicodeDecodeError:
            raise _unreadable(self.path, self.encoding, self.label) from None


def _bounded(file: IO[str]) -> Iterator[str]:
    while line := file.readline(MAX_LINE):
        if len(line) < MAX_LINE:
            yield line
            continue
        while line and not line.endswith(("\n", "\r")):
            line = file.readline(MAX_LINE)
        yield ""


@dataclass(frozen=True)
class _Break:
    """Where an encoding stops fitting; ``at_end`` when only the file's last character is cut."""

    byte: int
    line: int
    at_end: bool


@dataclass
class _Tally:
    """What is counted while a file's bytes (of a wide encoding: its text as UTF-8) go by."""

    lines: int = 0
    nul: int = 0
    returns: int = 0
    pairs: int = 0
    long_line: int = 0
    _open: int = field(default=0, repr=False)
    _last: bytes = field(default=b"", repr=False)

    def add(self, chunk: bytes) -> None:
        """Count a chunk; lines within one chunk are short, so only its edges are looked at."""
        first = min((at for at in (chunk.find(b"\n"), chunk.find(b"\r")) if at >= 0), default=-1)
        self._open += len(chunk) if first < 0 else first
        if self._open > MAX_LINE and not self.long_line:
            self.long_line = self.lines + self.returns - self.pairs + 1
        if first >= 0:
            self._open = len(chunk) - 1 - max(chunk.rfind(b"\n"), chunk.rfind(b"\r"))
        # numpy counts bytes several times faster than bytes.count.
        codes = np.frombuffer(chunk, np.uint8)
        self.lines += int(np.count_nonzero(codes == 10))
        self.nul += chunk.count(0) if 0 in chunk else 0
        if b"\r" in chunk:
            self.returns += int(np.count_nonzero(codes == 13))
            self.pairs += int(np.count_nonzero((codes[:-1] == 13) & (codes[1:] == 10)))
        self.pairs += self._last == b"\r" and chunk[:1] == b"\n"
        self._last = chunk[-1:]


class _Scan(NamedTuple):
    tally: _Tally
    broken: _Break | None


def open_text(path: Path, encoding: str | None = None, label: str = "") -> TextFile:
    """Find a file's encoding: byte order mark, UTF-8, UTF-16 without mark, then GB18030 or Big5.

    Args:
        path: the file.
        encoding: the encoding to insist on.
        label: what messages call the file; its path when empty.

    Raises:
        DataError: missing, a folder, unreadable, empty, not text, or text that no encoding
            fits, with the byte and line where it breaks.
        ConfigError: ``encoding`` is not the name of one.
    """
    label = label or str(path)
    head = read_head(path, label)
    kind = recognise(path, head)
    if kind is not TEXT:
        raise DataError(f"{label}: this is {kind.what}, not a text file", kind.advice)
    if not head.strip(b"\xef\xbb\xbf\xff\xfe \t\r\n\0"):
        raise EmptyFileError(f"{label}: the file is empty", "Check that the export finished.")
    if encoding is not None:
        return _insisted(path, encoding, label)
    for mark, name in encodings.BOMS:
        if head.startswith(mark):
            return _checked(path, name, "byte order mark", label)
    return _without_mark(path, head, label)


def _insisted(path: Path, encoding: str, label: str) -> TextFile:
    try:
        name = codecs.lookup(encoding).name
        "".encode(name)
    except LookupError:
        raise ConfigError(
            f"option 'encoding': {encoding!r} is not a text encoding",
            "Usual ones: utf-8, gb18030, utf-16, big5, shift_jis, cp1252.",
        ) from None
    return _checked(path, encodings.canonical(name), "as given", label)


def _file(path: Path, codec: str, reason: str, tally: _Tally, label: str) -> TextFile:
    lone = tally.returns > tally.pairs
    lines = tally.lines + tally.returns - tally.pairs
    return TextFile(path, codec, reason, lines, tally.nul, lone, tally.long_line, label)


def _checked(path: Path, codec: str, reason: str, label: str) -> TextFile:
    tally, broken = _scan(path, codec)
    if broken is None:
        return _file(path, codec, reason, tally, label)
    if broken.at_end:
        raise _cut_off(label, shown(codec), broken)
    raise DataError(
        f"{label}, line {broken.line}: byte {broken.byte} is not valid {shown(codec)} "
        f"(the encoding {'that was asked for' if reason == 'as given' else 'of its ' + reason})",
        "Leave the encoding out to have it found, or export the file again as UTF-8.",
    )


def _without_mark(path: Path, head: bytes, label: str) -> TextFile:
    nul_share = head.count(0) / len(head)
    wide = encodings.utf16_without_mark(head)
    if wide and nul_share > 0.2:
        return _checked(path, wide, "its NUL bytes", label)
    tally, broken = _scan(path, "utf-8")
    if broken is None:
        if nul_share > 0.05 or encodings.is_binary(head):
            raise _binary(label)
        return _file(path, "utf-8", "valid UTF-8", tally, label)
    if wide:
        return _checked(path, wide, "its NUL bytes", label)
    if encodings.mostly_utf8(_around(path, broken.byte), broken.at_end):
        raise _damaged_utf8(label, broken)
    return _chinese(path, head, broken, label)


def _scan(path: Path, codec: str) -> _Scan:
    """Read a file once, chunk by chunk, up to the first byte that the codec cannot read."""
    decoder = codecs.getincrementaldecoder(codec)("strict")
    wide, tally, read = encodings.is_wide(codec), _Tally(), 0
    with open(path, "rb") as file:
        while True:
            chunk = file.read(_CHUNK)
            read += len(chunk)
            try:
                text = decoder.decode(chunk, final=not chunk)
            except UnicodeDecodeError as error:
                good = error.object[: error.start].decode(codec, "ignore")
                byte = read - len(error.object) + error.start
                line = 1 + tally.lines + good.count("\n")
                return _Scan(tally, _Break(byte, line, at_end=not chunk))
            except UnicodeError:  # utf-16 and utf-32 report a missing mark without a position
                return _Scan(tally, _Break(0, 1, at_end=False))
            tally.add(text.encode("utf-8", "replace") if wide else chunk)
            if not chunk:
                return _Scan(tally, None)


def _around(path: Path, byte: int) -> bytes:
    with open(path, "rb") as file:
        file.seek(max(0, byte - HEAD))
        return file.read(2 * HEAD)


def _chinese(path: Path, head: bytes, utf8: _Break, label: str) -> TextFile:
    """GB18030 or Big5, judged by the beginning; reading it all is the proof (see ``lines``)."""
    if encodings.is_binary(head):
        raise _binary(label)
    codec = encodings.chinese_codec(head)
    if codec is None:
        raise _unreadable(path, "gb18030", label)
    if not encodings.reads_well(head, codec):
        raise DataError(
            f"{label}: the text is not UTF-8 (breaks at byte {utf8.byte}, line {utf8.line}), and "
            f"read as {shown(codec)} it does not look like Chinese",
            f"{encodings.candidates(head)} If it is GB18030 after all: --encoding gb18030.",
        )
    tally = _Tally()
    with open(path, "rb") as file:
        while chunk := file.read(_CHUNK):
            tally.add(chunk)
    reason = "reads as Big5" if codec == "big5hkscs" else "reads as GB18030"
    return _file(path, codec, reason, tally, label)


def _unreadable(path: Path, codec: str, label: str) -> DataError:
    """What to say about a file whose encoding, found from its beginning, breaks further on."""
    broken = _scan(path, codec).broken or _Break(0, 1, at_end=False)
    if broken.at_end:
        return _cut_off(label, shown(codec), broken)
    utf8 = _scan(path, "utf-8").broken or broken
    return DataError(
        f"{label}, line {broken.line}: the text is neither UTF-8 (breaks at byte {utf8.byte}, "
        f"line {utf8.line}) nor {shown(codec)} (breaks at byte {broken.byte})",
        f"{encodings.candidates(read_head(path, label))} Or export it again as UTF-8.",
    )


def _damaged_utf8(label: str, broken: _Break) -> DataError:
    if broken.at_end:
        return _cut_off(label, "UTF-8", broken)
    return DataError(
        f"{label}, line {broken.line}: byte {broken.byte} is not valid UTF-8, although the text "
        "around it is",
        "The file is damaged there, or two encodings were glued together. Export it again, or "
        "correct that line in an editor.",
    )


def _cut_off(label: str, name: str, broken: _Break) -> DataError:
    return DataError(
        f"{label}, line {broken.line}: ends in the middle of a character at byte {broken.byte}; "
        f"it looks like a cut-off {name} file",
        "The export or copy did not finish; make it again.",
    )


def _binary(label: str) -> DataError:
    return DataError(f"{label}: this is binary data, not a text file", "Export it as CSV or JSONL.")
