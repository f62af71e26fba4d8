"""Answers judged good or bad, one by one (KTO)."""

from __future__ import annotations

from tunewright.config.data import PrepareConfig
from tunewright.data.columns import FALSE, QUESTION_FIELDS, TRUE, mark, plain
from tunewright.data.formats.base import (
    Fields,
    Format,
    Parsed,
    Plan,
    find_fields,
    holds_turns,
    lacks,
    unused,
)
from tunewright.data.formats.chat import BESIDE_MESSAGES, message_notes
from tunewright.data.formats.preference import prompt_reader
from tunewright.data.formats.turns import ordered, read_answer
from tunewright.data.labels import Fact
from tunewright.data.records import Unusable
from tunewright.data.sources import Source

_FIELDS = (*QUESTION_FIELDS, "answer", "messages", "desirable")
_OF_COLUMNS = frozenset({"question", "title", "input", "history", "answer"})


def _fits(source: Source, config: PrepareConfig) -> bool:
    fields, _ = find_fields(source, config, _FIELDS)
    judged = fields.get("desirable")
    if judged is None or judged in config.where:
        return False  # who keeps the good answers with --where wants to learn them
    if not holds_turns(source, fields.get("messages")) and not _is_completion(fields):
        return "desirable" in config.map and "answer" in fields
    marks = {mark(record.get(judged)) for record in source.sample}
    return bool(marks - {""}) and marks <= TRUE | FALSE


def _is_completion(fields: dict[str, str]) -> bool:
    return plain(fields.get("answer", "")) == "completion"


def _plan(name: str, source: Source, config: PrepareConfig) -> Plan:
    fields, reason = find_fields(source, config, _FIELDS)
    column, answer = fields.get("desirable"), fields.get("answer")
    whole = holds_turns(source, fields.get("messages"))
    if whole:
        fields = {
            f: c for f, c in fields.items() if f not in {*QUESTION_FIELDS, "answer"} - {"system"}
        }
    prompt = prompt_reader(source, fields)
    if column is None or prompt is None or not (whole or answer):
        raise lacks(name, source, "an answer and a column 'label' that judges it")

    def convert(record: Fields) -> Parsed:
        turns, key, tools = prompt(record)
        if not whole and answer:
            turns = (*turns, *read_answer(record.get(answer) or ""))
        desirable = _judgement(record, column)
        return Parsed(ordered(turns), key, desirable=desirable, tools=tools)

    lists = [c for f in ("messages", "question", "answer") if (c := fields.get(f))]
    used = (*fields.values(), *BESIDE_MESSAGES, *config.where)
    notes = (*message_notes(source, *lists), *unused(source, used))
    fact: Fact = {"kind": "judged answers", "column": column}
    return Plan(name, fields, (fact, *reason), convert, "rating", notes=notes)


def _judgement(record: Fields, column: str) -> bool:
    value = mark(record.get(column))
    if value in TRUE:
        return True
    if value in FALSE - {"", "none", "null"}:
        return False
    raise Unusable("no yes or no", f"column {column!r}: {value[:60]!r}")


RATING = Format(
    _fits,
    _plan,
    frozenset({*_FIELDS, "slice", "group", "date"}),
    {
        "en": "answers judged good or bad (KTO)",
        "zh": "单条评判：回答好或不好（KTO）",
    },
    '{"messages": […], "label": true}',
)
