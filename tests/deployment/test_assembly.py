"""Chunks put together are what the whole reply would have been."""

from __future__ import annotations

from typing import Any

from tunewright.deployment.assembly import Assembly


def piece(index: int, delta: dict[str, Any], **more: Any) -> dict[str, Any]:
    common = {"id": "c", "created": 7, "model": "m", "object": "chat.completion.chunk"}
    return {**common, "choices": [{"index": index, "delta": delta, **more}]}


def together(*chunks: dict[str, Any]) -> dict[str, Any]:
    assembly = Assembly()
    for chunk in chunks:
        assembly.add(chunk)
    return assembly.whole()


def test_texts_of_several_answers_grow_apart() -> None:
    whole = together(
        piece(1, {"role": "assistant", "content": ""}),
        piece(0, {"role": "assistant", "content": ""}),
        piece(0, {"content": "七"}),
        piece(1, {"content": "no"}),
        piece(0, {"content": "天"}),
        piece(0, {}, finish_reason="stop"),
        piece(1, {}, finish_reason="length"),
        {"id": "c", "choices": [], "usage": {"total_tokens": 9}},
    )
    assert (whole["object"], whole["id"], whole["usage"]) == (
        "chat.completion", "c", {"total_tokens": 9},
    )  # fmt: skip
    said = [(one["message"]["content"], one["finish_reason"]) for one in whole["choices"]]
    assert said == [("七天", "stop"), ("no", "length")]


def test_calls_of_tools_come_in_pieces() -> None:
    begin = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": ""}}
    whole = together(
        piece(0, {"role": "assistant", "content": None}),
        piece(0, {"tool_calls": [{"index": 0, **begin}]}),
        piece(0, {"tool_calls": [{"index": 0, "function": {"arguments": '{"a":'}}]}),
        piece(0, {"tool_calls": [{"index": 0, "function": {"arguments": "1}"}}]}),
        piece(0, {}, finish_reason="tool_calls"),
    )
    message = whole["choices"][0]["message"]
    assert message["content"] is None
    assert message["tool_calls"] == [
        {**begin, "function": {"name": "f", "arguments": '{"a":1}'}},
    ]


def test_log_probabilities_stand_in_one_list() -> None:
    one, two = {"token": "a", "logprob": -0.1}, {"token": "b", "logprob": -0.2}
    whole = together(
        piece(0, {"content": "a"}, logprobs={"content": [one], "refusal": None}),
        piece(0, {"content": "b"}, logprobs={"content": [two], "refusal": None}),
    )
    assert whole["choices"][0]["logprobs"] == {"content": [one, two], "refusal": None}
