"""Whole conversations in one record, in every notation."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.data.formats.given import (
    BOT,
    USER,
    parsed_of,
    plan_of,
    reason_of,
    said,
    turns_of,
    verdict_of,
)


def test_openai_messages() -> None:
    messages = [
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
        {"role": "assistant", "content": "c", "weight": 0},
        {"role": "user", "content": "d", "name": "Li"},
        {"role": "assistant", "content": "e", "weight": 1},
    ]
    record = {"messages": messages, "kind": "x", "parallel_tool_calls": False}
    plan = plan_of(record)
    turns = plan.convert(record).turns
    assert [tuple(turn[:3]) for turn in turns] == [
        ("system", "Be brief.", 1),
        ("user", "ab", 1),
        ("assistant", "c", 0),
        ("user", "d", 1),
        ("assistant", "e", 1),
    ]
    assert (plan.format, plan.slice, plan.notes) == ("messages", "kind", ())


def test_conversations_in_both_notations() -> None:
    expected = [("user", "q"), ("assistant", "a")]
    sharegpt = [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]
    assert turns_of({"conversations": [USER, BOT]}) == expected
    assert plan_of({"conversations": [USER, BOT]}).format == "conversations"
    assert turns_of({"conversations": sharegpt, "system": ""}) == expected
    assert plan_of({"messages": sharegpt}).format == "sharegpt"
    with_system = turns_of({"conversations": sharegpt, "system": "S"})
    assert with_system == [("system", "S"), *expected]


def test_questions_and_answers_in_pairs() -> None:
    expected = [("user", "q"), ("assistant", "a"), ("user", "r"), ("assistant", "b")]
    firefly = [{"human": "q", "assistant": "a"}, {"human": "r", "assistant": "b"}]
    assert turns_of({"conversation": firefly}) == expected
    xtuner = [{"system": "S", "input": "q", "output": "a"}, {"input": "r", "output": "b"}]
    assert turns_of({"conversation": xtuner}) == [("system", "S"), *expected]


def test_a_list_written_as_text_in_a_table() -> None:
    cell = json.dumps([USER, BOT])
    assert plan_of({"messages": cell}).format == "messages"
    assert turns_of({"messages": cell}) == [("user", "q"), ("assistant", "a")]
    plan = plan_of({"messages": cell})
    assert said(plan.convert({"messages": [USER, BOT]}).turns)[0] == ("user", "q")


def test_a_list_in_a_column_of_another_name() -> None:
    record = {"对话记录": [USER, BOT]}
    assert turns_of(record, map={"messages": "对话记录"}) == [("user", "q"), ("assistant", "a")]


def test_keys_that_are_not_read_are_named() -> None:
    odd = {**BOT, "reasoning_content": "because", "id": 3, "refusal": None}
    assert plan_of({"messages": [USER, odd]}).notes == (
        {"kind": "ignored keys", "keys": "id, reasoning_content"},
    )


@pytest.mark.parametrize(
    ("messages", "reason"),
    [
        ([], "no messages"),
        ([BOT], "empty question"),
        ([USER], "empty answer"),
        ([USER, BOT, USER], "empty answer"),
        ([USER, {"role": "assistant", "content": ""}], "empty answer"),
        ([USER, {"role": "assistant"}], "empty answer"),
        ([{"role": "user"}, BOT], "empty question"),
        ([USER, {"role": "wizard", "content": "x"}], "unknown role"),
        ([USER, {"content": "x"}], "unknown role"),
        ([USER, {"role": "system", "content": "x"}, BOT], "system message not first"),
        ([USER, "text"], "not a message"),
        ([USER, {"role": "assistant", "content": [{"type": "image_url"}]}], "not text"),
        ([{**USER, "images": ["x.png"]}, BOT], "not text"),
        ([USER, {**BOT, "weight": 0.5}], "weight is not 0 or 1"),
    ],
)
def test_conversations_that_cannot_be_learned(messages: list[Any], reason: str) -> None:
    assert reason_of({"messages": messages}) == reason


def test_an_unknown_role_names_itself_and_those_that_are_known() -> None:
    detail = verdict_of({"messages": [{"role": "wizard", "content": "x"}]}).detail
    assert detail.startswith("'wizard'; known: system, developer, user")


def test_chatglms_loss_is_a_weight() -> None:
    record = {"conversations": [USER, {**BOT, "loss": False}, USER, BOT]}
    assert [turn.weight for turn in parsed_of(record).turns] == [1, 0, 1, 1]
