"""Records → conversations: the table of formats, and one function for each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from tunewright.config.data import PrepareConfig
from tunewright.core.errors import DataError
from tunewright.core.messages import Role
from tunewright.data.columns import ColumnMap, find_columns, is_flag, mark
from tunewright.data.labels import Fact
from tunewright.data.normal import clean, near_key
from tunewright.data.records import Turn, Unusable
from tunewright.data.sources import Source

Fields = Mapping[str, Any]


class Parsed(NamedTuple):
    """A record as a conversation.

    ``key`` is the near-equality key, when it is not simply that of the user turns.
    """

    turns: tuple[Turn, ...]
    key: str | None = None


@dataclass(frozen=True)
class Plan:
    """How one file's records become rows.

    Attributes:
        format: name in ``FORMATS``.
        fields: field → column, for people.
        reason: why this format and these columns.
        convert: record → conversation; raises Unusable.
        best: column that marks the best of several answers, when rows without it are left out.
        slice: column whose value labels a row.
        notes: remarks for the report.
    """

    format: str
    fields: dict[str, str]
    reason: tuple[Fact, ...]
    convert: Callable[[Fields], Parsed]
    best: str | None = None
    slice: str | None = None
    notes: tuple[Fact, ...] = field(default=())


def make_plan(source: Source, config: PrepareConfig) -> Plan:
    """Choose a format for a file and map its columns.

    Raises:
        DataError: the file is of a kind that supervised training cannot use (preferences,
            labelled answers), or no format fits.
    """
    _refuse_other_kinds(source, config)
    if config.format != "auto":
        return FORMATS[config.format].plan(source, config)
    if not {"question", "title", "answer"} & set(config.map):
        for name, entry in FORMATS.items():
            if name != "columns" and entry.fits(source):
                return entry.plan(source, config)
    return FORMATS["columns"].plan(source, config)


def _refuse_other_kinds(source: Source, config: PrepareConfig) -> None:
    columns = set(source.columns)
    if {"chosen", "rejected"} <= columns and "answer" not in config.map:
        raise DataError(
            f"{source.name}: this is preference data (columns 'chosen' and 'rejected'); "
            "supervised training learns from one answer to each question",
            "If the questions stand in a column of their own, learn the chosen answers with "
            "--map question=COLUMN --map answer=chosen.",
        )
    label = next((name for name in ("label", "kto_tag") if name in columns), None)
    if label and _LISTS & columns and label not in config.where:
        values = [record.get(label) for record in source.sample]
        if all(isinstance(value, bool) for value in values):
            raise DataError(
                f"{source.name}: its answers are labelled good or bad (column {label!r}); "
                "supervised training would learn the bad ones too",
                f"Keep the good ones: --where {label}=true",
            )


# columns ---------------------------------------------------------------------------------------


def _plan_columns(source: Source, config: PrepareConfig) -> Plan:
    found = find_columns(source.name, source.columns, config.map, source.sample)
    notes: list[Fact] = []
    best = found.get("best")
    if best is not None and "best" not in config.map:
        if best in config.where:
            best = None
        elif not is_flag(record.get(best) for record in source.sample):
            notes.append({"kind": "no marks", "column": best})
            best = None
    fields = {k: v for k, v in found.fields.items() if k != "best" or best == v}
    reason = list(found.reason)
    if best:
        reason.append({"kind": "best only", "column": best})
    title, question = found.get("title"), found.get("question")
    if title and question:
        reason.append({"kind": "title fallback", "question": question, "title": title})
    convert = _columns_converter(found)
    return Plan("columns", fields, tuple(reason), convert, best, found.get("slice"), tuple(notes))


def _columns_converter(columns: ColumnMap) -> Callable[[Fields], Parsed]:
    question, answer = columns.get("question"), columns.fields["answer"]
    title, extra, system = columns.get("title"), columns.get("input"), columns.get("system")

    def convert(record: Fields) -> Parsed:
        asked = text_of(record, question) if question else ""
        key = None
        if extra and (more := text_of(record, extra)):
            asked = f"{asked}\n{more}" if asked else more
        if title and (heading := text_of(record, title)):
            asked, key = _with_title(heading, asked)
        if not asked:
            raise Unusable("empty question")
        answered = text_of(record, answer)
        if not answered:
            raise Unusable("empty answer", asked)
        turns: tuple[Turn, ...] = (Turn("user", asked), Turn("assistant", answered))
        if system and (instruction := text_of(record, system)):
            turns = (Turn("system", instruction), *turns)
        return Parsed(turns, key)

    return convert


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


def text_of(record: Fields, column: str) -> str:
    """A cell as clean text; numbers and yes/no become text, nested values are refused."""
    value = record.get(column)
    if isinstance(value, str):
        return clean(value)
    if value is None:
        return ""
    if isinstance(value, (list, dict)):
        raise Unusable("not text", f"column {column!r} holds a {type(value).__name__}")
    return str(value)


# messages and conversations ---------------------------------------------------------------------

_LISTS = {"messages", "conversations", "conversation"}
_ROLES: dict[str, Role] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "bot": "assistant",
    "tool": "tool",
    "observation": "tool",
}
_TOOL_ROLES = {"function_call", "tool_call", "function"}


def _fits_messages(source: Source) -> bool:
    return _holds_list(source, ("messages",))


def _fits_conversations(source: Source) -> bool:
    return _holds_list(source, ("conversations", "conversation"))


def _holds_list(source: Source, names: tuple[str, ...]) -> bool:
    return any(isinstance(record.get(name), list) for record in source.sample for name in names)


def _plan_messages(source: Source, config: PrepareConfig) -> Plan:
    return _plan_list("messages", ("messages",), source, config)


def _plan_conversations(source: Source, config: PrepareConfig) -> Plan:
    return _plan_list("conversations", ("conversations", "conversation"), source, config)


def _plan_list(name: str, columns: tuple[str, ...], source: Source, config: PrepareConfig) -> Plan:
    column = next((c for c in columns if c in source.columns), None)
    if column is None:
        raise DataError(
            f"{source.name}: format {name!r} needs a field {columns[0]!r} that holds a list; "
            f"its fields are: {', '.join(source.columns[:40])}"
        )
    known = [c for c in ("kind", "slice", "category") if c in source.columns]
    slice_column = config.map.get("slice") or (known[0] if known else None)
    fields = {"messages": column} | ({"slice": slice_column} if slice_column else {})

    def convert(record: Fields) -> Parsed:
        return Parsed(_turns(record, column))

    reason = ({"kind": "list of turns", "column": column},)
    return Plan(name, fields, reason, convert, slice=slice_column)


def _turns(record: Fields, column: str) -> tuple[Turn, ...]:
    items = record.get(column)
    if not isinstance(items, list) or not items:
        raise Unusable("empty question", f"field {column!r} holds no list of turns")
    if record.get("tools") or record.get("functions"):
        raise Unusable("tool calls", "tools are offered in this conversation")
    turns = [_turn(item) for item in items]
    top = record.get("system")
    if isinstance(top, str) and top.strip() and turns[0].role != "system":
        turns.insert(0, Turn("system", clean(top)))
    return _ordered(turns)


def _turn(item: Any) -> Turn:
    if not isinstance(item, dict):
        raise Unusable("not a message", str(item)[:100])
    name = mark(item.get("role", item.get("from")))
    if name in _TOOL_ROLES or item.get("tool_calls") or item.get("function_call"):
        raise Unusable("tool calls", f"a turn by {name!r}")
    role = _ROLES.get(name)
    if role is None:
        raise Unusable("unknown role", f"{name!r}; known: {', '.join(_ROLES)}")
    content = _content(item.get("content", item.get("value")))
    return Turn(role, content, 0 if item.get("weight") == 0 else 1)


def _content(value: Any) -> str:
    """Text, or OpenAI's list of parts as long as all of them are text."""
    if isinstance(value, str):
        return clean(value)
    if value is None:
        return ""
    if isinstance(value, list):
        parts = [part.get("text") for part in value if isinstance(part, dict)]
        if len(parts) == len(value) and all(isinstance(part, str) for part in parts):
            return clean("".join(str(part) for part in parts))
    raise Unusable("not text", f"content is a {type(value).__name__}")


def _ordered(turns: list[Turn]) -> tuple[Turn, ...]:
    """Refuse what a Conversation would refuse, with a reason that can be counted."""
    if not turns[0].text and turns[0].role == "system":
        turns = turns[1:]
    roles = [turn.role for turn in turns]
    if "system" in roles[1:]:
        raise Unusable("system message not first")
    if "user" not in roles:
        raise Unusable("empty question", "no user turn")
    for turn in turns:
        if not turn.text and turn.role != "tool":
            raise Unusable("empty answer" if turn.role == "assistant" else "empty question")
    if roles[-1] != "assistant":
        raise Unusable("empty answer", f"the conversation ends with the {roles[-1]}'s turn")
    return tuple(turns)


@dataclass(frozen=True)
class Format:
    """One entry of the table: when a file is in this format, and how it is then read."""

    fits: Callable[[Source], bool]
    plan: Callable[[Source, PrepareConfig], Plan]


FORMATS: dict[str, Format] = {
    "messages": Format(_fits_messages, _plan_messages),
    "conversations": Format(_fits_conversations, _plan_conversations),
    "columns": Format(lambda source: True, _plan_columns),
}
