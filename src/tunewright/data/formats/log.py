"""Logs with one message in each row: the rows of a session become one conversation."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from tunewright.config.data import PrepareConfig
from tunewright.core.errors import DataError
from tunewright.core.messages import Role
from tunewright.data.columns import mark, plain
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
from tunewright.data.formats.dates import comparable_date
from tunewright.data.formats.turns import ROLES, ordered
from tunewright.data.labels import Fact
from tunewright.data.records import Record, Turn, Unusable
from tunewright.data.sources import Source

_FIELDS = ("session", "role", "content", "system")
_NEEDED = frozenset({"session", "role", "content"})
_TURNS = "turns"
_ASKING = (
    *("customer", "client", "visitor", "guest", "buyer", "caller", "patient", "member", "in"),
    *("inbound", "incoming", "用户", "客户", "顾客", "访客", "买家", "消费者", "会员", "患者"),
    *("咨询者", "咨询人", "提问者", "提问人", "来访者", "学生", "问"),
)
_ANSWERING = (
    *("agent", "operator", "staff", "seller", "support", "service", "ai", "robot", "chatbot"),
    *("out", "outbound", "outgoing", "doctor", "lawyer", "助手", "助理", "客服", "坐席", "座席"),
    *("人工客服", "智能客服", "在线客服", "机器人", "商家", "卖家", "店员", "顾问", "专家"),
    *("医生", "律师", "老师", "答"),
)
_SPEAKERS: dict[str, Role] = {
    **{name: role for name, role in ROLES.items() if role != "tool"},
    **dict.fromkeys(_ASKING, "user"),
    **dict.fromkeys(_ANSWERING, "assistant"),
    "系统": "system",
}


@dataclass
class _Session:
    """The messages of one session so far, each with its row's number and date."""

    first: dict[str, Any]
    messages: list[tuple[int, str | None, Turn]] = field(default_factory=list)


def _fits(source: Source, config: PrepareConfig) -> bool:
    fields, _ = find_fields(source, config, _FIELDS)
    if _NEEDED - fields.keys() - {"session"}:
        return False
    texts = all(isinstance(r.get(fields["content"]), (str, type(None))) for r in source.sample)
    # Without sessions it is a log all the same, and its refusal says what would help.
    return texts and ("session" in fields or _tells_speakers(source, fields["role"]))


def _plan(name: str, source: Source, config: PrepareConfig) -> Plan:
    fields, reason = find_fields(source, config, _FIELDS)
    if _NEEDED - fields.keys() == {"session"}:
        raise _no_session(source, fields)
    if _NEEDED - fields.keys():
        raise lacks(name, source, "columns of session, role and content")
    _refuse_unknown_speakers(source, fields["role"])
    system = fields.get("system")

    def convert(record: Fields) -> Parsed:
        turns = record[_TURNS]
        if system and (text := text_of(record, system)) and turns[0].role != "system":
            turns = (Turn("system", text), *turns)
        return Parsed(ordered(turns))

    fact: Fact = {"kind": "one message a row", "session": fields["session"]}
    notes = unused(source, (*fields.values(), *config.where))
    join = partial(_join, fields)
    return Plan(name, fields, (fact, *reason), convert, notes=notes, join=join)


def _tells_speakers(source: Source, column: str) -> bool:
    roles = {_SPEAKERS.get(plain(mark(record.get(column)))) for record in source.sample}
    return {"user", "assistant"} <= roles


def _refuse_unknown_speakers(source: Source, column: str) -> None:
    if _tells_speakers(source, column):
        return
    names = list(dict.fromkeys(mark(record.get(column)) for record in source.sample))
    raise DataError(
        f"{source.name}: column {column!r} does not tell who asks and who answers; it holds: "
        f"{', '.join(name[:30] or '(nothing)' for name in names[:12])}",
        "Write 'user' for who asks and 'assistant' for who answers (用户, 客服 and other usual "
        "names are known too), or name another column with --map role=COLUMN.",
    )


