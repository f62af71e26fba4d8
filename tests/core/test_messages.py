"""Conversations, rows and their files."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from tunewright.core.dataset_io import read_passages, read_rows, write_rows
from tunewright.core.errors import DataError
from tunewright.core.events import Event, EventLog
from tunewright.core.messages import (
    Conversation,
    Message,
    Passage,
    Row,
    Source,
    ToolCall,
    conversation,
    supervised,
    tool_name,
)


def make_row(*turns, **fields) -> Row:
    return Row(
        conversation=conversation(*turns), source=Source(file="a.csv", row=2), group="g", **fields
    )


def test_question_answer_and_prompt() -> None:
    chat = conversation(("system", "s"), ("user", "q1"), ("assistant", "a1"), ("user", "q2"))
    assert (chat.question, chat.answer, chat.prompt()) == ("q2", None, chat)
    full = conversation(("user", "q"), ("assistant", "a"))
    assert full.answer == "a"
    assert full.prompt() == conversation(("user", "q"))


@pytest.mark.parametrize(
    "roles", [("user", "system"), ("assistant",), ("system",)], ids=lambda roles: "-".join(roles)
)
def test_impossible_orders_are_refused(roles: tuple[str, ...]) -> None:
    with pytest.raises(ValidationError):
        Conversation(messages=tuple(Message(role=role, content="x") for role in roles))


def test_rows_survive_the_file(tmp_path: Path) -> None:
    rows = [
        make_row(("user", "房东\n不退\u2028押金"), ("assistant", '"起诉"'), slice="reworded"),
        make_row(("user", "hi"), origin="general"),
    ]
    assert write_rows(tmp_path / "train.jsonl", rows) == 2
    assert read_rows(tmp_path, "train") == rows
    assert read_rows(tmp_path, "dev") == []
    assert supervised(rows) == rows[:1]


TIME = {"type": "function", "function": {"name": "get_time", "parameters": {"x": [1, None]}}}


def test_calls_tools_preferences_and_ratings_survive_the_file(tmp_path: Path) -> None:
    call = ToolCall(name="get_time", arguments='{"zone": "北京"}', id="c1")
    talk = Conversation(
        messages=(
            Message(role="user", content="The time?"),
            Message(role="assistant", content="", tool_calls=(call,)),
            Message(role="tool", content="noon", tool_call_id="c1", name="get_time"),
            Message(role="assistant", content="Noon.", weight=0),
        ),
        tools=(TIME,),
    )
    worse = (Message(role="assistant", content="Midnight."),)
    source = Source(file="a.jsonl", row=1)
    rows = [
        Row(conversation=talk, source=source, group="g"),
        Row(conversation=talk, source=source, group="g", rejected=worse),
        Row(conversation=talk, source=source, group="g", desirable=False),
    ]
    write_rows(tmp_path / "train.jsonl", rows)
    assert read_rows(tmp_path, "train") == rows
    assert call.parsed() == {"zone": "北京"}


def test_passages_survive_the_file(tmp_path: Path) -> None:
    passages = [Passage(text="第一条\n\n", source=Source(file="laws.txt", row=3), group="g")]
    write_rows(tmp_path / "train.jsonl", passages)
    assert read_passages(tmp_path, "train") == passages
    assert read_passages(tmp_path, "dev") == []
    with pytest.raises(DataError, match=r"train\.jsonl, line 1"):
        read_rows(tmp_path, "train")


@pytest.mark.parametrize(
    "arguments",
    ["", "[]", "null", "{", '{"x": NaN}', '{"x": -Infinity}', '{"x": 1e999}', "[" * 9999],
)
def test_arguments_that_are_no_object_are_refused(arguments: str) -> None:
    with pytest.raises(ValidationError, match="arguments for f are not"):
        ToolCall(name="f", arguments=arguments)


def test_tools_and_calls_stand_where_they_belong() -> None:
    call = ToolCall(name="f", arguments="{}")
    with pytest.raises(ValidationError, match="only an assistant"):
        Message(role="user", content="", tool_calls=(call,))
    with pytest.raises(ValidationError, match="only a tool"):
        Message(role="assistant", content="", tool_call_id="c1")
    with pytest.raises(ValidationError, match="needs the name"):
        ToolCall(name="", arguments="{}")
    assert tool_name(TIME) == "get_time"
    for tool in ({}, {"name": "f"}, {"function": {}}, {"function": {"name": 1}}):
        with pytest.raises(ValidationError, match="function with a name"):
            Conversation(messages=(Message(role="user", content="q"),), tools=(tool,))


def test_a_damaged_row_is_named(tmp_path: Path) -> None:
    write_rows(tmp_path / "test.jsonl", [make_row(("user", "q"))])
    with open(tmp_path / "test.jsonl", "a", encoding="utf-8") as file:
        file.write("{broken\n")
    with pytest.raises(DataError, match=r"test\.jsonl, line 2"):
        read_rows(tmp_path, "test")


def test_an_event_log_survives_a_torn_line(tmp_path: Path) -> None:
    log = EventLog(tmp_path / "events.jsonl")
    log.append(Event(kind="step", data={"step": 1, "loss": 2.5}))
    with open(log.path, "ab") as file:
        file.write('{"kind": "st问'.encode()[:-1])
    log.append(Event(kind="step", data={"step": 2, "loss": 2.25}))
    assert [event.data["step"] for event in log.read()] == [1, 2]
