"""Calls of functions through the API, on a base of every family whose template writes them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema_rs import validate
from tests.model.calls.bases import taught, teach, write_bases

from tunewright.core.messages import Conversation, Message, ToolCall
from tunewright.core.settings import Settings
from tunewright.deployment.call_grammar import call_grammar
from tunewright.deployment.engine_app import engine_app
from tunewright.deployment.local_base import LocalBase
from tunewright.deployment.vocabulary import Vocabulary
from tunewright.model.calls.forms import CallForm
from tunewright.model.catalog import resolve_base
from tunewright.model.references import Foundation
from tunewright.model.rendering import Renderer

from .conftest import Ask, chunks, session, user

FAMILIES = (
    "qwen2", "qwen3", "llama3", "mistral", "glm4", "glm_metadata", "glm_message_tools",
    "deepseek31", "chatglm3",
)  # fmt: skip
_PLACE: dict[str, Any] = {
    "type": "object",
    "properties": {"city": {"enum": ["北京", "Paris's"]}},
    "required": ["city"],
}
_WEATHER: dict[str, Any] = {
    "type": "object",
    "properties": {
        "place": _PLACE,
        "days": {"type": "integer", "minimum": 1, "maximum": 9},
        "sky": {"enum": ["晴", "a \"b\" 'c'", 3, None]},
        "deep": {"type": "boolean", "description": "more"},
        "again": {"$ref": "#/$defs/place"},
    },
    "required": ["place", "deep"],
    "$defs": {"place": _PLACE},
}
SCHEMAS: dict[str, dict[str, Any]] = {
    "get_weather": _WEATHER,
    "now": {"type": "object", "properties": {}},
}
TOOLS: list[dict[str, Any]] = [
    {"type": "function", "function": {"name": name, "parameters": schema}}
    for name, schema in SCHEMAS.items()
]


ENGINES = tuple(name for name in FAMILIES if name not in ("qwen2", "glm4"))
"""Those two write calls as others here do."""


@pytest.fixture(scope="module", params=ENGINES)
def engine(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Any]:
    """A family's routes, over random weights."""
    root = tmp_path_factory.mktemp(request.param)
    folder = write_bases(root, [request.param], weights=True)[request.param]
    base = resolve_base(str(folder), Settings(home=root / "home", offline=True))
    served = LocalBase.load(Foundation(base), Renderer(base.folder), "cpu", kv_tokens=8192)
    return engine_app(served, "secret", "fp_test")


def test_a_call_can_be_required_or_named_and_answered(engine: Any) -> None:
    async def story(post: Ask) -> None:
        named = {"type": "function", "function": {"name": "get_weather"}}
        for choice, names in ((named, {"get_weather"}), ("required", set(SCHEMAS))):
            body = {
                "model": "base", "messages": user("?"), "tools": TOOLS, "tool_choice": choice,
                "parallel_tool_calls": choice == named, "seed": 5, "max_tokens": 500,
                "temperature": 1.5,
            }  # fmt: skip
            reply = await post("chat/completions", **body)
            assert reply.status_code == 200, reply.text
            said = reply.json()["choices"][0]
            assert said["finish_reason"] == "tool_calls", said
            assert said["message"]["content"] is None
            for call in said["message"]["tool_calls"]:
                assert call["function"]["name"] in names
                schema = SCHEMAS[call["function"]["name"]]
                validate(schema, json.loads(call["function"]["arguments"]))
            streamed = chunks(await post("chat/completions", **body, stream=True))
            deltas = [chunk["choices"][0]["delta"] for chunk in streamed]
            made = [call for delta in deltas for call in delta.get("tool_calls", ())]
            assert [call["index"] for call in made] == [*range(len(made))]
            assert [c["function"] for c in made] == [
                call["function"] for call in said["message"]["tool_calls"]
            ]
            assert not any(delta.get("content") for delta in deltas)
            assert streamed[-1]["choices"][0]["finish_reason"] == "tool_calls"
        # The conversation goes on with what was called and what came back.
        calls = said["message"]["tool_calls"][:1]
        told = [
            *user("?"),
            {"role": "assistant", "content": None, "tool_calls": calls},
            {"role": "tool", "tool_call_id": calls[0]["id"], "content": "rain"},
        ]
        reply = await post(
            "chat/completions", model="base", messages=told, tools=TOOLS, max_tokens=3
        )
        assert reply.status_code == 200, reply.text

    session(engine, story)


