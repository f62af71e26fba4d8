"""Files → drafts: read, map, check; every row that is left out says why."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from tunewright.config.data import PrepareConfig
from tunewright.core.errors import DataError
from tunewright.core.events import Event, Listener
from tunewright.data.checks.base import excerpt
from tunewright.data.columns import FALSE, TRUE, mark, plain
from tunewright.data.formats import Plan, make_plan
from tunewright.data.labels import Fact, Words
from tunewright.data.normal import turns_group
from tunewright.data.records import Changed, Draft, Dropped, Record, Turn, Unusable
from tunewright.data.sources import SAMPLE, Source, opened

_EXCERPT = 200
_PROGRESS_ROWS = 50_000


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
    result = Collection()
    for files, test in ((config.test_files, True), (config.files, False)):
        with opened(files, config) as sources:
            for source in sources:
                _read_file(source, config, result, test, listen)
    return result


def preview(config: PrepareConfig, listen: Listener) -> None:
    """Tell the listener how each file would be read, with its first row, and change nothing.

    Raises:
        DataError: a file that cannot be read or mapped.
    """
    for files, test in ((config.files, False), (config.test_files, True)):
        with opened(files, config) as sources:
            for source in sources:
                _preview(source, _options_that_fit(source, config) if test else config, listen)


def _preview(source: Source, options: PrepareConfig, listen: Listener) -> None:
    plan = make_plan(source, options)
    _announce(source, plan, listen)
    draft = _first(source, _converter(source, plan, options))
    if draft is not None:
        _note(listen, f"  e.g. row {draft.number}: {excerpt(draft.question, 100)}")
        if draft.answer:
            _note(listen, f"       answer: {excerpt(draft.answer, 100)}")


def _first(source: Source, convert: Callable[[Record], Draft]) -> Draft | None:
    for record in islice(source.read(), SAMPLE):
        with suppress(Unusable):
            return convert(record)
    return None


def _read_file(
    source: Source, config: PrepareConfig, into: Collection, test: bool, listen: Listener
) -> None:
    if test:
        config = _options_that_fit(source, config)
    plan = make_plan(source, config)
    report = _report(source, plan, test)
    into.files.append(report)
    _announce(source, plan, listen)
    convert = _converter(source, plan, config)
    keep = (into.test if test else into.train).append
    for record in source.read():
        report.read += 1
        try:
            keep(convert(record))
        except Unusable as why:
            text = why.detail or _record_text(record)
            into.dropped.append(Dropped(source.name, record.number, why.reason, excerpt(text)))
        if report.read % _PROGRESS_ROWS == 0:
            _progress(listen, report.read, source.rows_hint)
    into.read += report.read
    _progress(listen, report.read, report.read)


def _converter(source: Source, plan: Plan, config: PrepareConfig) -> Callable[[Record], Draft]:
    conditions = _conditions(source, config)
    best, label, name, parse = plan.best, plan.slice, source.name, plan.convert
    system = Turn("system", config.system) if config.system else None

    def convert(record: Record) -> Draft:
        fields = record.fields
        if isinstance(fields, Unusable):
            raise fields
        for column, accepted in conditions:
            if mark(fields.get(column)) not in accepted:
                raise Unusable("does not match --where")
        turns, key = parse(fields)
        if best and mark(fields.get(best)) not in TRUE:
            raise Unusable("not the best answer", turns[0].text)
        group = turns_group(turns, key)
        if system and turns[0].role != "system":
            turns = (system, *turns)
        value = fields.get(label) if label else None
        return Draft(turns, name, record.number, group, _label(value))

    return convert


def _label(value: Any) -> str | None:
    return (str(value).strip() or None) if isinstance(value, (str, int, float)) else None


def _conditions(source: Source, config: PrepareConfig) -> list[tuple[str, frozenset[str]]]:
    """``--where`` as (column, marks that pass); 1, true and yes are one mark, so are their no's."""
    known = {plain(column): column for column in reversed(source.columns)}
    result = []
    for column, value in config.where.items():
        actual = column if column in source.columns else known.get(plain(column))
        if actual is None:
            raise DataError(
                f"{source.name}: there is no column {column!r} (--where {column}={value})",
                f"Its columns: {', '.join(source.columns)}.",
            )
        wanted = mark(value)
        same = next((marks for marks in (TRUE, FALSE - {""}) if wanted in marks), frozenset())
        result.append((actual, frozenset({wanted}) | same))
    return result


def _options_that_fit(source: Source, config: PrepareConfig) -> PrepareConfig:
    """A test file may lack the training files' columns; options that name those do not bind it."""
    known = {plain(column) for column in source.columns}

    def fitting(options: Mapping[str, str], column: Callable[[str, str], str]) -> dict[str, str]:
        return {k: v for k, v in options.items() if plain(column(k, v)) in known}

    update = {
        "map": fitting(config.map, lambda field_name, name: name),
        "where": fitting(config.where, lambda name, value: name),
    }
    return config.model_copy(update=update)


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
    )


def _announce(source: Source, plan: Plan, listen: Listener) -> None:
    separated = {"\t": "tab", None: ""}.get(source.delimiter, source.delimiter)
    how = f"{source.kind.upper()}{f' separated by {separated!r}' if separated else ''}"
    words = Words.of("en")
    if source.encoding is not None:
        how += f", {source.encoding} ({words.facts[str(source.encoding_reason)]})"
    _note(listen, f"{source.name}: {how}; {words.say_all(plan.reason)}")
    for fact in (*source.notes, *plan.notes):
        _note(listen, f"{source.name}: {words.say(fact)}")


def _record_text(record: Record) -> str:
    fields = record.fields
    if isinstance(fields, Unusable):
        return fields.detail
    values = [str(value)[:_EXCERPT] for value in fields.values() if isinstance(value, str)]
    return " | ".join(value for value in values if value.strip())


def _note(listen: Listener, text: str) -> None:
    listen(Event(kind="note", data={"text": text}))


def _progress(listen: Listener, done: int, total: int) -> None:
    listen(Event(kind="progress", data={"stage": "read", "done": done, "total": max(done, total)}))
