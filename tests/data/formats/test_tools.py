"""Tools offered and called, in the notations of OpenAI, ShareGPT and ChatGLM3."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.data.formats.given import BOT, USER, parsed_of, reason_of, said, verdict_of

from tunewright.core.messages import Conversation, ToolCall

WEATHER = {"name": "weather", "description": "d", "parameters": {"type": "object"}}
OFFERED = ({"type": "function", "function": WEATHER},)
ARGUMENTS = '{"city": "北京"}'
CALL = ToolCall(name="weather", arguments=ARGUMENTS)


def calling(**more: Any) -> dict[str, Any]:
    call = {"id": "c1", "type": "function"}
    function = {"name": "weather", "arguments": ARGUMENTS}
    return {
        "role": "assistant",
        "content": None,
        "tool_calls": [{**call, "function": function | more}],
    }


def result(call_id: str = "c1") -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": call_id, "content": '{"t": 21}'}


def test_openais_tools_and_calls() -> None:
    record = {"messages": [USER, calling(), result(), BOT], "tools": list(OFFERED)}
    parsed = parsed_of(record)
    assert said(parsed.turns)[1:3] == [("assistant", ""), ("tool", '{"t": 21}')]
    assert parsed.turns[1].calls == (CALL.model_copy(update={"id": "c1"}),)
    assert parsed.turns[2].call_id == "c1"
    assert parsed.tools == OFFERED
    messages = tuple(turn.message().model_dump() for turn in parsed.turns)
    again = Conversation.model_validate({"messages": messages, "tools": parsed.tools})
    assert again.messages[1].tool_calls[0].id == "c1"


def test_a_conversation_may_end_with_a_call() -> None:
    assert parsed_of({"messages": [USER, calling()]}).turns[-1].calls[0].name == "weather"


def test_openais_older_functions() -> None:
    call = {
        "role": "assistant",
        "content": None,
        "function_call": {**calling()["tool_calls"][0]["function"]},
    }
    answer = {"role": "function", "name": "weather", "content": "21"}
    parsed = parsed_of({"messages": [USER, call, answer, BOT], "functions": [WEATHER]})
    assert parsed.turns[1].calls == (CALL,)
    assert (parsed.turns[2].role, parsed.turns[2].name) == ("tool", "weather")
    assert parsed.tools == OFFERED


def test_sharegpts_calls_with_tools_as_text() -> None:
    turns = [
        {"from": "human", "value": "q"},
        {"from": "gpt", "value": "我查一下"},
        {
            "from": "function_call",
            "value": json.dumps({"name": "weather", "arguments": {"city": "北京"}}),
        },
        {"from": "observation", "value": {"t": 21}},
        {"from": "gpt", "value": "21 度"},
    ]
    parsed = parsed_of({"conversations": turns, "tools": json.dumps([WEATHER])})
    assert said(parsed.turns) == [
        ("user", "q"),
        ("assistant", "我查一下"),
        ("tool", '{"t": 21}'),
        ("assistant", "21 度"),
    ]
    assert parsed.turns[1].calls[0].name == "weather"
    assert json.loads(parsed.turns[1].calls[0].arguments) == {"city": "北京"}
    assert "北京" in parsed.turns[1].calls[0].arguments
    assert parsed.tools == OFFERED


def test_several_calls_at_once() -> None:
    call = {"name": "weather", "arguments": {}}
    listed = [
        {"from": "human", "value": "q"},
        {"from": "function_call", "value": json.dumps([call, call])},
    ]
    assert len(parsed_of({"conversations": listed}).turns[1].calls) == 2
    one = {"from": "function_call", "value": json.dumps(call)}
    in_turn = [{"from": "human", "value": "q"}, one, one]
    assert len(parsed_of({"conversations": in_turn}).turns[1].calls) == 2


def test_chatglm3s_training_data() -> None:
    turns = [
        {
            "role": "system",
            "content": "Answer the following questions as best as you can.",
            "tools": [WEATHER],
        },
        USER,
        {"role": "assistant", "content": "想一想"},
        {
            "role": "tool",
            "name": "weather",
            "parameters": {"city": "北京"},
            "observation": {"t": 21},
        },
        BOT,
    ]
    parsed = parsed_of({"conversations": turns})
    assert said(parsed.turns) == [
        ("user", "q"),
        ("assistant", "想一想"),
        ("tool", '{"t": 21}'),
        ("assistant", "a"),
    ]
    assert parsed.turns[1].calls == (CALL,)
    assert parsed.turns[2].name == "weather"
    assert parsed.tools == OFFERED


def test_a_system_message_of_ones_own_stays_beside_the_tools() -> None:
    turns = [{"role": "system", "content": "你是气象员", "tools": [WEATHER]}, USER, BOT]
    assert said(parsed_of({"conversations": turns}).turns)[0] == ("system", "你是气象员")


@pytest.mark.parametrize(
    "code", ["```python\ntool_call(city='北京')\n```", "tool_call(city='北京')", ARGUMENTS]
)
def test_chatglm3s_history(code: str) -> None:
    turns = [USER, {"role": "assistant", "metadata": "weather", "content": code}]
    turns += [{"role": "observation", "content": "21"}, BOT]
    assert parsed_of({"conversations": turns}).turns[1].calls == (CALL,)


@pytest.mark.parametrize(
    "code", ["__import__('os').system('id')", "tool_call(city=open('x'))", "tool_call(1)", "("]
)
def test_code_that_is_no_call_with_plain_values(code: str) -> None:
    turns = [USER, {"role": "assistant", "metadata": "weather", "content": code}, BOT]
    assert reason_of({"conversations": turns}) == "tool call is not JSON"


@pytest.mark.parametrize("tools", ["", "[]", None, [], "  "])
def test_no_tools(tools: object) -> None:
    assert parsed_of({"messages": [USER, BOT], "tools": tools}).tools == ()


@pytest.mark.parametrize("tools", ["[{", '[{"description": "d"}]', ["weather"], [{"function": {}}]])
def test_tools_that_cannot_be_read_are_told(tools: object) -> None:
    assert reason_of({"messages": [USER, BOT], "tools": tools}) == "tools are not JSON"


@pytest.mark.parametrize(
    "arguments", ["{city: 1}", "[1]", '"x"', 3, '{"t": NaN}', '{"t": 1e999}', {"t": float("inf")}]
)
def test_arguments_that_are_no_object_are_told(arguments: object) -> None:
    verdict = verdict_of({"messages": [USER, calling(arguments=arguments)]})
    assert verdict.reason == "tool call is not JSON"
    assert verdict.detail


def test_a_call_without_arguments_or_without_a_name() -> None:
    for empty in ("", None, {}):
        parsed = parsed_of({"messages": [USER, calling(arguments=empty)]})
        assert parsed.turns[1].calls[0].arguments == "{}"
    assert reason_of({"messages": [USER, calling(name="")]}) == "tool call is not JSON"
    turns = [{"from": "human", "value": "q"}, {"from": "function_call", "value": "weather(1)"}]
    assert reason_of({"conversations": turns}) == "tool call is not JSON"


def test_a_result_needs_a_call() -> None:
    uncalled = "tool result without a call"
    assert reason_of({"messages": [USER, result(), BOT]}) == uncalled
    assert reason_of({"messages": [USER, calling(), USER, result(), BOT]}) == uncalled
    assert reason_of({"messages": [USER, calling(), result("c2"), BOT]}) == uncalled
    two = [USER, calling(), result(), result(), BOT]
    assert len(parsed_of({"messages": two}).turns) == 5
