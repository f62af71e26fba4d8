"""A better and a worse answer, in every notation."""

from __future__ import annotations

from typing import Any

import pytest
from tests.data.formats.given import BOT, USER, parsed_of, plan_of, reason_of, said, turns_of

from tunewright.core.errors import DataError

GOOD, BAD = {"role": "assistant", "content": "good"}, {"role": "assistant", "content": "bad"}
FROM_GOOD, FROM_BAD = {"from": "gpt", "value": "good"}, {"from": "gpt", "value": "bad"}


@pytest.mark.parametrize(
    "record",
    [
        {"input": {"messages": [USER]}, "preferred_output": [GOOD], "non_preferred_output": [BAD]},
        {
            "input": {"messages": [USER]},
            "preferred_completion": [GOOD],
            "non_preferred_completion": [BAD],
        },
        {"prompt": "q", "chosen": "good", "rejected": "bad"},
        {"prompt": "q", "chosen": "q good", "rejected": "q bad"},
        {"prompt": [USER], "chosen": [GOOD], "rejected": [BAD]},
        {"prompt": [USER], "chosen": [USER, GOOD], "rejected": [USER, BAD]},
        {"chosen": [USER, GOOD], "rejected": [USER, BAD]},
        {"prompt": "q", "chosen": [USER, GOOD], "rejected": [USER, BAD]},
        {
            "conversations": [{"from": "human", "value": "q"}],
            "chosen": FROM_GOOD,
            "rejected": FROM_BAD,
        },
        {"instruction": "q", "input": "", "chosen": "good", "rejected": "bad"},
        {"messages": [USER, GOOD], "rejected_response": "bad"},
        {"query": "q", "response": "good", "rejected_response": "bad"},
        {"问题": "q", "好回答": "good", "差回答": "bad"},
    ],
)
def test_every_notation_says_the_same(record: dict[str, Any]) -> None:
    plan = plan_of(record)
    parsed = plan.convert(record)
    assert plan.kind == "preference"
    assert said(parsed.turns) == [("user", "q"), ("assistant", "good")]
    assert said(parsed.rejected) == [("assistant", "bad")]


def test_a_longer_prompt_stays_whole() -> None:
    system = {"role": "system", "content": "S"}
    begun = [system, USER, BOT, {"role": "user", "content": "r"}]
    parsed = parsed_of({"chosen": [*begun, GOOD], "rejected": [*begun, BAD]})
    assert [text for _, text in said(parsed.turns)] == ["S", "q", "a", "r", "good"]
    assert said(parsed.rejected) == [("assistant", "bad")]
    alpaca = {"instruction": "i", "input": "x", "history": [["h", "k"]], "system": "S"}
    parsed = parsed_of({**alpaca, "chosen": "good", "rejected": "bad"})
    assert [text for _, text in said(parsed.turns)] == ["S", "h", "k", "i\nx", "good"]


def test_tools_of_openais_preferences() -> None:
    tool = {"type": "function", "function": {"name": "f"}}
    record = {
        "input": {"messages": [USER], "tools": [tool], "parallel_tool_calls": True},
        "preferred_output": [{"role": "assistant", "tool_calls": [tool]}],
        "non_preferred_output": [BAD],
    }
    parsed = parsed_of(record)
    assert parsed.tools == (tool,)
    assert parsed.turns[-1].calls[0].name == "f"


@pytest.mark.parametrize(
    ("chosen", "rejected", "reason"),
    [
        ("same", "same", "both answers are the same"),
        ("good", "", "empty answer"),
        (None, "bad", "empty answer"),
        ([GOOD], [{"role": "user", "content": "x"}], "answers to different questions"),
        ([GOOD], [{"role": "assistant", "content": ""}], "empty answer"),
        ([GOOD], {"role": "judge", "content": "x"}, "unknown role"),
    ],
)
def test_pairs_that_cannot_be_learned(chosen: object, rejected: object, reason: str) -> None:
    assert reason_of({"prompt": "q", "chosen": chosen, "rejected": rejected}) == reason


def test_a_prompt_that_is_missing() -> None:
    assert reason_of({"prompt": "", "chosen": "good", "rejected": "bad"}) == "empty question"
    with pytest.raises(DataError, match="have no question; its columns are") as error:
        plan_of({"背景": "q", "chosen": "good", "rejected": "bad"})
    assert "--map question=COLUMN" in error.value.hint
    record = {"input": "q", "preferred_output": [GOOD], "non_preferred_output": [BAD]}
    assert reason_of(record) == "no messages"


def test_chosen_answers_alone_can_be_learned() -> None:
    record = {"prompt": "q", "chosen": "good", "rejected": "bad"}
    turns = turns_of(record, map={"question": "prompt", "answer": "chosen"})
    assert turns == [("user", "q"), ("assistant", "good")]
