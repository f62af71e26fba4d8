"""Attributes → texts: every row of a table, every combination of values, or both crossed."""

from __future__ import annotations

import math
import random
import re
from collections.abc import Sequence
from typing import NamedTuple

from tunewright.config.data import PrepareConfig
from tunewright.config.generation import TextsConfig
from tunewright.core.errors import ConfigError, DataError
from tunewright.core.store import Store
from tunewright.data.formats.base import text_of
from tunewright.data.generate.prompts import attributes_instruction, language_of, texts_prompt
from tunewright.data.generate.sample import output_name, sampled
from tunewright.data.generate.work import Item, Language, Result, Row, Work
from tunewright.data.normal import turns_group
from tunewright.data.records import Draft, Turn, Unusable
from tunewright.data.sources import opened

FIELDS = ("text",)
_OWN = ("text", "prompt")
_EXPECTED = {"zh": 250, "en": 600}
_MOST_ITEMS = 100_000
_VALUES = re.compile(r"[,，]")
# A doubled brace is a brace; a single one must enclose a plain name.
_FIELD = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")

Attributes = tuple[tuple[str, str], ...]


class _Choices(NamedTuple):
    """The combinations, numbered: rows of the table times values of each attribute."""

    rows: Sequence[Attributes]
    lists: Sequence[tuple[str, Sequence[str]]]

    @property
    def total(self) -> int:
        return len(self.rows) * math.prod(len(values) for _, values in self.lists)

    def at(self, number: int) -> Attributes:
        """One combination; the last attribute changes fastest."""
        picked: list[tuple[str, str]] = []
        for name, values in reversed(self.lists):
            number, place = divmod(number, len(values))
            picked.append((name, values[place]))
        return (*self.rows[number], *reversed(picked))


def make_texts(config: TextsConfig, store: Store) -> Work:
    """One item for each combination of attributes.

    Raises:
        ConfigError: no attributes, one named twice, or a template that names others.
        DataError: the table cannot be read.
    """
    rows = [()] if config.table is None else _table(config.table)
    choices = _Choices(rows, [(name, _values(name, text)) for name, text in _lists(config)])
    if not choices.at(0):
        raise ConfigError(
            "there are no attributes to write texts from",
            "Name a table, or attributes: --attribute topic=rent,work --attribute style=formal",
        )
    _check_names([name for name, _ in choices.at(0)], config.template)
    if choices.total > _MOST_ITEMS and (config.limit or choices.total) > _MOST_ITEMS:
        raise ConfigError(
            f"{choices.total:,} combinations are more than {_MOST_ITEMS:,}",
            "Draw some of them with --limit.",
        )
    places = sampled(choices.total, config.limit, random.Random(config.seed))
    return Work(
        name="texts",
        items=[_item(choices.at(place), config) for place in places],
        fields=FIELDS,
        together=False,
        draft=text_draft,
        output=output_name(config.table or "", "texts"),
    )


def text_draft(row: Row, number: int) -> Draft:
    """A text as the checks see it."""
    turns = (Turn("user", row["text"]),)
    return Draft(turns, "", number, turns_group(turns), kind="text")


def fill(template: str, values: Attributes) -> str:
    """A template with ``{name}`` replaced by values; nothing in a value is looked at again.

    Raises:
        ConfigError: braces around something other than the name of an attribute.
    """
    known = dict(values)

    def put(match: re.Match[str]) -> str:
        whole, name = match[0], match[1]
        if whole in ("{{", "}}"):
            return whole[0]
        if name is None or name.strip() not in known:
            raise ConfigError(
                f"option 'template': {whole!r} is not an attribute in braces",
                f"Attributes: {', '.join(known)}. A brace itself is written twice.",
            )
        return known[name.strip()]

    return _FIELD.sub(put, template)


def _lists(config: TextsConfig) -> list[tuple[str, str]]:
    return [(name.strip(), text) for name, text in config.attribute.items()]


def _values(name: str, text: str) -> list[str]:
    values = list(dict.fromkeys(v for v in map(str.strip, _VALUES.split(text)) if v))
    if not values:
        raise ConfigError(
            f"option 'attribute': {name!r} has no values",
            "Example: --attribute style=formal,casual",
        )
    return values


def _table(path: str) -> list[Attributes]:
    """The rows of a table, without those that repeat another."""
    rows: dict[Attributes, None] = {}
    with opened((path,), PrepareConfig(files=(path,))) as sources:
        for source in sources:
            for record in source.read():
                if isinstance(record.fields, Unusable):
                    why = record.fields
                    raise DataError(
                        f"{source.name}, row {record.number}: {why.reason} {why.detail}".rstrip(),
                        "Every row must give each attribute; correct or remove it.",
                    )
                rows[_row_of(record.fields, source.columns, source.name, record.number)] = None
    return list(rows)


def _row_of(
    fields: dict[str, object], columns: tuple[str, ...], file: str, number: int
) -> Attributes:
    try:
        return tuple((name.strip(), text_of(fields, name)) for name in columns)
    except Unusable as why:
        raise DataError(
            f"{file}, row {number}: {why.detail}", "Attributes are plain text."
        ) from None


def _check_names(names: list[str], template: str | None) -> None:
    for name in names:
        if name in _OWN or names.count(name) > 1 or not name:
            raise ConfigError(
                f"attribute {name!r} cannot be used: it is empty, given twice, or one of "
                f"{', '.join(_OWN)}",
                "Rename the column or the attribute.",
            )
    if template is not None:
        fill(template, tuple((name, "") for name in names))


def _item(values: Attributes, config: TextsConfig) -> Item:
    sample = config.template or "".join(f"{name}{value}" for name, value in values)
    language: Language = language_of(sample) if config.prompts == "auto" else config.prompts
    if config.template is None:
        # An attribute that a row leaves empty is not asked for.
        instruction = attributes_instruction([v for v in values if v[1]], language)
    else:
        instruction = fill(config.template, values)

    def accept(result: Result) -> Row:
        return {"text": result["text"], **dict(values), "prompt": instruction}

    return Item(
        language=language,
        prompt=lambda count: texts_prompt(instruction, count, language),
        accept=accept,
        expected=_EXPECTED[language],
    )
