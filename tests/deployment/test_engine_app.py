"""An engine's routes over a real tiny model, without the process around them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from pathlib import Path
from typing import Any

import httpx
import pytest
import torch

from tunewright.config.serving import GenerationConfig
from tunewright.config.training import LoraConfig
from tunewright.core.messages import conversation
from tunewright.core.settings import Settings
from tunewright.core.store import Store
from tunewright.deployment.engine_app import engine_app
from tunewright.deployment.local_base import LocalBase
from tunewright.model.adapters import adapter_parameters, attach_lora, save_adapter
from tunewright.model.catalog import Base, resolve_base
from tunewright.model.generation import TextModel
from tunewright.model.loading import load_model
from tunewright.model.references import Foundation
from tunewright.model.rendering import Renderer

from .conftest import Ask, session

WORDS = ("hello", "How long is the trial period?", "x", "押金什么时候退?", "no")


@pytest.fixture(scope="module")
def base(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Base:
    return resolve_base(str(tiny_base), Settings(home=tmp_path_factory.mktemp("h"), offline=True))


@pytest.fixture(scope="module")
def adapter(base: Base, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random adapter."""
    model = load_model(base, torch.device("cpu"), torch.float32)
    config = LoraConfig(rank=4, alpha=64)
    attach_lora(model, config, seed=1)
    torch.manual_seed(0)
    for parameter in adapter_parameters(model).values():
        torch.nn.init.normal_(parameter)
    folder = tmp_path_factory.mktemp("adapter")
    save_adapter(model, config, base.name, folder)
    return folder


@pytest.fixture(scope="module")
def engine(base: Base) -> Any:
    return engine_app(LocalBase.load(Foundation(base), Renderer(base.folder), "cpu"), "secret")


def said(reply: httpx.Response) -> str:
    assert reply.status_code == 200, reply.text
    return str(reply.json()["choices"][0]["message"]["content"])


def messages(word: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": word}]


@pytest.mark.parametrize("drawn", [{}, {"temperature": 1.3, "top_p": 0.9, "seed": 5}])
def test_what_is_served_is_what_was_evaluated(
    engine: Any, tiny_base: Path, store: Store, drawn: dict[str, Any]
) -> None:
    config = GenerationConfig(max_new_tokens=24, **drawn)
    model = TextModel.load(store, str(tiny_base), "cpu")
    alone = [model.answer([conversation(("user", word))], config)[0] for word in WORDS]

    async def story(post: Ask) -> None:
        replies = await asyncio.gather(
            *(
                post("chat/completions", model="base", messages=messages(w), max_tokens=24, **drawn)
                for w in WORDS
            )
        )
        assert [said(reply) for reply in replies] == [answer.text for answer in alone]
        for reply, answer in zip(replies, alone, strict=True):
            assert reply.json()["usage"]["prompt_tokens"] == answer.prompt_tokens
            assert reply.json()["usage"]["completion_tokens"] == answer.completion_tokens
            assert reply.json()["choices"][0]["finish_reason"] == answer.finish_reason

    session(engine, story)


def test_answers_are_held_to_choices_beside_free_ones(
    engine: Any, tiny_base: Path, store: Store
) -> None:
    labels = ["合同", "合同纠纷", "其他"]
    model = TextModel.load(store, str(tiny_base), "cpu")
    asked = [conversation(("user", word)) for word in WORDS]
    held = model.answer(asked, GenerationConfig(choices=tuple(labels)))

    async def story(post: Ask) -> None:
        def ask(word: str, **more: Any) -> Awaitable[httpx.Response]:
            return post("chat/completions", model="base", messages=messages(word), **more)

        replies = await asyncio.gather(
            *(ask(word, guided_choice=labels, max_tokens=1) for word in WORDS),
            *(ask(word, max_tokens=4) for word in WORDS),
        )
        texts = [said(reply) for reply in replies]
        assert texts[: len(WORDS)] == [answer.text for answer in held]
        assert not set(texts[len(WORDS) :]) & set(labels)
        assert replies[0].json()["choices"][0]["finish_reason"] == "stop"
        refused = await ask("hi", guided_choice=["x" * 300, "y"])
        assert refused.status_code == 400
        assert "context" in refused.text

    session(engine, story)


def test_requests_of_every_kind_share_the_engine(engine: Any, adapter: Path) -> None:
    async def story(post: Ask) -> None:
        await post("load_lora_adapter", lora_name="mdl_1", lora_path=str(adapter))
        kinds: list[dict[str, Any]] = [
            {"model": "base", "max_tokens": 5},
            {"model": "mdl_1", "max_tokens": 30},
            {"model": "base", "max_tokens": 30, "temperature": 1.2, "seed": 1},
            {"model": "mdl_1", "max_tokens": 12, "temperature": 0.8, "top_p": 0.5, "seed": 2},
            {"model": "base", "max_tokens": 1},
        ]

        async def ask(kind: dict[str, Any]) -> str:
            return said(await post("chat/completions", messages=messages("hello"), **kind))

        alone = [await ask(kind) for kind in kinds]
        together = await asyncio.gather(*map(ask, kinds))
        assert list(together) == alone
        assert alone[1] != alone[2]

    session(engine, story)


def test_adapters_come_and_go(engine: Any, adapter: Path, tmp_path: Path) -> None:
    async def story(post: Ask) -> None:
        hello = {"messages": messages("hello"), "max_tokens": 8, "temperature": 1.0, "seed": 1}
        before = said(await post("chat/completions", model="base", **hello))
        for _ in range(2):
            loaded = await post("load_lora_adapter", lora_name="mdl_2", lora_path=str(adapter))
            assert loaded.status_code == 200
        assert said(await post("chat/completions", model="mdl_2", **hello)) != before
        assert said(await post("chat/completions", model="base", **hello)) == before
        assert (await post("unload_lora_adapter", lora_name="mdl_2")).status_code == 200
        for path in ("unload_lora_adapter", "chat/completions"):
            gone = await post(path, lora_name="mdl_2") if path[0] == "u" else await post(
                path, model="mdl_2", **hello
            )  # fmt: skip
            assert gone.status_code == 404
            assert gone.json()["error"]["code"] == "model_not_found"
        for order in ({}, {"lora_name": "x"}, {"lora_name": "x", "lora_path": str(tmp_path)},
                      {"lora_name": "base", "lora_path": str(adapter)}):  # fmt: skip
            assert (await post("load_lora_adapter", **order)).status_code == 400
        assert said(await post("chat/completions", model="base", **hello)) == before

    session(engine, story)


def test_an_answer_ends_with_the_context(engine: Any) -> None:
    async def story(post: Ask) -> None:
        full = await post("chat/completions", model="base", messages=messages("hello"))
        assert full.json()["choices"][0]["finish_reason"] in ("length", "stop")
        assert full.json()["usage"]["total_tokens"] <= 256
        long = await post("chat/completions", model="base", messages=messages("word " * 300))
        assert long.status_code == 400
        assert long.json()["error"]["code"] == "context_length_exceeded"

    session(engine, story)


def test_only_the_gateway_is_answered(engine: Any) -> None:
    async def story(post: Ask) -> None:
        for path in ("chat/completions", "load_lora_adapter", "unload_lora_adapter"):
            assert (await post(path)).status_code == 401

    session(engine, story, bearer="guess")