def _no_session(source: Source, fields: dict[str, str]) -> DataError:
    return DataError(
        f"{source.name}: each row is one message (columns {fields['role']!r} and "
        f"{fields['content']!r}), but no column tells which rows make up one conversation; "
        f"its columns are: {', '.join(column[:60] for column in source.columns[:40])}",
        "Add a column with a number for each conversation, e.g. session_id, or name the one that "
        "there is: --map session=COLUMN",
    )


# Rows of a session -----------------------------------------------------------------------------


def _join(fields: dict[str, str], records: Iterator[Record]) -> Iterator[Record]:
    """One record for each session, in the order in which they begin; rows may be interleaved.

    A conversation begins with its first question and ends with its last answer. Rows before
    and after, notices of the system and rows that cannot be read are given out by themselves.
    """
    sessions: dict[str, _Session] = {}
    speakers: dict[str, Role | None] = {}  # a file has few, each in very many rows
    for record in records:
        try:
            _take(sessions, speakers, fields, record)
        except Unusable as why:
            yield Record(record.number, why)
    for session in sessions.values():
        yield from _conversation(session)


def _take(
    sessions: dict[str, _Session],
    speakers: dict[str, Role | None],
    fields: dict[str, str],
    record: Record,
) -> None:
    values = record.fields
    if isinstance(values, Unusable):
        raise values
    name = text_of(values, fields["session"])
    if not name:
        raise Unusable("no session", text_of(values, fields["content"]))
    speaker = str(values.get(fields["role"]))
    if speaker not in speakers:
        speakers[speaker] = _SPEAKERS.get(plain(mark(speaker)))
    role = speakers[speaker]
    text = text_of(values, fields["content"])
    if role is None:
        raise Unusable("unknown role", f"{speaker[:60]!r}: {text}")
    if not text:
        raise Unusable("empty message")
    session = sessions.get(name)
    if session is None:
        session = sessions[name] = _Session(dict(values))
    elif role == "system":
        raise Unusable("notice within a conversation", text)
    date = comparable_date(values.get(fields["date"])) if "date" in fields else None
    session.messages.append((record.number, date, Turn(role, text)))


def _conversation(session: _Session) -> Iterator[Record]:
    messages = session.messages
    if all(date for _, date, _ in messages):
        messages.sort(key=lambda message: message[1] or "")  # stable: equal times keep their order
    begin, end = _span([turn.role for _, _, turn in messages])
    start = 1 if messages[0][2].role == "system" else 0
    if begin is None or end is None:
        text = messages[start][2].text if start < len(messages) else ""
        yield Record(messages[0][0], Unusable("no question with an answer", text))
        return
    for number, _, turn in messages[start:begin]:
        yield Record(number, Unusable("said before the first question", turn.text))
    kept = [*messages[:start], *messages[begin:end]]
    turns = _together([turn for _, _, turn in kept])
    yield Record(kept[0][0], {**session.first, _TURNS: turns})
    for number, _, turn in messages[end:]:
        yield Record(number, Unusable("said after the last answer", turn.text))


def _span(roles: list[Role]) -> tuple[int | None, int | None]:
    """Where the first question stands, and where what follows the last answer to one begins."""
    begin = next((place for place, role in enumerate(roles) if role == "user"), None)
    if begin is None or "assistant" not in roles[begin:]:
        return None, None
    return begin, len(roles) - roles[::-1].index("assistant")


def _together(turns: list[Turn]) -> tuple[Turn, ...]:
    """Turns with what one side says in several messages as one, a line each."""
    result: list[Turn] = []
    for turn in turns:
        if result and result[-1].role == turn.role:
            result[-1] = turn._replace(text=f"{result[-1].text}\n{turn.text}")
        else:
            result.append(turn)
    return tuple(result)


LOG = Format(
    _fits,
    _plan,
    frozenset({*_FIELDS, "slice", "group", "date"}),
    {
        "en": "a conversation log: one message in each row",
        "zh": "对话日志：每行一条消息",
    },
    "会话编号,角色,内容",
)
