"""Chat requests: what is accepted, what is refused, and how the refusal names the culprit."""

import json
from typing import Any

import pytest

from tunewright.deployment.protocol import MAX_MESSAGES, ChatRequest
from tunewright.deployment.replies import RequestError, error_body

HELLO = {"role": "user", "content": "hello"}


def parse(**values: Any) -> ChatRequest:
    body = {"model": "nano", "messages": [HELLO], **values}
    return ChatRequest.parse(json.dumps(body).encode())


def refusal(**values: Any) -> RequestError:
    with pytest.raises(RequestError) as caught:
        parse(**values).conversation()
    assert caught.value.status == 400
    assert caught.value.type == "invalid_request_error"
    return caught.value


def schema(value: dict[str, Any]) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": "x", "schema": value}}


def deep(levels: int) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for _ in range(levels):
        value = {"items": value}
    return value


def test_fields_that_ask_for_nothing_are_accepted() -> None:
    request = parse(
        n=1, logprobs=False, top_logprobs=0, presence_penalty=0.0, frequency_penalty=None,
        store=False, response_format={"type": "text"}, tools=[], tool_choice="auto", logit_bias={},
        user="u1", metadata={"team": "legal"}, service_tier="auto",
    )  # fmt: skip
    assert request.conversation().question == "hello"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("functions", [{"name": "f"}]),
        ("modalities", ["audio"]),
        ("reasoning_effort", "high"),
        ("audio", {"voice": "x"}),
    ],
)
def test_what_is_not_implemented_is_refused_rather_than_ignored(field: str, value: object) -> None:
    error = refusal(**{field: value})
    assert (error.param, error.code) == (field, "unsupported_parameter")


