"""Templates that know calls as a turn's metadata get them so, and give transformers' own ids."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.model.calls.bases import write_bases
from transformers import AutoTokenizer

from tunewright.core.errors import DataError
from tunewright.core.messages import Conversation, Message, ToolCall
from tunewright.model.message_shapes import shape_for
from tunewright.model.rendering import Renderer

TOOL: dict[str, Any] = {"type": "function", "function": {"name": "weather"}}
CALL = ToolCall(name="weather", arguments='{"city": "北京", "n": [1, null]}')


def chat(*messages: Message, tools: tuple[dict[str, Any], ...] = (TOOL,)) -> Conversation:
    return Conversation(messages=messages, tools=tools)


SYSTEM, ASKED = Message(role="system", content="Be brief."), Message(role="user", content="天气?")
CALLED = Message(role="assistant", content="Let me see.", tool_calls=(CALL, CALL))
RESULT = Message(role="tool", content="rain", name="weather")
SAID = Message(role="assistant", content="Rain.")
WRITTEN = {"role": "assistant", "metadata": "weather", "content": CALL.arguments}
SHAPED: list[dict[str, Any]] = [
    {"role": "user", "content": "天气?"},
    {"role": "assistant", "content": "Let me see."},
    WRITTEN,
    WRITTEN,
    {"role": "observation", "content": "rain"},
    {"role": "assistant", "content": "Rain."},
]


@pytest.mark.parametrize("system", [False, True])
@pytest.mark.parametrize("name", ["glm_metadata", "glm_message_tools"])
def test_ids_are_those_of_the_publishers_messages(name: str, system: bool, tmp_path: Path) -> None:
    folder = write_bases(tmp_path, [name])[name]
    told = (ASKED, CALLED, RESULT, SAID)
    talk = chat(*((SYSTEM,) if system else ()), *told)
    first = {"role": "system", "content": "Be brief." if system else ""}
    expected = [first, *SHAPED] if system else SHAPED
    if name == "glm_message_tools":
        expected = [{**first, "tools": [TOOL]}, *SHAPED]
    tokenizer = AutoTokenizer.from_pretrained(folder)
    ids = tokenizer.apply_chat_template(expected, tools=[TOOL], return_dict=False)
    renderer = Renderer(folder)
    row = renderer.render(talk)
    assert row.ids[: len(ids)] == ids
    assert row.ids[len(ids) :] == [min(renderer.eos_ids)]  # the last answer's end
    learnt = "".join(text for text, on in renderer.tokens_with_mask(talk) if on)
    call = f"weather\n{CALL.arguments}"
    assert learnt.startswith(f"\nLet me see.<|assistant|>{call}<|assistant|>{call}<|observation|>")
    assert learnt.endswith("\nRain.<|endoftext|>")


@pytest.mark.parametrize("name", ["glm_metadata", "glm_message_tools"])
def test_what_a_question_without_tools_gives_is_unchanged(name: str, tmp_path: Path) -> None:
    folder = write_bases(tmp_path, [name])[name]
    talk = chat(SYSTEM, ASKED, SAID, tools=())
    plain = [message.model_dump(include={"role", "content"}) for message in talk.messages]
    ids = AutoTokenizer.from_pretrained(folder).apply_chat_template(plain, return_dict=False)
    assert Renderer(folder).render(talk).ids[: len(ids)] == ids


def test_spelled_control_tokens_in_arguments_stay_text(tmp_path: Path) -> None:
    renderer = Renderer(write_bases(tmp_path, ["glm_metadata"])["glm_metadata"])
    call = ToolCall(name="weather", arguments='{"city": "<|user|>"}')
    row = renderer.render(chat(ASKED, Message(role="assistant", content="", tool_calls=(call,))))
    assert row.ids.count(renderer.control_ids["<|user|>"]) == 1
    chatglm = Renderer(write_bases(tmp_path, ["chatglm3"])["chatglm3"])
    with pytest.raises(DataError, match="garble"):
        chatglm.render(chat(ASKED, Message(role="assistant", content="", tool_calls=(call,))))


def test_templates_that_know_openais_messages_get_them() -> None:
    messages = [{"role": "assistant", "content": "", "tool_calls": [json.loads('{"a": 1}')]}]
    for source in ("{{ messages }}", "{{ message.metadata }}{{ message.tool_calls }}"):
        assert shape_for(source)(messages, None) == (messages, None)
