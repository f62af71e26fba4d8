"""Whatever the user names → sources: opened, understood, and read as streams of records."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from pathlib import Path, PurePath
from typing import Any

from tunewright.config.data import PrepareConfig
from tunewright.core.errors import DataError
from tunewright.data import signatures
from tunewright.data.archives import Room, unpack_gzip, unpack_zip
from tunewright.data.columns import NAMES, plain
from tunewright.data.documents import document_source
from tunewright.data.inputs import Input, Skipped, display_names, find_files, printable
from tunewright.data.isolated import read_apart
from tunewright.data.json_files import begins_like_json, json_lines, json_source
from tunewright.data.labels import Fact
from tunewright.data.limits import EmptyFileError
from tunewright.data.lines import Order
from tunewright.data.records import Record, Unusable
from tunewright.data.tables import has_known_header, table_source
from tunewright.data.text import TextFile, open_text

__all__ = ["SAMPLE", "Source", "display_names", "open_source", "opened"]

SAMPLE = 200
_SAMPLE_CHARACTERS = 1 << 22
_DOCUMENT_SAMPLE = 3  # every document is a source, so their samples must be small
_TABLE_ENDINGS = frozenset({".csv", ".tsv", ".tab"})
_JSON_ENDINGS = frozenset({".json", ".jsonl", ".ndjson"})
_MARKDOWN_ENDINGS = frozenset({".md", ".markdown"})
_PLAIN_ENDINGS = frozenset({".txt", ".text"})
_ABOUT = ("readme", "license", "licence", "changelog", "notice", "contributing", "说明")


@dataclass(frozen=True)
class Source:
    """One file, opened and understood, ready to be read from its first record.

    Attributes:
        name: the file's name as reports show it.
        kind: ``csv``, ``json``, ``jsonl``, ``xlsx``, ``parquet``, ``arrow`` or, for a document
            whose records hold running text, ``text``.
        columns: names in order; for JSON those of the sample.
        sample: the first usable records.
        read: gives a fresh stream over every record, unusable ones included.
        delimiter: of a delimited table, else None.
        encoding: of a text file, as people write it; None for other kinds.
        encoding_reason: how the encoding was found; a kind of fact, None for other kinds.
        rows_hint: about how many records there are, for progress; 0 when nothing is known.
        notes: what is odd about the file but not wrong.
    """

    name: str
    kind: str
    columns: tuple[str, ...]
    sample: tuple[dict[str, Any], ...]
    read: Callable[[], Iterator[Record]]
    delimiter: str | None = None
    encoding: str | None = None
    encoding_reason: str | None = None
    rows_hint: int = 0
    notes: tuple[Fact, ...] = field(default=())


@dataclass(frozen=True)
class _Item:
    """A file on the disk that is to become a source.

    Attributes:
        path: where it is; for what was unpacked, in a temporary folder.
        name: what reports call it.
        label: what messages call it.
        ending: of its name, in lower case.
        alone: whether the user named just this file.
        unpacked: whether it came out of an archive.
    """

    path: Path
    name: str
    label: str
    ending: str
    alone: bool = True
    unpacked: bool = False


@contextmanager
def opened(files: Sequence[str], config: PrepareConfig) -> Iterator[list[Source]]:
    """Every source that the named files hold, opened; what was unpacked for it goes at the end.

    Args:
        files: files, folders and patterns.
        config: says how to read them, and which files there are besides, so that names differ.

    Raises:
        DataError: one cannot be read or holds no record, or there is nothing to read.
        StorageError: there is no room to unpack an archive.
    """
    skipped = Skipped()
    found = find_files(files, skipped)
    others = find_files((*config.files, *config.test_files), Skipped())
    names = display_names(str(file.path) for file in (*others, *found))
    room = Room()
    try:
        items = [i for file in found for i in _items(file, names[str(file.path)], room, skipped)]
        sources = _weeded([(item, _tried(item, config, room, skipped)) for item in items], skipped)
        if found and not sources:
            raise DataError(
                f"{', '.join(files)}: nothing is left to read (passed over: {skipped.text()})"
            )
        yield _noted(sources, skipped.facts())
    finally:
        room.clear()


def open_source(
    path: Path, name: str, encoding: str | None = None, delimiter: str | None = None
) -> Source:
    """Open one file of text: a table, JSON or a document; its content decides which.

    Raises:
        DataError: it cannot be read, is no text, or holds no record.
    """
    config = PrepareConfig(files=(str(path),), encoding=encoding, delimiter=delimiter)
    return _text(_Item(path, name, printable(str(path)), path.suffix.lower()), config)


# Items -------------------------------------------------------------------------------------------


def _items(file: Input, name: str, room: Room, skipped: Skipped) -> list[_Item]:
    """A file itself, or what an archive holds."""
    label, path = printable(str(file.path)), file.path
    kind = signatures.recognise(path, signatures.read_head(path, label))
    item = _Item(path, name, label, path.suffix.lower(), file.alone)
    if kind is signatures.GZIP:
        inner = PurePath(path.stem).suffix.lower() if item.ending == ".gz" else item.ending
        return [
            replace(item, path=unpack_gzip(path, label, room), ending=inner, unpacked=True),
        ]
    if kind is not signatures.ZIP:
        return [item]
    members = unpack_zip(path, label, room, skipped)
    return [
        _Item(
            member.path,
            name=f"{name}/{member.name}",
            label=f"{label}/{member.name}",
            ending=PurePath(member.name).suffix.lower(),
            alone=len(members) == 1 and file.alone,
            unpacked=True,
        )
        for member in members
    ]


def _tried(item: _Item, config: PrepareConfig, room: Room, skipped: Skipped) -> Source | None:
    """The source; None for an empty file among others, which is noted."""
    try:
        return _open(item, config, room)
    except EmptyFileError:
        if item.alone:
            raise
        skipped.add("empty", item.name)
        return None


def _weeded(opened: list[tuple[_Item, Source | None]], skipped: Skipped) -> list[Source]:
    """Sources that belong together: a few documents found beside tables are only about them.

    Raises:
        DataError: when there are too many documents for that.
    """
    there = [(item, source) for item, source in opened if source is not None]
    stray = [s for item, s in there if s.kind == "text" and not item.alone]
    tables = sum(source.kind != "text" for _, source in there)
    if not tables or not stray:
        return [source for _, source in there]
    telling = [s for s in stray if not PurePath(s.name).stem.lower().startswith(_ABOUT)]
    if len(telling) > tables:
        raise DataError(
            f"{stray[0].name} and {len(stray) - 1} more are documents, but {tables} other files "
            "found with them are tables or records; one dataset cannot be both",
            "Name one kind, e.g. with the pattern 'FOLDER/**/*.md' or 'FOLDER/**/*.csv'.",
        )
    for source in stray:
        skipped.add("documents", source.name)
    gone = {id(source) for source in stray}
    return [source for _, source in there if id(source) not in gone]


def _noted(sources: list[Source], facts: tuple[Fact, ...]) -> list[Source]:
    """The sources, with what is to be said about all of them noted at the first."""
    if not facts:
        return sources
    return [replace(sources[0], notes=(*sources[0].notes, *facts)), *sources[1:]]


# Sources -----------------------------------------------------------------------------------------


def _open(item: _Item, config: PrepareConfig, room: Room) -> Source:
    kind = signatures.recognise(item.path, signatures.read_head(item.path, item.label))
    if kind is signatures.TEXT:
        return _text(item, config)
    if kind.name in ("xlsx", "parquet", "arrow"):
        return _binary(item, kind.name, config, room)
    if kind.name and item.unpacked:
        raise DataError(f"{item.label}: this is {kind.what} inside an archive", "Unpack it first.")
    raise DataError(f"{item.label}: this is {kind.what}, not a text file", kind.advice)


def _binary(item: _Item, kind: str, config: PrepareConfig, room: Room) -> Source:
    order = Order(kind, str(item.path.absolute()), item.label, config.sheet)
    lines = read_apart(order, room.place())
    text = TextFile(lines.path, "utf-8", "", lines.rows, label=item.label)
    read = partial(json_lines, text)
    sample = _sample(read, SAMPLE)
    if not sample:
        raise _nothing(item, read, "there are column names but no rows")
    return Source(
        item.name, kind, lines.columns, sample, read, rows_hint=lines.rows, notes=lines.notes
    )


def _text(item: _Item, config: PrepareConfig) -> Source:
    text = open_text(item.path, config.encoding, item.label)
    kind = _kind(text, item.ending, config)
    source = Source(
        item.name,
        kind,
        columns=(),
        sample=(),
        read=lambda: iter(()),
        encoding=text.encoding_name,
        encoding_reason=text.reason,
        rows_hint=text.line_count,
        notes=({"kind": "nul bytes", "count": text.nul_bytes},) if text.nul_bytes else (),
    )
    return _READERS[kind](source, text, item, config)


def _kind(text: TextFile, ending: str, config: PrepareConfig) -> str:
    """``json``, ``csv`` or ``text``: by content, and where that leaves it open by the ending."""
    lines = text.head(2)
    if ending in _JSON_ENDINGS or (config.delimiter is None and begins_like_json(lines)):
        return "json"
    if config.delimiter is not None or ending in _TABLE_ENDINGS:
        return "csv"
    if ending in _MARKDOWN_ENDINGS:
        return "text"
    if ending in _PLAIN_ENDINGS and not has_known_header(lines, _known_columns(config)):
        return "text"
    return "csv"


def _known_columns(config: PrepareConfig) -> frozenset[str]:
    own = (*config.map.values(), *config.where)
    usual = (name for names in NAMES.values() for name in names)
    return frozenset(plain(name) for name in (*own, *usual))


def _json(source: Source, text: TextFile, item: _Item, config: PrepareConfig) -> Source:
    kind, read = json_source(text, item.ending)
    sample = _sample(read, SAMPLE)
    if not sample:
        raise _nothing(item, read, "the file holds no records")
    hint = source.rows_hint if kind == "jsonl" else 0
    return replace(
        source, kind=kind, read=read, sample=sample, columns=_keys(sample), rows_hint=hint
    )


def _table(source: Source, text: TextFile, item: _Item, config: PrepareConfig) -> Source:
    table = table_source(text, config.delimiter, item.ending)
    sample = _sample(table.read, SAMPLE)
    if not sample:
        raise _nothing(item, table.read, "the file holds a header but no rows")
    return replace(
        source,
        read=table.read,
        sample=sample,
        columns=table.columns,
        delimiter=table.delimiter,
        notes=(*source.notes, *table.notes),
    )


def _document(source: Source, text: TextFile, item: _Item, config: PrepareConfig) -> Source:
    title = PurePath(item.name.removesuffix(".gz")).stem
    read = document_source(text, title, item.ending in _MARKDOWN_ENDINGS)
    sample = _sample(read, _DOCUMENT_SAMPLE)
    return replace(source, read=read, sample=sample, columns=_keys(sample), rows_hint=0)


_READERS = {"json": _json, "csv": _table, "text": _document}


def _keys(sample: Sequence[dict[str, Any]]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(key for record in sample for key in record))


def _sample(read: Callable[[], Iterator[Record]], most: int) -> tuple[dict[str, Any], ...]:
    """The first usable records, fewer of very long ones."""
    sample: list[dict[str, Any]] = []
    size = 0
    for record in islice(read(), 2 * most):
        if not isinstance(record.fields, Unusable):
            sample.append(record.fields)
            values = record.fields.values()
            size += sum(len(v) if isinstance(v, (str, list, dict)) else 8 for v in values)
        if len(sample) >= most or size > _SAMPLE_CHARACTERS:
            break
    return tuple(sample)


def _nothing(item: _Item, read: Callable[[], Iterator[Record]], what: str) -> DataError:
    """Why there is no usable record among the first ones."""
    first = next(read(), None)
    if first is not None and isinstance(first.fields, Unusable):
        why = first.fields.detail or first.fields.reason
        return DataError(
            f"{item.label}: no usable record; row {first.number}: {why}",
            "Check that the export finished.",
        )
    return EmptyFileError(f"{item.label}: {what}", "Check that the export finished.")
