"""Records → drafts, batch by batch, by a file's plan and the options."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tunewright.config.data import PrepareConfig
from tunewright.core.errors import DataError
from tunewright.data.checks.base import excerpt
from tunewright.data.columns import FALSE, TRUE, mark, plain
from tunewright.data.formats import Parsed, Plan
from tunewright.data.formats.dates import comparable_date
from tunewright.data.keys import groups_of, near_keys
from tunewright.data.normal import clean_all, turns_group
from tunewright.data.records import Draft, Dropped, Record, Turn, Unusable, said_by
from tunewright.data.sources import Source

_BETWEEN = re.compile(r"[;；|\n]")
_MARKS = TRUE | FALSE

_EXCERPT = 200


@dataclass
class Converted:
    """What records became: each is in one of the two, in the order in which they came."""

    drafts: list[Draft] = field(default_factory=list)
    dropped: list[Dropped] = field(default_factory=list)


class Converter:
    """Makes rows of a file's records.

    Args:
        source: the file.
        plan: how it is read.
        config: which rows are wanted, and what is put before them.

    Raises:
        DataError: ``--where`` names a column that the file lacks.
    """

    def __init__(self, source: Source, plan: Plan, config: PrepareConfig) -> None:
        self._name, self._plan = source.name, plan
        self._conditions = _conditions(source, config)
        self._described = any((plan.best, plan.slice, plan.group, plan.date, plan.phrases))
        self._system: tuple[Turn, ...] = ()
        if config.system and plan.kind != "text":
            self._system = (Turn("system", config.system),)
        # Another say in which answer is kept needs the others too.
        self._only_best = config.checks.contradictions in (None, "auto")
        self._pair = None if self._conditions or self._described else plan.pair

    def convert(self, records: Sequence[Record]) -> Converted:
        """A batch of records as rows, and those that are left out with the reason."""
        asked, answered = [_texts(records, c) for c in self._pair] if self._pair else (None, None)
        if asked and answered:
            return self._of_pairs(records, clean_all(asked), clean_all(answered))
        result = Converted()
        kept: list[tuple[Record, Parsed]] = []
        for record in records:
            try:
                kept.append((record, self._parsed(record)))
            except Unusable as why:
                result.dropped.append(self._dropped(record, why))
        keys = iter(near_keys([said_by(p.turns, "user") for _, p in kept if p.key is None]))
        groups = groups_of([next(keys) if p.key is None else p.key for _, p in kept])
        for (record, parsed), group in zip(kept, groups, strict=True):
            result.drafts.append(self._draft(record, parsed, group))
        return result

    def _of_pairs(
        self, records: Sequence[Record], asked: list[str], answered: list[str]
    ) -> Converted:
        """What ``convert`` gives for rows of two texts, in half the time: whole columns at once."""
        result = Converted()
        name, kind, before, add = self._name, self._plan.kind, self._system, result.drafts.append
        groups = groups_of(near_keys(asked))
        for record, question, answer, group in zip(records, asked, answered, groups, strict=True):
            if question and answer:
                turns = (*before, Turn("user", question), Turn("assistant", answer))
                add(Draft(turns, name, record.number, group, None, "own", kind))
            else:
                why = Unusable("empty answer", question) if question else Unusable("empty question")
                result.dropped.append(self._dropped(record, why))
        return result

    def _parsed(self, record: Record) -> Parsed:
        fields = record.fields
        if isinstance(fields, Unusable):
            raise fields
        for column, accepted in self._conditions:
            if mark(fields.get(column)) not in accepted:
                raise Unusable("does not match --where")
        parsed = self._plan.convert(fields)
        best = self._plan.best
        if best and self._only_best and mark(fields.get(best)) not in TRUE:
            raise Unusable("not the best answer", parsed.turns[0].text)
        return parsed

    def _draft(self, record: Record, parsed: Parsed, group: str) -> Draft:
        turns = parsed.turns
        if self._system and turns[0].role != "system":
            turns = (*self._system, *turns)
        kind = self._plan.kind
        draft = Draft(turns, self._name, record.number, group, None, "own", kind, *parsed[2:])
        if self._described and not isinstance(record.fields, Unusable):
            _describe(draft, record.fields, self._plan)
        return draft

    def _dropped(self, record: Record, why: Unusable) -> Dropped:
        text = why.detail or _record_text(record)
        return Dropped(self._name, record.number, why.reason, excerpt(text))


def _texts(records: Sequence[Record], column: str) -> list[str] | None:
    """A column's values, or None when one of them is no text."""
    try:
        values = [fields[column] for _, fields in records]  # type: ignore[index]
    except (KeyError, TypeError):  # a record without it, or one that cannot be used
        return None
    return values if {*map(type, values)} == {str} else None


def _describe(draft: Draft, fields: Mapping[str, Any], plan: Plan) -> None:
    """Put into a draft what other columns say about it."""
    if plan.best:
        draft.best = mark(fields.get(plan.best)) in TRUE
    if plan.slice:
        draft.slice = _label(fields.get(plan.slice))
    if plan.date:
        draft.date = comparable_date(fields.get(plan.date))
    for kind, column in plan.phrases.items():
        setattr(draft, kind, phrases_in(fields.get(column)))
    if plan.group and (together := _label(fields.get(plan.group))):
        draft.group = turns_group((), f"{plan.group}={together}")


def phrases_in(value: Any) -> tuple[str, ...]:
    """The phrases of a cell: a list of texts, or texts with semicolons, bars or line ends between.

    Anything else, a yes or no say, names no phrase.
    """
    if not isinstance(value, str | list) or (isinstance(value, str) and mark(value) in _MARKS):
        return ()
    texts = value if isinstance(value, list) else _BETWEEN.split(value)
    found = [text.strip() for text in texts if isinstance(text, str)]
    return tuple(dict.fromkeys(text for text in found if text))


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


def _record_text(record: Record) -> str:
    fields = record.fields
    if isinstance(fields, Unusable):
        return fields.detail
    values = [str(value)[:_EXCERPT] for value in fields.values() if isinstance(value, str)]
    return " | ".join(value for value in values if value.strip())
