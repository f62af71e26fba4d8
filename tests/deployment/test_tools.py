"""Tools that a base cannot be told of are refused by its engine, not dropped."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx

from tunewright.core.messages import Conversation
from tunewright.deployment.engine_app import engine_app
from tunewright.deployment.scheduler import Group
from tunewright.deployment.tool_calls import closed
from tunewright.model.rendering import Renderer

TOOL = {"type": "function", "function": {"name": "get_time"}}


class RenderingOnly:
    """A base that renders as the real one does and has no weights: nothing is to be generated."""

    def __init__(self, folder: Path) -> None:
        self._renderer = Renderer(folder)
        self.context_length = self._renderer.context_length

    def prompt_ids(self, conversation: Conversation) -> list[int]:
        return self._renderer.prompt_ids(conversation)

    def group_of(self, adapter: str | None) -> str | None:
        return adapter

    def open_group(self, key: str | None) -> Group:
        raise AssertionError("a refused request was answered")


def test_a_base_that_knows_no_tools_says_so(tiny_base: Path) -> None:
    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(engine_app(RenderingOnly(tiny_base), "secret"))
        headers = {"Authorization": "Bearer secret"}
        async with httpx.AsyncClient(
            transport=transport, base_url="http://engine", headers=headers
        ) as client:
            body = {
                "model": "base", "messages": [{"role": "user", "content": "get_time?"}],
                "tools": [TOOL],
            }  # fmt: skip
            return await client.post("/v1/chat/completions", json=body)

    reply = asyncio.run(ask())
    assert reply.status_code == 400
    assert reply.json()["error"]["message"] == "the base's chat template knows no tools"


def test_arguments_are_those_that_are_declared() -> None:
    person = {"type": "object", "properties": {"name": {"type": "string"}}}
    shut = {**person, "additionalProperties": False}
    assert closed(person) == shut
    assert closed({}) == {}
    assert closed({"properties": {"who": person, "all": {"items": person}}}) == {
        "properties": {"who": shut, "all": {"items": shut}},
        "additionalProperties": False,
    }
    assert closed({"anyOf": [person, True], "$defs": {"p": person}}) == {
        "anyOf": [shut, True],
        "$defs": {"p": shut},
    }
    for opened in (
        {**person, "additionalProperties": {"type": "number"}},
        {**person, "patternProperties": {"^x": {}}},
        {**person, "oneOf": [{"required": ["name"]}, person]},
        {"allOf": [person, {"properties": {"age": {"type": "integer"}}}]},
    ):
        assert closed(opened) == opened
