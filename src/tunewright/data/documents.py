"""Documents: plain text and Markdown → records of running text, cut where a reader would pause."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import chain, islice
from typing import Any, NamedTuple

from tunewright.core.errors import DataError
from tunewright.data.json_files import Read
from tunewright.data.limits import EmptyFileError
from tunewright.data.records import Record
from tunewright.data.text import MAX_LINE, TextFile

LIMIT = 4000
"""Characters that a record holds at most, unless one sentence is longer."""
INFO_END = "<!-- INFO END -->"
"""Line that ends the block about a document before its text begins."""
_HEAD_LINES = 200
_HEADING = re.compile(r" {0,3}(#{1,6})[ \t]+(.*?)[ \t]*#*[ \t]*$")
_FENCE = re.compile(r" {0,3}(```|~~~)")
_ENTRY = re.compile(r"([^\W\d][\w -]{0,40}):[ \t]+(.+)")
_OWN = frozenset({"text", "heading", "info"})
# The end of a sentence, closing quotes and brackets included; a full stop also ends abbreviations.
_SENTENCE = re.compile(r"(?:[。！？!?；;…]+[”’」』）》)\"']*|[.][\"')\]]*(?=\s+[^a-z\s]|\s*$))\s*")
_LINE = re.compile(r"\n\s*")
_PARAGRAPH = 1 << 18  # characters after which a paragraph without any sentence's end is cut


class Head(NamedTuple):
    """What stands before a document's text.

    Attributes:
        fields: what it says about the document, a ``title`` perhaps among it.
        lines: how many lines it takes.
    """

    fields: dict[str, str]
    lines: int


def document_source(text: TextFile, title: str, markdown: bool) -> Read:
    """The stream of a document's records: ``text``, ``title``, ``heading`` and what its head says.

    A record's number is that of its first line. Documents of at most ``LIMIT`` characters are
    one record; longer ones are cut at headings, then paragraphs, then sentences.

    Args:
        text: the file.
        title: its title when it does not name one itself.
        markdown: whether ``#`` begins a heading and a block of fields may come first.

    Raises:
        EmptyFileError: it holds no text.
        DataError: a line without end.
    """
    if text.long_line:
        raise DataError(
            f"{text.label}, line {text.long_line}: longer than {MAX_LINE:,} characters",
            "That is no text for people; break the line, or leave the file out.",
        )
    read = partial(_records, text, title, markdown)
    if next(read(), None) is None:
        raise EmptyFileError(f"{text.label}: the document holds no text", "Leave it out.")
    return read


def _records(text: TextFile, title: str, markdown: bool) -> Iterator[Record]:
    head = read_head(text) if markdown else Head({}, 0)
    with text.lines() as lines:
        numbered = ((n, _plain(line)) for n, line in enumerate(lines, start=1) if n > head.lines)
        pieces = _pieces(_blocks(numbered, markdown))
        first = next(pieces, None)
        if first is None:
            return
        about = {**head.fields, "title": head.fields.get("title") or first.title or title}
        for piece in chain((first,), pieces):
            yield piece.record(about)


def _plain(line: str) -> str:
    return line.rstrip("\r\n\ufeff \t\f").lstrip("\ufeff")


# What stands before the text ----------------------------------------------------------------------


def read_head(text: TextFile) -> Head:
    """Front matter between ``---`` lines, then a block that ends at ``INFO_END``, if any."""
    lines = [_plain(line) for line in _first_lines(text)]
    fields, at = _front_matter(lines)
    end = next((n for n, line in enumerate(lines) if line.strip() == INFO_END), -1)
    if end < at:
        return Head(fields, at)
    said = []
    for line in lines[at:end]:
        heading = _HEADING.fullmatch(line)
        if heading and "title" not in fields:
            fields["title"] = heading[2]
        elif line.strip():
            said.append(line.strip())
    return Head({**fields, **({"info": "\n".join(said)} if said else {})}, end + 1)


def _first_lines(text: TextFile) -> list[str]:
    with text.lines() as lines:
        return list(islice(lines, _HEAD_LINES))


def _front_matter(lines: list[str]) -> tuple[dict[str, str], int]:
    """Its plain ``key: value`` lines as fields, and how many lines it takes."""
    if not lines or lines[0] != "---":
        return {}, 0
    end = next((n for n, line in enumerate(lines[1:], start=1) if line in ("---", "...")), 0)
    entries = (_ENTRY.fullmatch(line) for line in lines[1:end])
    fields = {e[1].strip().lower(): e[2].strip().strip("\"'") for e in entries if e}
    return {key: value for key, value in fields.items() if key not in _OWN}, end + 1 if end else 0


# Blocks and pieces --------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Block:
    """A heading or a paragraph."""

    line: int
    text: str
    path: tuple[str, ...]
    opens: bool = False  # whether it is a heading
    gap: str = "\n\n"  # what stands between it and the block before


@dataclass
class _Piece:
    """Blocks that become one record."""

    blocks: list[_Block] = field(default_factory=list)
    size: int = 0

    def add(self, block: _Block) -> None:
        self.blocks.append(block)
        self.size += len(block.text) + len(block.gap)

    @property
    def title(self) -> str:
        """The document's first heading, where it is the first thing in it."""
        first = self.blocks[0]
        return first.path[0] if first.opens else ""

    def record(self, about: dict[str, str]) -> Record:
        first = self.blocks[0]
        text = first.text.lstrip() + "".join(b.gap + b.text for b in self.blocks[1:])
        path = first.path[1:] if first.path[:1] == (about["title"],) else first.path
        fields: dict[str, Any] = {"text": text, "heading": " > ".join(path), **about}
        return Record(first.line, fields)


