"""ChatGLM3 behind the API: the answers of ``chat``, whole and streamed, and JSON by a schema."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.model.chatglm3.files import write_folder

from tunewright.config.serving import GenerationConfig
from tunewright.core.messages import conversation
from tunewright.core.settings import Settings
from tunewright.core.store import Store
from tunewright.deployment.engine_app import engine_app
from tunewright.deployment.local_base import LocalBase
from tunewright.model.catalog import resolve_base
from tunewright.model.generation import TextModel
from tunewright.model.references import Foundation
from tunewright.model.rendering import Renderer

from .conftest import Ask, chunks, session, user


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    root = tmp_path_factory.mktemp("chatglm3")
    write_folder(root / "chatglm3-tiny")
    return Settings(home=root / "home", offline=True)


@pytest.fixture(scope="module")
def glm(settings: Settings) -> Any:
    base = resolve_base(str(settings.home.parent / "chatglm3-tiny"), settings)
    served = LocalBase.load(Foundation(base), Renderer(base.folder), "cpu", kv_tokens=2048)
    return engine_app(served, "secret", "fp_test")


def test_answers_are_those_of_chat(glm: Any, settings: Settings) -> None:
    store = Store(settings.home, settings)
    folder = Path(settings.home.parent) / "chatglm3-tiny"
    asked = conversation(("user", "people <|user|> 你好"))
    config = GenerationConfig(max_new_tokens=12, temperature=0)
    expected = TextModel.load(store, str(folder), "cpu").answer([asked], config)[0]
    store.close()

    async def story(post: Ask) -> None:
        body = {"model": "base", "messages": user(asked.question), "max_tokens": 12}
        whole = (await post("chat/completions", **body)).json()
        assert whole["choices"][0]["message"]["content"] == expected.text
        assert whole["usage"]["prompt_tokens"] == expected.prompt_tokens
        streamed = chunks(await post("chat/completions", **body, stream=True))
        pieces = [c["delta"].get("content") or "" for chunk in streamed for c in chunk["choices"]]
        assert "".join(pieces) == expected.text

    session(glm, story)


def test_answers_are_held_to_a_schema(glm: Any) -> None:
    schema = {
        "type": "object",
        "properties": {"a": {"enum": ["你好", "世界"]}},
        "required": ["a"],
        "additionalProperties": False,
    }
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}

    async def story(post: Ask) -> None:
        body = {"messages": user("aab"), "max_tokens": 60, "response_format": form}
        reply = await post("chat/completions", model="base", **body)
        assert reply.status_code == 200, reply.text
        choice = reply.json()["choices"][0]
        assert json.loads(choice["message"]["content"])["a"] in ("你好", "世界")

    session(glm, story)
