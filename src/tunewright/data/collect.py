"""Files → drafts: read, map, check; every row that is left out says why."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from tunewright.config.data import PrepareConfig
from tunewright.core.errors import DataError
from tunewright.core.events import Event, Listener, ignore
from tunewright.core.messages import RowKind
from tunewright.data.checks.base import excerpt
from tunewright.data.columns import plain
from tunewright.data.convert import Converter
from tunewright.data.formats import FORMATS, Plan, make_plan
from tunewright.data.labels import Fact, Words
from tunewright.data.records import Changed, Draft, Dropped, Record, Unusable
from tunewright.data.sources import SAMPLE, Source, opened

_BATCH = 256
_BATCH_CHARACTERS = 1 << 22
_PROGRESS_ROWS = 50_000
_SHOWN_FILES = 5
_KINDS: Mapping[RowKind, str] = {
    "conversation": "conversations",
    "preference": "preferences (a better and a worse answer)",
    "rating": "ratings (answers judged good or bad)",
    "text": "plain text",
}


@dataclass
class FileReport:
    """How one file was read, for the report."""

    name: str
    kind: str
    encoding: str | None
    encoding_reason: str | None
    delimiter: str | None
    format: str
    fields: dict[str, str]
    reason: list[Fact]
    notes: list[Fact]
    test: bool
    read: int = 0
    content: RowKind = "conversation"


@dataclass
class Collection:
    """All rows of all files: kept ones as drafts, the others with a reason.

    ``read`` = ``len(train) + len(test) + len(dropped) + merged`` between two files and between
    two checks. ``merged`` counts records that became turns of a row that another record began.
    """

    train: list[Draft] = field(default_factory=list)
    test: list[Draft] = field(default_factory=list)
    dropped: list[Dropped] = field(default_factory=list)
    changed: list[Changed] = field(default_factory=list)
    files: list[FileReport] = field(default_factory=list)
    read: int = 0
    merged: int = 0

    def counts(self) -> dict[str, int]:
        """Reason → rows left out, the commonest first."""
        result: dict[str, int] = {}
        for row in self.dropped:
            result[row.reason] = result.get(row.reason, 0) + 1
        return dict(sorted(result.items(), key=lambda item: -item[1]))

    def drop(self, draft: Draft, reason: str, detail: str = "", kept: Draft | None = None) -> None:
        """Leave out a row that had become a draft, perhaps because another one is kept."""
        text = excerpt(draft.question)
        place = (kept.file, kept.number) if kept else None
        text = f"{detail}: {text}" if detail else text
        self.dropped.append(Dropped(draft.file, draft.number, reason, text, place))


def collect(config: PrepareConfig, listen: Listener) -> Collection:
    """Read test files, then training files; nothing is compared or left out but the unusable.

    Raises:
        DataError: a file that cannot be read or mapped, or files whose rows are of several kinds.
    """
    result, announcer = Collection(), _Announcer(listen)
    for files, test in ((config.test_files, True), (config.files, False)):
        with opened(files, config) as sources:
            for source in sources:
                _read_file(source, config, result, test, announcer, listen)
    announcer.finish()
    return result


def preview(config: PrepareConfig, listen: Listener) -> None:
    """Tell the listener how each file would be read, with its first row, and change nothing.

    Raises:
        DataError: a file that cannot be read or mapped.
    """
    announcer = _Announcer(listen)
    for files, test in ((config.files, False), (config.test_files, True)):
        with opened(files, config) as sources:
            for place, source in enumerate(sources):
                options = _options_that_fit(source, config) if test else config
                _preview(source, options, announcer, listen if place < _SHOWN_FILES else ignore)
    announcer.finish()


def _preview(
    source: Source, options: PrepareConfig, announcer: _Announcer, listen: Listener
) -> None:
    plan = make_plan(source, options)
    announcer.tell(source, plan)
    draft = _first(source, plan, Converter(source, plan, options))
    if draft is not None:
        _note(listen, f"  e.g. row {draft.number}: {excerpt(draft.question, 100)}")
        if draft.answer:
            _note(listen, f"       answer: {excerpt(draft.answer, 100)}")


def _first(source: Source, plan: Plan, converter: Converter) -> Draft | None:
    records = islice(source.read(), SAMPLE)
    for record in plan.join(records) if plan.join else records:
        for draft in converter.convert([record]).drafts:
            return draft
    return None


def _read_file(
    source: Source,
    config: PrepareConfig,
    into: Collection,
    test: bool,
    announcer: _Announcer,
    listen: Listener,
) -> None:
    if test:
        config = _options_that_fit(source, config)
    plan = make_plan(source, config)
    _refuse_other_kind(source, plan, into)
    report = _report(source, plan, test)
    into.files.append(report)
    announcer.tell(source, plan)
    converter = Converter(source, plan, config)
    rows = into.test if test else into.train
    records = _counted(source, report, listen)
    given = 0
    for batch in _batches(plan.join(records) if plan.join else records):
        given += len(batch)
        converted = converter.convert(batch)
        rows += converted.drafts
        into.dropped += converted.dropped
    into.read += report.read
    into.merged += report.read - given
    _progress(listen, report.read, report.read)


def _batches(records: Iterator[Record]) -> Iterator[list[Record]]:
    """Records in batches: many, but of long ones fewer, for memory's sake."""
    size = 8
    while batch := list(islice(records, size)):
        yield batch
        longest = max(_characters(record) for record in (batch[0], batch[-1]))
        size = max(1, min(_BATCH, 2 * size, _BATCH_CHARACTERS // longest))


def _characters(record: Record) -> int:
    values = () if isinstance(record.fields, Unusable) else record.fields.values()
    return 1 + sum(len(value) for value in values if isinstance(value, str))


def _counted(source: Source, report: FileReport, listen: Listener) -> Iterator[Record]:
    for record in source.read():
        report.read += 1
        if report.read % _PROGRESS_ROWS == 0:
            _progress(listen, report.read, source.rows_hint)
        yield record


def _refuse_other_kind(source: Source, plan: Plan, into: Collection) -> None:
    other = next((file for file in into.files if file.content != plan.kind), None)
    if other is not None:
        raise DataError(
            f"{other.name} holds {_KINDS[other.content]} and {source.name} holds "
            f"{_KINDS[plan.kind]}; one dataset holds rows of one kind",
            "Prepare them one at a time; each becomes a dataset of its own.",
        )


def _options_that_fit(source: Source, config: PrepareConfig) -> PrepareConfig:
    """A test file may lack the training files' columns; options that name those do not bind it."""
    known = {plain(column) for column in source.columns}

    def fitting(options: Mapping[str, str], column: Callable[[str, str], str]) -> dict[str, str]:
        return {k: v for k, v in options.items() if plain(column(k, v)) in known}

    update: dict[str, Any] = {
        "map": fitting(config.map, lambda field_name, name: name),
        "where": fitting(config.where, lambda name, value: name),
    }
    asked = FORMATS.get(config.format)
    fits = asked is None or asked.fits(source, config.model_copy(update=update))
    return config.model_copy(update=update if fits else {**update, "format": "auto"})


def _report(source: Source, plan: Plan, test: bool) -> FileReport:
    notes = [*source.notes, *plan.notes]
    return FileReport(
        name=source.name,
        kind=source.kind,
        encoding=source.encoding,
        encoding_reason=source.encoding_reason,
        delimiter=source.delimiter,
        format=plan.format,
        fields=plan.fields,
        reason=list(plan.reason),
        notes=notes,
        test=test,
        content=plan.kind,
    )


class _Announcer:
    """Tells how files are read; of many that are read alike only the first is named."""

    def __init__(self, listen: Listener) -> None:
        self._listen = listen
        self._alike: dict[tuple[str, ...], list[str]] = {}

    def tell(self, source: Source, plan: Plan) -> None:
        """Say how a file is read, unless one before it was read in the same way."""
        separated = {"\t": "tab", None: ""}.get(source.delimiter, source.delimiter)
        how = f"{source.kind.upper()}{f' separated by {separated!r}' if separated else ''}"
        words = Words.of("en")
        if source.encoding is not None:
            how += f", {source.encoding} ({words.facts[str(source.encoding_reason)]})"
        facts = (*source.notes, *plan.notes)
        lines = (f"{how}; {words.say_all(plan.reason)}", *map(words.say, facts))
        alike = self._alike.setdefault(lines, [])
        alike.append(source.name)
        if len(alike) == 1:
            for line in lines:
                _note(self._listen, f"{source.name}: {line}")

    def finish(self) -> None:
        """Say how many more files there were."""
        for first, *others in self._alike.values():
            if others:
                more = f"{others[0]} is" if len(others) == 1 else f"{len(others)} more files are"
                _note(self._listen, f"{more} read like {first}")


def _note(listen: Listener, text: str) -> None:
    listen(Event(kind="note", data={"text": text}))


def _progress(listen: Listener, done: int, total: int) -> None:
    listen(Event(kind="progress", data={"stage": "read", "done": done, "total": max(done, total)}))