def _blocks(lines: Iterable[tuple[int, str]], markdown: bool) -> Iterator[_Block]:
    path: list[tuple[int, str]] = []
    paragraph: list[str] = []
    start, fenced, gap, size = 0, "", "\n\n", 0

    def flush() -> Iterator[_Block]:
        if paragraph:
            yield from _cut(_Block(start, "\n".join(paragraph), _names(path), gap=gap))
            paragraph.clear()

    for number, line in lines:
        fence = _FENCE.match(line) if markdown else None
        if fence and (not fenced or fence[1] == fenced):
            fenced = "" if fenced else fence[1]
        heading = _HEADING.fullmatch(line) if markdown and not (fenced or fence) else None
        if heading:
            yield from flush()
            level = len(heading[1])
            path = [*(entry for entry in path if entry[0] < level), (level, heading[2])]
            gap = "\n\n"
            yield _Block(number, line.strip(), _names(path), opens=True)
        elif line or fenced:
            start, size = (start, size + len(line) + 1) if paragraph else (number, len(line))
            paragraph.append(line)
            if size > _PARAGRAPH or (size > LIMIT and not fenced and _SENTENCE.search(line[-4:])):
                yield from flush()
                gap = "\n"
        else:
            yield from flush()
            gap = "\n\n"
    yield from flush()


def _names(path: list[tuple[int, str]]) -> tuple[str, ...]:
    return tuple(name for _, name in path if name)


def _cut(block: _Block) -> Iterator[_Block]:
    """A paragraph as it is or, when it is too long for one record, in runs of whole sentences."""
    text, gap, line = block.text, block.gap, block.line
    for run in _runs(text) if len(text) > LIMIT else (text,):
        yield _Block(line, run.rstrip(), block.path, gap=gap)
        line += run.count("\n")
        gap = run[len(run.rstrip()) :]


def _runs(text: str) -> Iterator[str]:
    """A long text in runs of at most ``LIMIT`` characters, cut after sentences.

    A sentence that is longer is cut at its line ends, as lists without full stops are written;
    without those it stays whole.
    """
    run = ""
    for sentence in _split(text, _SENTENCE):
        for part in _split(sentence, _LINE) if len(sentence) > LIMIT else (sentence,):
            if run and len(run) + len(part) > LIMIT:
                yield run
                run = ""
            run += part
    if run:
        yield run


def _split(text: str, end: re.Pattern[str]) -> Iterator[str]:
    start = 0
    for match in end.finditer(text):
        yield text[start : match.end()]
        start = match.end()
    if start < len(text):
        yield text[start:]


def _pieces(blocks: Iterable[_Block]) -> Iterator[_Piece]:
    """Blocks gathered up to the limit; a heading begins a new piece once half of it is used."""
    piece = _Piece()
    held: list[_Block] = []  # headings wait for what they head
    for block in blocks:
        if block.opens:
            held.append(block)
            continue
        coming = sum(len(b.text) + len(b.gap) for b in (*held, block))
        full = piece.size + coming > LIMIT
        if piece.blocks and (full or (held and piece.size > LIMIT // 2)):
            yield piece
            piece = _Piece()
        for waiting in (*held, block):
            piece.add(waiting)
        held = []
    for waiting in held if piece.blocks else ():
        piece.add(waiting)
    if piece.blocks:
        yield piece
