"""Documents → passages: cut at headings and paragraphs, each line traceable to its place."""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from tunewright.core.errors import DataError
from tunewright.data.documents import Head, read_head
from tunewright.data.inputs import Input, Skipped, display_names, find_files
from tunewright.data.normal import clean, exact_key
from tunewright.data.text import open_text

_MARKDOWN = {".md", ".markdown"}
_ENDINGS = _MARKDOWN | {".txt", ".text"}
_HEADING = re.compile(r" {0,3}(#{1,6})\s+(.*?)\s*#*\s*$")
_FENCE = re.compile(r" {0,3}(```|~~~)")
_COMMENT = re.compile(r"<!--.*?-->")
# After a Chinese full stop, or after a Western one that a space follows (3.5 is no end).
_SENTENCE = re.compile(r"(?<=[。！？；])|(?<=[.!?;])(?=\s)")
_PATH = " > "


class Line(NamedTuple):
    """A line of a document, or a part of one, and its 1-based number."""

    text: str
    number: int


@dataclass(frozen=True)
class Passage:
    """A stretch of one document under one heading.

    Attributes:
        file: the document's name.
        heading: headings above it, the outermost first, joined by `` > ``; empty without any.
        text: its text, in Unicode's composed form (NFC).
        starts: offset in ``text`` and line number of each of its lines, ascending.
    """

    file: str
    heading: str
    text: str
    starts: tuple[tuple[int, int], ...]

    def line_at(self, offset: int) -> int:
        """The document's line that holds the character at ``offset``."""
        return self.starts[bisect_right(self.starts, (offset, 1 << 60)) - 1][1]

    def find(self, quote: str) -> tuple[str, int] | None:
        """The passage's own wording of a quote and the line where it begins.

        Width, spacing and kinds of quotation marks may differ; any other character may not.

        Returns:
            None when the passage does not hold it.
        """
        wanted = _normal(quote)
        plain, origin = _mapped(self.text)
        at = plain.find(wanted) if wanted else -1
        if at < 0:
            return None
        start, last = origin[at], origin[at + len(wanted) - 1]
        return self.text[start : last + 1], self.line_at(start)


def _normal(text: str) -> str:
    return exact_key(text).replace(" ", "")


@lru_cache(maxsize=16)
def _mapped(text: str) -> tuple[str, list[int]]:
    """A text's normal form, and for each of its characters the one in ``text`` it came from."""
    plain: list[str] = []
    origin: list[int] = []
    for place, character in enumerate(text):
        for piece in _normal(character):
            plain.append(piece)
            origin.append(place)
    return "".join(plain), origin


def read_passages(
    files: Sequence[str], limit: int, skipped: Counter[str] | None = None
) -> Iterator[Passage]:
    """The passages of documents, in order.

    Args:
        files: documents, folders of them, and patterns.
        limit: longest passage, in characters.
        skipped: told how many files that are no documents were passed over.

    Raises:
        DataError: a file that is missing, unreadable or no document, or nothing but such files.
    """
    found = find_files(files, Skipped())
    documents = [file for file in found if _is_document(file)]
    if skipped is not None and len(found) > len(documents):
        skipped["not a document"] += len(found) - len(documents)
    if not documents:
        raise DataError(
            f"{', '.join(files)}: there is no document here",
            f"Documents end in {', '.join(sorted(_ENDINGS))}.",
        )
    names = display_names(str(file.path) for file in documents)
    for file in documents:
        for heading, section in _sections(file.path):
            for lines in _packed(section, limit):
                yield _passage(names[str(file.path)], heading, lines)


def _is_document(file: Input) -> bool:
    known = file.path.suffix.lower() in _ENDINGS
    if file.alone and not known and file.path.exists():
        raise DataError(
            f"{file.path}: not a document that questions can be made from",
            f"Allowed endings: {', '.join(sorted(_ENDINGS))}. Save it as one of these.",
        )
    return known or file.alone


def _sections(path: Path) -> Iterator[tuple[str, list[Line]]]:
    """Headings and the lines below them, up to the next heading."""
    text = open_text(path)
    markdown = path.suffix.lower() in _MARKDOWN
    head = read_head(text) if markdown else Head({}, 0)
    title = head.fields.get("title", "")
    headings: list[tuple[int, str]] = [(0, title)]
    section: list[Line] = []
    fence = ""
    with text.lines() as lines:
        for number, raw in enumerate(lines, start=1):
            if number <= head.lines:
                continue
            mark = _FENCE.match(raw) if markdown else None
            if mark and fence in ("", mark[1]):
                fence = "" if fence else mark[1]
            heading = _HEADING.match(raw) if markdown and not fence else None
            if heading is None:
                plain = clean(_COMMENT.sub("", raw) if markdown else raw)
                section.append(Line(unicodedata.normalize("NFC", plain), number))
                continue
            yield _path(headings), section
            section = []
            level, name = len(heading[1]), clean(heading[2])
            above = [entry for entry in headings if entry[0] < level]
            headings = above if name == title else [*above, (level, name)]
    yield _path(headings), section


def _path(headings: list[tuple[int, str]]) -> str:
    return _PATH.join(text for _, text in headings if text)


def _packed(section: list[Line], limit: int) -> Iterator[list[Line]]:
    """Consecutive paragraphs that fit the limit together; blank lines stay between them."""
    pack: list[Line] = []
    size = 0
    for paragraph in _paragraphs(section, limit):
        length = sum(len(line.text) + 1 for line in paragraph) + 1
        if pack and size + length > limit + 2:  # the outer line ends do not count
            yield pack
            pack, size = [], 0
        if pack:
            pack.append(Line("", paragraph[0].number))
        pack += paragraph
        size += length
    if pack:
        yield pack


def _paragraphs(section: list[Line], limit: int) -> Iterator[list[Line]]:
    """Runs of lines without a blank one; those that are too long are cut between lines."""
    paragraph: list[Line] = []
    size = 0
    for line in chain.from_iterable(_short(whole, limit) for whole in section):
        if paragraph and (not line.text or size + len(line.text) > limit):
            yield paragraph
            paragraph, size = [], 0
        if line.text:
            paragraph.append(line)
            size += len(line.text) + 1
    if paragraph:
        yield paragraph


def _short(line: Line, limit: int) -> Iterator[Line]:
    """A line, or the parts that it has when cut at sentences, and only then inside them."""
    if len(line.text) <= limit:
        yield line
        return
    part = ""
    for sentence in _SENTENCE.split(line.text):
        if part and len(part) + len(sentence) > limit:
            yield Line(part.strip(), line.number)
            part = ""
        part += sentence
        while len(part) > limit:
            yield Line(part[:limit].strip(), line.number)
            part = part[limit:]
    if part.strip():
        yield Line(part.strip(), line.number)


def _passage(file: str, heading: str, lines: Iterable[Line]) -> Passage:
    text = ""
    starts: list[tuple[int, int]] = []
    for line in lines:
        starts.append((len(text), line.number))
        text += line.text + "\n"
    return Passage(file, heading, text.rstrip("\n"), tuple(starts))
