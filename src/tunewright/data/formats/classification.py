"""Texts with their class: the class's name is what is learned."""

from __future__ import annotations

from typing import Any

from tunewright.config.data import PrepareConfig
from tunewright.data.columns import given_columns, plain
from tunewright.data.formats.base import (
    Fields,
    Format,
    Parsed,
    Plan,
    find_fields,
    lacks,
    text_of,
    unused,
)
from tunewright.data.formats.rows import asker, find_rows
from tunewright.data.labels import Fact
from tunewright.data.records import Turn, Unusable
from tunewright.data.sources import Source

_FIELDS = ("question", "title", "system", "label", "text")
_LONGEST_LABEL = 60
# Two texts that are judged together.
_PAIRS = (("sentence1", "sentence2"), ("premise", "hypothesis"), ("texta", "textb"))


def _find(source: Source, config: PrepareConfig) -> tuple[dict[str, str], tuple[Fact, ...]]:
    """Fields with ``question`` and ``label`` where the file has them."""
    fields, reason = find_fields(source, config, _FIELDS)
    known = {plain(column): column for column in reversed(source.columns)}
    pair = next(((known[a], known[b]) for a, b in _PAIRS if a in known and b in known), None)
    if pair and not {"question", "input"} & config.map.keys():
        fields["question"], fields["input"] = pair
    if text := fields.pop("text", None):
        fields.setdefault("question", text)
    return fields, reason


def _is_class(source: Source, column: str) -> bool:
    """Whether values are few, short and repeat, as names of classes do."""
    values = [v for r in source.sample if (v := r.get(column)) not in (None, "")]
    if not values or not all(isinstance(value, (str, int, bool, float)) for value in values):
        return False
    names = {str(value) for value in values}
    few = len(values) < 10 or 2 * len(names) <= len(values)
    return few and max(map(len, names)) <= _LONGEST_LABEL


def _fits(source: Source, config: PrepareConfig) -> bool:
    fields, _ = _find(source, config)
    label = fields.get("label")
    asks = {"question", "title"} & fields.keys()
    if label is None or not asks:
        return False
    if "label" in config.map:
        return True
    if source.kind == "text":  # what a document's head says of it is not its class
        return False
    return find_rows(source, config) is None and _is_class(source, label)


def _plan(name: str, source: Source, config: PrepareConfig) -> Plan:
    fields, reason = _find(source, config)
    if "label" not in fields or not {"question", "title"} & fields.keys():
        raise lacks(name, source, "a text and a label column")
    label, asked = fields["label"], asker(fields)

    def convert(record: Fields) -> Parsed:
        turns, key = asked(record)
        named = text_of(record, label)
        if not named:
            raise Unusable("empty label", turns[-1].text)
        return Parsed((*turns, Turn("assistant", named)), key, label=named)

    notes = (*_bare_numbers(source, label), *unused(source, (*fields.values(), *config.where)))
    fact: Fact = {"kind": "text and class", "label": label}
    given = given_columns(source.name, source.columns, config.map)
    mapped = tuple(f for f in reason if given and f["kind"] == "mapped as asked")
    return Plan(name, fields, (fact, *mapped), convert, notes=notes)


def _bare_numbers(source: Source, label: str) -> tuple[Fact, ...]:
    values: list[Any] = [record.get(label) for record in source.sample]
    texts = [str(value).strip() for value in values if value not in (None, "")]
    bare = all(text.lstrip("-").replace(".", "", 1).isdigit() for text in texts)
    return ({"kind": "labels are numbers", "column": label},) if bare else ()


CLASSIFICATION = Format(
    _fits,
    _plan,
    frozenset({"question", "title", "input", "system", "label", "slice", "group", "date"}),
    {"en": "texts with their class", "zh": "文本分类：文本与标签"},
    "文本,标签",
)
