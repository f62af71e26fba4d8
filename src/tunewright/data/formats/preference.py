"""Pairs of answers to one question, a better and a worse one, in the notations in use."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tunewright.config.data import PrepareConfig
from tunewright.core.errors import DataError
from tunewright.data.columns import QUESTION_FIELDS, plain
from tunewright.data.formats.base import (
    Fields,
    Format,
    Parsed,
    Plan,
    Tools,
    as_list,
    find_fields,
    holds_turns,
    lacks,
    unused,
)
from tunewright.data.formats.chat import BESIDE_MESSAGES, message_notes
from tunewright.data.formats.rows import asker
from tunewright.data.formats.turns import ordered, read_answer, read_conversation
from tunewright.data.labels import Fact
from tunewright.data.records import Turn, Unusable
from tunewright.data.sources import Source

Prompt = Callable[[Fields], tuple[Sequence[Turn], str | None, Tools]]
"""Record → the turns before the answers, their near-equality key, and the tools offered."""
_FIELDS = (*QUESTION_FIELDS, "messages", "chosen", "rejected")


def prompt_reader(source: Source, fields: dict[str, str]) -> Prompt | None:
    """How a file's records ask: by a list of messages, or by the columns of a question.

    None when they have neither.
    """
    lists = (fields.get("messages"), fields.get("question"))
    column = next((name for name in lists if holds_turns(source, name)), None)
    system = fields.get("system")
    if column is not None:

        def from_list(record: Fields) -> tuple[Sequence[Turn], str | None, Tools]:
            beside = record.get(system) if system else None
            turns, tools = read_conversation(record, record.get(column), beside)
            return turns, None, tools

        return from_list
    if not {"question", "title"} & fields.keys():
        return None
    asked = asker(fields)

    def from_columns(record: Fields) -> tuple[Sequence[Turn], str | None, Tools]:
        return (*asked(record), ())

    return from_columns


def paired(
    prompt: Sequence[Turn],
    better: Sequence[Turn],
    worse: Sequence[Turn],
    key: str | None = None,
    tools: Tools = (),
) -> Parsed:
    """A preference; answers that repeat the prompt, or begin alike, are cut to what differs.

    Raises:
        Unusable: an answer is empty or not an assistant's, or both say the same.
    """
    if better == worse:
        raise Unusable("both answers are the same", better[-1].text if better else "")
    better, worse = _without(prompt, better), _without(prompt, worse)
    shared = _shared(better, worse)
    prompt, better, worse = (*prompt, *better[:shared]), better[shared:], worse[shared:]
    for answer in (better, worse):
        if not answer:
            raise Unusable("empty answer")
        if answer[0].role != "assistant":
            raise Unusable("answers to different questions", answer[0].text[:100])
    ordered((*prompt, *worse))
    turns = ordered((*prompt, *better))
    return Parsed(turns, key, tuple(worse), tools=tools)


def _without(prompt: Sequence[Turn], answer: Sequence[Turn]) -> Sequence[Turn]:
    """An answer without the prompt that it begins with, as messages or as text."""
    size = len(prompt)
    if size and len(answer) > size and list(answer[:size]) == list(prompt):
        return answer[size:]
    if size and len(answer) == 1 and len(prompt[-1].text) > 0:
        text = answer[0].text
        rest = text.removeprefix(prompt[-1].text).lstrip()
        if rest and len(rest) < len(text):
            return (answer[0]._replace(text=rest),)
    return answer


def _shared(better: Sequence[Turn], worse: Sequence[Turn]) -> int:
    """How many turns both answers begin with alike; the last of each is never one of them."""
    size = 0
    for one, other in zip(better[:-1], worse[:-1], strict=False):
        if one != other:
            break
        size += 1
    return size


# Two columns -------------------------------------------------------------------------------------


def _fits(source: Source, config: PrepareConfig) -> bool:
    fields, _ = find_fields(source, config, _FIELDS)
    return "rejected" in fields and ("chosen" in fields or _chosen_elsewhere(source, fields))


def _chosen_elsewhere(source: Source, fields: dict[str, str]) -> bool:
    """ms-swift keeps the better answer at the end of the messages, or in ``response``."""
    if "response" not in plain(fields["rejected"]) and "messages" not in plain(fields["rejected"]):
        return False
    return holds_turns(source, fields.get("messages")) or "response" in source.columns


def _plan(name: str, source: Source, config: PrepareConfig) -> Plan:
    fields, reason = find_fields(source, config, _FIELDS)
    if not _fits(source, config):
        raise lacks(name, source, "columns of better and worse answers ('chosen', 'rejected')")
    if holds_turns(source, fields.get("messages")):
        fields.pop("history", None)
    if "chosen" not in fields and "response" in source.columns:
        fields["chosen"] = "response"
    prompt = prompt_reader(source, fields)
    if prompt is None and not holds_turns(source, fields.get("chosen")):
        raise DataError(
            f"{source.name}: its better and worse answers ({fields['chosen']!r}, "
            f"{fields['rejected']!r}) have no question; its columns are: "
            f"{', '.join(column[:60] for column in source.columns[:40])}",
            "Name the column that holds it: --map question=COLUMN",
        )
    convert = _converter(prompt, fields.get("chosen"), fields["rejected"])
    lists = [c for f in ("messages", "question", "chosen", "rejected") if (c := fields.get(f))]
    pair: Fact = {
        "kind": "better and worse",
        "better": fields.get("chosen") or fields["messages"],
        "worse": fields["rejected"],
    }
    used = (*fields.values(), *BESIDE_MESSAGES, *config.where)
    notes = (*message_notes(source, *lists), *unused(source, used))
    return Plan(name, fields, (pair, *reason), convert, "preference", notes=notes)


def _converter(
    prompt: Prompt | None, chosen: str | None, rejected: str
) -> Callable[[Fields], Parsed]:
    def convert(record: Fields) -> Parsed:
        turns, key, tools = prompt(record) if prompt else ((), None, ())
        worse = read_answer(_answer(record, rejected))
        if chosen is None:
            if not turns or turns[-1].role != "assistant":
                raise Unusable("empty answer", "the messages end without the better answer")
            return paired(turns[:-1], turns[-1:], worse, key, tools)
        return paired(turns, read_answer(_answer(record, chosen)), worse, key, tools)

    return convert


def _answer(record: Fields, column: str) -> object:
    value = record.get(column)
    items = as_list(value)
    if items is not None and all(isinstance(item, dict) for item in items):
        return items
    if value is None or value == "":
        raise Unusable("empty answer", f"column {column!r}")
    return value if isinstance(value, (str, dict, list)) else str(value)


PREFERENCE = Format(
    _fits,
    _plan,
    frozenset({*_FIELDS, "slice", "group", "date"}),
    {
        "en": "a better and a worse answer (TRL, LLaMA-Factory, ms-swift)",
        "zh": "偏好对：较好与较差的回答（TRL、LLaMA-Factory、ms-swift）",
    },
    '{"prompt": "…", "chosen": "…", "rejected": "…"}',
)


# OpenAI ------------------------------------------------------------------------------------------

_OPENAI = (
    ("preferred_output", "non_preferred_output"),
    ("preferred_completion", "non_preferred_completion"),
)


def _openai_pair(source: Source) -> tuple[str, str] | None:
    return next((pair for pair in _OPENAI if set(pair) <= {*source.columns}), None)


def _fits_openai(source: Source, config: PrepareConfig) -> bool:
    return "input" in source.columns and _openai_pair(source) is not None


def _plan_openai(name: str, source: Source, config: PrepareConfig) -> Plan:
    pair = _openai_pair(source)
    if pair is None or "input" not in source.columns:
        raise lacks(name, source, "fields 'input', 'preferred_output' and 'non_preferred_output'")
    better, worse = pair

    def convert(record: Fields) -> Parsed:
        asked = record.get("input")
        if not isinstance(asked, dict):
            raise Unusable("no messages", f"'input' is no object: {str(asked)[:80]}")
        turns, tools = read_conversation(asked, asked.get("messages"))
        chosen, rejected = (read_answer(_answer(record, column)) for column in pair)
        return paired(turns, chosen, rejected, tools=tools)

    fields = {**find_fields(source, config, ())[0], "chosen": better, "rejected": worse}
    reason: Fact = {"kind": "better and worse", "better": better, "worse": worse}
    notes = (
        *message_notes(source, better, worse),
        *unused(source, ("input", *fields.values(), *config.where)),
    )
    return Plan(name, fields, (reason,), convert, "preference", notes=notes)


OPENAI_PREFERENCE = Format(
    _fits_openai,
    _plan_openai,
    frozenset({"slice", "group", "date"}),
    {"en": "OpenAI preferences", "zh": "OpenAI 偏好数据"},
    '{"input": {"messages": […]}, "preferred_output": […], "non_preferred_output": […]}',
)