def test_words_beside_offered_functions_are_words(engine: Any) -> None:
    async def story(post: Ask) -> None:
        for choice in ("auto", "none"):
            body = {"messages": user("?"), "tools": TOOLS, "tool_choice": choice, "max_tokens": 12}
            reply = (await post("chat/completions", model="base", **body)).json()["choices"][0]
            assert "tool_calls" not in reply["message"]
            assert reply["finish_reason"] in ("length", "stop")
            streamed = chunks(await post("chat/completions", model="base", **body, stream=True))
            pieces = [chunk["choices"][0]["delta"].get("content") or "" for chunk in streamed]
            assert "".join(pieces) == reply["message"]["content"]

    session(engine, story)


def test_an_answer_that_is_cut_off_makes_no_call(engine: Any) -> None:
    async def story(post: Ask) -> None:
        body = {"messages": user("?"), "tools": TOOLS, "tool_choice": "required", "max_tokens": 9}
        reply = (await post("chat/completions", model="base", **body)).json()["choices"][0]
        assert "tool_calls" not in reply["message"]
        assert reply["finish_reason"] == "length"
        assert reply["message"]["content"]

    session(engine, story)


@pytest.mark.parametrize("name", ["qwen3", pytest.param("chatglm3", marks=pytest.mark.slow)])
def test_a_call_that_was_learnt_comes_back(name: str, tmp_path: Path) -> None:
    """From a conversation through its rendering, a model and its tokens to the wire again."""
    folder = write_bases(tmp_path, [name], weights=True)[name]
    tool = {"type": "function", "function": {"name": "find"}}
    call = ToolCall(name="find", arguments='{"it": "北京\\"", "n": [1, null, true]}')
    told = Conversation(
        messages=(
            Message(role="user", content="?"),
            Message(role="assistant", content="", tool_calls=(call,)),
        ),
        tools=(tool,),
    )
    teach(folder, told, 60)
    base = resolve_base(str(folder), Settings(home=tmp_path / "home", offline=True))
    served = LocalBase.load(Foundation(base), Renderer(base.folder), "cpu", kv_tokens=4096)

    async def story(post: Ask) -> None:
        body = {
            "model": "base", "messages": user("?"), "tools": [tool], "max_tokens": 150,
            "temperature": 0,
        }  # fmt: skip
        said = (await post("chat/completions", **body)).json()["choices"][0]
        assert (said["finish_reason"], said["message"]["content"]) == ("tool_calls", None)
        (made,) = said["message"]["tool_calls"]
        assert made["function"]["name"] == "find"
        assert json.loads(made["function"]["arguments"]) == call.parsed()
        streamed = chunks(await post("chat/completions", **body, stream=True))
        deltas = [chunk["choices"][0]["delta"] for chunk in streamed]
        (made,) = [one for delta in deltas for one in delta.get("tool_calls", ())]
        assert json.loads(made["function"]["arguments"]) == call.parsed()
        assert not any(delta.get("content") for delta in deltas)

    session(engine_app(served, "secret", "fp_test"), story)


_FLAT = {
    "type": "object",
    "properties": {
        "days": {"type": "integer"},
        "sky": {"enum": ["晴", "b 'c'"]},
        "words": {"type": "string"},
        "deep": {"type": "boolean"},
    },
}


@pytest.mark.parametrize("name", FAMILIES)
def test_what_is_learnt_is_open_to_an_answer_that_must_call(name: str, tmp_path: Path) -> None:
    """Control tokens too, which letters that spell them could not stand for."""
    renderer = Renderer(write_bases(tmp_path, [name])[name])
    form = CallForm.learn(renderer)
    assert form is not None
    tools = [{"type": "function", "function": {"name": "find", "parameters": _FLAT}}]
    grammar = call_grammar(form, renderer.control_ids, tools, True)
    vocabulary = Vocabulary(renderer, renderer.tokenizer.get_vocab_size())
    state = vocabulary.form(grammar, "tools").begin()
    arguments = ({"days": 3, "sky": "晴", "words": "it \\ ' is", "deep": True}, {"words": ""})
    calls = [ToolCall(name="find", arguments=json.dumps(a), id="a" * 9) for a in arguments]
    for token in taught(renderer, calls if form.between else calls[:1]):
        allowed = state.open()
        assert allowed[token // 8] >> token % 8 & 1, renderer.tokenizer.id_to_token(token)
        state.take(token)
