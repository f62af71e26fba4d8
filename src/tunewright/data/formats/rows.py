"""One question and one answer in each record: tables under usual names, and their known shapes."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from tunewright.config.data import PrepareConfig
from tunewright.core.errors import DataError
from tunewright.data.columns import (
    QUESTION_FIELDS,
    ROW_FIELDS,
    ColumnMap,
    column_map,
    find_columns,
    given_columns,
    is_flag,
    plain,
    usual_columns,
)
from tunewright.data.formats.base import (
    Fields,
    Format,
    Parsed,
    Plan,
    as_list,
    lacks,
    sensible,
    text_of,
    unused,
)
from tunewright.data.labels import Fact
from tunewright.data.normal import clean, near_key
from tunewright.data.records import Turn, Unusable
from tunewright.data.sources import Source

Asked = tuple[tuple[Turn, ...], str | None]
"""The turns up to the last question, and its near-equality key where that is special."""
_TAKES = frozenset({*ROW_FIELDS, "label"})
_BESIDE = frozenset({"title", "input", "system", "history", "label"})
"""What else a row may be made of than its question and its answer."""


def plan_rows(name: str, source: Source, config: PrepareConfig, found: ColumnMap) -> Plan:
    """The plan of a table of questions and answers whose columns are known."""
    fields, notes = _with_best(source, config, found)
    reason = list(found.reason)
    best, title, question = (fields.get(name) for name in ("best", "title", "question"))
    if best:
        reason.append({"kind": "best only", "column": best})
    if title and question:
        reason.append({"kind": "title fallback", "question": question, "title": title})
    notes += unused(source, (*found.fields.values(), *config.where))
    pair = None if fields.keys() & _BESIDE else (fields["question"], fields["answer"])
    return Plan(name, fields, tuple(reason), _converter(fields), notes=notes, pair=pair)


def _with_best(
    source: Source, config: PrepareConfig, found: ColumnMap
) -> tuple[dict[str, str], tuple[Fact, ...]]:
    """The fields, without marks of the best answer that are none or that ``--where`` reads."""
    fields = dict(found.fields)
    best = fields.get("best")
    if best is None or "best" in config.map:
        return fields, ()
    if best in config.where:
        del fields["best"]
    elif not is_flag(record.get(best) for record in source.sample):
        del fields["best"]
        return fields, ({"kind": "no marks", "column": best},)
    return fields, ()


def _converter(fields: dict[str, str]) -> Callable[[Fields], Parsed]:
    answer, label, asked = fields["answer"], fields.get("label"), asker(fields)

    def convert(record: Fields) -> Parsed:
        turns, key = asked(record)
        answered = text_of(record, answer)
        if not answered:
            raise Unusable("empty answer", turns[-1].text)
        turns = (*turns, Turn("assistant", answered))
        return Parsed(turns, key, label=text_of(record, label) or None if label else None)

    return convert


# Questions -------------------------------------------------------------------------------------


def asker(fields: dict[str, str]) -> Callable[[Fields], Asked]:
    """A function from a record to its question, out of the columns of ``QUESTION_FIELDS``.

    It raises Unusable when a record asks nothing.
    """
    question, title, extra, system, history = (fields.get(name) for name in QUESTION_FIELDS)

    def asked(record: Fields) -> Asked:
        text, key = text_of(record, question) if question else "", None
        if extra and (more := text_of(record, extra)):
            text = f"{text}\n{more}" if text else more
        if title and (heading := text_of(record, title)):
            text, key = _with_title(heading, text)
        if not text:
            raise Unusable("empty question")
        turns: tuple[Turn, ...] = (Turn("user", text),)
        if history and (before := _history(record, history)):
            turns, key = (*before, *turns), None
        if system and (instruction := text_of(record, system)):
            turns = (Turn("system", instruction), *turns)
        return turns, key

    return asked


def _history(record: Fields, column: str) -> list[Turn]:
    """Earlier rounds as ``[[question, answer], …]``; an empty list or cell has none."""
    value = record.get(column)
    if not value or (isinstance(value, str) and not value.strip()):
        return []
    rounds = as_list(value)
    if rounds is None:
        raise Unusable("history is not a list of rounds", str(value)[:100])
    turns = []
    for pair in rounds:
        texts = [clean(text) for text in pair if isinstance(text, str)] if _is_pair(pair) else []
        if len(texts) != 2 or not all(texts):
            raise Unusable("history is not a list of rounds", str(pair)[:100])
        turns += [Turn("user", texts[0]), Turn("assistant", texts[1])]
    return turns


def _is_pair(value: object) -> bool:
    return isinstance(value, (list, tuple)) and len(value) == 2


def _with_title(title: str, question: str) -> tuple[str, str | None]:
    """One question out of title and question, and the key that near-equal rows share.

    The question stands alone when it repeats the title or is the longer text; a title that
    says something else and more is put before it. Where the question is little more than its
    title, the title is the key: exports repeat it with and without a polite ending.
    """
    if not question:
        return title, None
    short, long = near_key(title), near_key(question)
    if short in long:
        return question, short if 2 * len(short) >= len(long) else long
    if long in short:
        return title, short
    if len(question) > len(title):
        return question, long
    return f"{title}\n{question}", None


# Formats -----------------------------------------------------------------------------------------

# Shapes whose two columns are known by name: format → question, answer.
_SHAPES = {
    "alpaca": ("instruction", "output"),
    "completion": ("prompt", "completion"),
    "summary": ("content", "summary"),
    "query": ("query", "response"),
}


def _shaped(name: str, source: Source, config: PrepareConfig) -> ColumnMap | None:
    """The columns of a shape, or None when the file lacks one of its two."""
    known = {plain(column): column for column in reversed(source.columns)}
    given = given_columns(source.name, source.columns, config.map)
    question, answer = (known.get(column) for column in _SHAPES[name])
    if question is None or answer is None:
        return None
    usual = usual_columns(source.columns, ROW_FIELDS)
    return _sensible_map({**usual, "question": question, "answer": answer}, given, source)


def _sensible_map(found: dict[str, str], given: dict[str, str], source: Source) -> ColumnMap:
    kept = sensible(column_map(found, given).fields, given, source)
    return column_map(kept, given)


def _fits_shape(name: str, source: Source, config: PrepareConfig) -> bool:
    return _shaped(name, source, config) is not None


def _plan_shape(name: str, source: Source, config: PrepareConfig) -> Plan:
    found = _shaped(name, source, config)
    if found is None:
        raise lacks(name, source, " and ".join(repr(column) for column in _SHAPES[name]))
    return plan_rows(name, source, config, found)


def find_rows(source: Source, config: PrepareConfig) -> ColumnMap | None:
    """The columns of questions and answers by their usual names, or None without them.

    Raises:
        DataError: ``--map`` names an unknown field or column.
    """
    given = given_columns(source.name, source.columns, config.map)
    try:
        found = find_columns(source.name, source.columns, config.map)
    except DataError:
        return None
    return _sensible_map(found.fields, given, source)


def _fits_columns(source: Source, config: PrepareConfig) -> bool:
    return find_rows(source, config) is not None


def _plan_columns(name: str, source: Source, config: PrepareConfig) -> Plan:
    found = find_columns(source.name, source.columns, config.map, source.sample)
    given = given_columns(source.name, source.columns, config.map)
    return plan_rows(name, source, config, _sensible_map(found.fields, given, source))


def _shape(name: str, en: str, zh: str, example: str) -> Format:
    return Format(partial(_fits_shape, name), _plan_shape, _TAKES, {"en": en, "zh": zh}, example)


ALPACA = _shape(
    "alpaca",
    "Alpaca: instruction, input, output, with history and system",
    "Alpaca：instruction、input、output，可含 history 与 system",
    '{"instruction": "…", "input": "…", "output": "…"}',
)
COMPLETION = _shape(
    "completion",
    "prompt and completion (OpenAI's older fine-tuning format)",
    "prompt 与 completion（OpenAI 早期微调格式）",
    '{"prompt": "…", "completion": "…"}',
)
SUMMARY = _shape(
    "summary",
    "content and summary (AdvertiseGen)",
    "content 与 summary（AdvertiseGen）",
    '{"content": "…", "summary": "…"}',
)
QUERY = _shape(
    "query",
    "query and response, with history (ms-swift)",
    "query 与 response，可含 history（ms-swift）",
    '{"query": "…", "response": "…", "history": [["…", "…"]]}',
)
COLUMNS = Format(
    _fits_columns,
    _plan_columns,
    _TAKES,
    {
        "en": "a table with a question and an answer column, under their usual names",
        "zh": "问答表格：问题列与回答列，列名为常用名",
    },
    "问题,回答",
)