@pytest.mark.parametrize(
    ("values", "param"),
    [
        ({"model": 3}, "model"),
        ({"messages": []}, "messages"),
        ({"messages": "hello"}, "messages"),
        ({"messages": [HELLO] * (MAX_MESSAGES + 1)}, "messages"),
        ({"messages": ["hello"]}, "messages[0]"),
        ({"messages": [{"role": "user"}]}, "messages[0].content"),
        ({"messages": [HELLO, {"role": "robot", "content": ""}]}, "messages[1].role"),
        ({"messages": [{"role": "user", "content": None}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": []}]}, "messages[0].content"),
        ({"messages": [{**HELLO, "tool_calls": [{}]}]}, "messages[0].tool_calls[0].id"),
        ({"messages": [{**HELLO, "wieght": 1}]}, "messages[0].wieght"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": "5"}, "max_tokens"),
        ({"max_completion_tokens": 10**12}, "max_completion_tokens"),
        ({"temperature": 2.5}, "temperature"),
        ({"temperature": "hot"}, "temperature"),
        ({"top_p": -0.1}, "top_p"),
        ({"seed": 2**63}, "seed"),
        ({"stop": ["a"] * 5}, "stop"),
        ({"stop": ["a"] * 10_000}, "stop"),
        ({"n": 0}, "n"),
        ({"n": 129}, "n"),
        ({"n": 10**9}, "n"),
        ({"n": True}, "n"),
        ({"top_logprobs": 5}, "top_logprobs"),
        ({"logprobs": True, "top_logprobs": 21}, "top_logprobs"),
        ({"presence_penalty": 2.1}, "presence_penalty"),
        ({"frequency_penalty": -3}, "frequency_penalty"),
        ({"logit_bias": {"1": 101}}, "logit_bias[1]"),
        ({"logit_bias": {"one": 1}}, "logit_bias"),
        ({"logit_bias": {str(token): 1 for token in range(100_000)}}, "logit_bias"),
        ({"logit_bias": [1]}, "logit_bias"),
        ({"response_format": {"type": "xml"}}, "response_format.type"),
        ({"response_format": {"type": "json_schema"}}, "response_format"),
        ({"response_format": {"type": "json_object", "json_schema": {"name": "x"}}},
         "response_format"),
        ({"response_format": {"type": "json_schema", "json_schema": {"schema": {}}}},
         "response_format.json_schema.name"),
        ({"response_format": schema({"$ref": "https://evil.example/schema"})},
         "response_format.json_schema.schema"),
        ({"response_format": schema({"enum": ["x" * 100] * 1000})},
         "response_format.json_schema.schema"),
        ({"response_format": schema({"properties": {str(key): {} for key in range(501)}})},
         "response_format.json_schema.schema"),
        ({"response_format": schema(deep(70))}, "response_format.json_schema.schema"),
        ({"guided_choice": ["a"], "response_format": {"type": "json_object"}}, "guided_choice"),
        ({"guided_choice": []}, "guided_choice"),
        ({"guided_choice": ["a", "a"]}, "guided_choice"),
        ({"guided_choice": ["a", " "]}, "guided_choice"),
        ({"guided_choice": ["a"], "stop": "b"}, "guided_choice"),
        ({"stop": ""}, "stop[0]"),
        ({"stop": "x" * 257}, "stop[0]"),
        ({"stop": [1]}, "stop[0]"),
        ({"stream": "yes"}, "stream"),
        ({"stream_options": {"include_usage": True}}, "stream_options"),
        ({"stream": True, "stream_options": {"usage": True}}, "stream_options.usage"),
        ({"metadata": {"k": 1}}, "metadata.k"),
        ({"chat_template": "{{ 1 }}"}, "chat_template"),
        ({"chat_template_kwargs": {}}, "chat_template_kwargs"),
        ({"temprature": 1}, "temprature"),
    ],
)  # fmt: skip
def test_a_wrong_parameter_is_named(values: dict[str, Any], param: str) -> None:
    assert refusal(**values).param == param


def test_a_misspelt_parameter_gets_a_suggestion() -> None:
    assert "did you mean 'temperature'?" in refusal(temprature=1).message


def test_a_missing_model_is_named() -> None:
    with pytest.raises(RequestError, match="model is required") as caught:
        ChatRequest.parse(json.dumps({"messages": [HELLO]}).encode())
    assert caught.value.param == "model"


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"null", b"\xff\xfe", b"[" * 100_000, b'{"a": NaN}', b"1" * 10_000,
     b'{"model": "\\ud800", "messages": []}', b'{"\\ud800": 1}'],
)  # fmt: skip
def test_hostile_bodies_are_refused(body: bytes) -> None:
    with pytest.raises(RequestError) as caught:
        ChatRequest.parse(body)
    json.dumps(caught.value.body(), ensure_ascii=False).encode()


def test_too_many_fields_are_refused_at_once() -> None:
    with pytest.raises(RequestError, match="more than 64 fields"):
        parse(**{f"field{number}": 1 for number in range(10_000)})


def test_text_that_is_no_unicode_can_still_be_reported() -> None:
    assert error_body("\ud800", "x")["error"]["message"] == "?"


def test_text_parts_are_joined_and_images_refused() -> None:
    parts = [{"type": "text", "text": "How "}, {"type": "text", "text": "long?"}]
    request = parse(messages=[{"role": "user", "content": parts}])
    assert request.conversation().question == "How long?"
    image = {"type": "image_url", "image_url": {"url": "http://127.0.0.1/x.png"}}
    error = refusal(messages=[{"role": "user", "content": [*parts, image]}])
    assert error.param == "messages[0].content"
    assert "part 2 is of type 'image_url'" in error.message


def test_instructions_alone_are_asked_as_a_user_would() -> None:
    told = [{"role": "system", "content": "Be brief."}, {"role": "developer", "content": "Rain?"}]
    request = parse(messages=told)
    turns = [(message.role, message.content) for message in request.conversation().messages]
    assert turns == [("system", "Be brief."), ("user", "Rain?")]


def test_developer_is_system_and_leading_ones_are_joined() -> None:
    request = parse(
        messages=[
            {"role": "developer", "content": "Be brief."},
            {"role": "system", "content": "Be kind."},
            HELLO,
        ]
    )
    turns = [(m.role, m.content) for m in request.conversation().messages]
    assert turns == [("system", "Be brief.\n\nBe kind."), ("user", "hello")]


def test_a_reply_of_ours_can_be_sent_back() -> None:
    reply = {"role": "assistant", "content": "hi", "refusal": None, "annotations": [],
             "tool_calls": None}  # fmt: skip
    assert len(parse(messages=[HELLO, reply, HELLO]).conversation().messages) == 3


@pytest.mark.parametrize(
    ("messages", "param"),
    [
        ([HELLO, {"role": "system", "content": "x"}, HELLO], "messages[1].role"),
        ([HELLO, {"role": "assistant", "content": "x"}], "messages[1].role"),
    ],
)
def test_orders_that_no_model_knows_are_refused(messages: list[Any], param: str) -> None:
    assert refusal(messages=messages).param == param


def test_generation_follows_the_request() -> None:
    drawn = parse(max_tokens=9, max_completion_tokens=7, temperature=0.5, top_p=0.9, seed=-1,
                  stop="\n").generation(room=100)  # fmt: skip
    assert (drawn.max_new_tokens, drawn.temperature, drawn.top_p) == (7, 0.5, 0.9)
    assert drawn.stop == ("\n",)
    assert drawn.seed == 2**63 - 1


def test_without_a_wish_the_answer_is_greedy_and_fills_the_context() -> None:
    drawn = parse().generation(room=31)
    assert (drawn.max_new_tokens, drawn.temperature, drawn.seed) == (31, 0.0, None)
    assert parse(temperature=1, top_p=0).generation(room=9).temperature == 0


def test_the_wire_carries_what_the_engine_needs_and_no_more() -> None:
    request = parse(user="someone", store=True, metadata={"a": "b"}, max_tokens=5)
    assert request.wire("mdl_1") == {
        "model": "mdl_1",
        "messages": [{"role": "user", "content": "hello"}],
        "max_tokens": 5,
    }


# Tools -------------------------------------------------------------------------------------------

TOOL: dict[str, Any] = {
    "type": "function",
    "function": {
        "parameters": {"type": "object", "properties": {"zone": {"enum": ["北京", None]}}},
        "name": "get_time",
        "description": None,
    },
}
CALL = {"id": "c1", "type": "function", "function": {"name": "get_time", "arguments": "{}"}}
CALLING = {"role": "assistant", "content": None, "tool_calls": [CALL]}
RESULT = {"role": "tool", "tool_call_id": "c1", "content": [{"type": "text", "text": "noon"}]}


def test_tools_calls_and_results_reach_the_conversation() -> None:
    talk = parse(messages=[HELLO, CALLING, RESULT], tools=[TOOL]).conversation()
    function = {key: TOOL["function"][key] for key in ("parameters", "name")}
    assert talk.tools == ({"type": "function", "function": function},)
    assert [*talk.tools[0]["function"]] == ["parameters", "name"]  # in the order given
    _, calling, result = talk.messages
    assert (calling.content, calling.tool_calls[0].name) == ("", "get_time")
    assert (calling.tool_calls[0].id, calling.tool_calls[0].arguments) == ("c1", "{}")
    assert (result.role, result.content, result.tool_call_id) == ("tool", "noon", "c1")


def test_tools_are_not_offered_when_none_is_chosen() -> None:
    assert parse(tools=[TOOL], tool_choice="none").conversation().tools == ()
    assert len(parse(tools=[TOOL], tool_choice="auto").conversation().tools) == 1
    assert parse(tools=[]).conversation().tools == ()


def test_no_arguments_are_an_empty_object() -> None:
    call = {**CALL, "function": {"name": "get_time", "arguments": ""}}
    talk = parse(messages=[HELLO, {**CALLING, "tool_calls": [call]}, RESULT]).conversation()
    assert talk.messages[1].tool_calls[0].arguments == "{}"


def test_the_wire_carries_every_wish() -> None:
    wishes: dict[str, Any] = {
        "n": 3, "logprobs": True, "top_logprobs": 2, "logit_bias": {"5": -100.0},
        "presence_penalty": 0.5, "frequency_penalty": -0.5, "tools": [TOOL],
        "tool_choice": {"type": "function", "function": {"name": "get_time"}},
        "parallel_tool_calls": False, "seed": 1, "temperature": 0.5, "top_p": 0.9,
    }  # fmt: skip
    again = ChatRequest.parse(json.dumps(parse(**wishes).wire("slow")).encode())
    assert again.named_tool == "get_time"
    assert again.must_call
    assert again.alternatives == 2
    assert again == parse(model="slow", **wishes)
    form = schema({"type": "object", "properties": {"a": {"const": None}}})
    again = ChatRequest.parse(json.dumps(parse(response_format=form).wire("slow")).encode())
    assert again.response_format is not None
    assert again.response_format.schema_ == form["json_schema"]["schema"]


def test_the_wire_carries_tools_as_they_are() -> None:
    request = parse(messages=[HELLO, CALLING, RESULT], tools=[TOOL])
    again = ChatRequest.parse(json.dumps(request.wire("slow")).encode())
    assert again.conversation() == request.conversation()
    assert (
        request.wire("slow")["tools"][0]["function"]["parameters"]
        == (TOOL["function"]["parameters"])
    )


@pytest.mark.parametrize(
    ("values", "param"),
    [
        ({"tools": [{"type": "function"}]}, "tools[0]"),
        ({"tools": [{"type": "retrieval", "function": {"name": "f"}}]}, "tools[0]"),
        ({"tools": [{"type": "function", "function": {"name": ""}}]}, "tools[0]"),
        ({"tools": [{"type": "function", "function": {"name": "f", "x{y}": 1}}]}, "tools[0]"),
        ({"tools": "f"}, "tools"),
        ({"tools": [TOOL] * 129}, "tools"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"tool_choice": "sometimes"}, "tool_choice"),
        ({"tool_choice": {"type": "function", "function": {"name": "f"}}}, "tool_choice"),
        ({"tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "f"}}},
         "tool_choice"),
        ({"tools": [TOOL], "tool_choice": {"type": "function", "name": "get_time"}},
         "tool_choice"),
        ({"tools": [TOOL], "tool_choice": "required", "response_format": {"type": "json_object"}},
         "tool_choice"),
        ({"messages": [HELLO, CALLING]}, "messages[1].role"),
        ({"messages": [HELLO, RESULT]}, "messages[1].tool_call_id"),
        ({"messages": [HELLO, CALLING, {**RESULT, "tool_call_id": "c2"}]},
         "messages[2].tool_call_id"),
        ({"messages": [CALLING, RESULT]}, "messages[0].role"),
        ({"messages": [{**CALLING, "role": "user"}]}, "messages[0].tool_calls"),
        ({"messages": [{**HELLO, "tool_call_id": "c1"}]}, "messages[0].tool_call_id"),
        ({"messages": [HELLO, {"role": "assistant", "content": None}, HELLO]},
         "messages[1].content"),
        ({"messages": [HELLO, {**CALLING, "tool_calls": [{**CALL, "type": "custom"}]}, HELLO]},
         "messages[1].tool_calls[0].type"),
    ],
)  # fmt: skip
def test_wrong_tools_are_named(values: dict[str, Any], param: str) -> None:
    assert refusal(**values).param == param


@pytest.mark.parametrize("arguments", ["[]", "{", "null", '{"x": NaN}', '"{}"'])
def test_arguments_must_be_an_object(arguments: str) -> None:
    call = {**CALL, "function": {"name": "f", "arguments": arguments}}
    error = refusal(messages=[HELLO, {**CALLING, "tool_calls": [call]}, RESULT])
    assert error.param == "messages[1].tool_calls[0].function.arguments"
    assert "arguments for this function" in error.message
