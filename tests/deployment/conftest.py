"""Engines without a process around them, over tiny random bases."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
import torch
from tests.conftest import talking_copy

from tunewright.config.training import LoraConfig
from tunewright.core.settings import Settings
from tunewright.deployment.engine_app import engine_app
from tunewright.deployment.local_base import LocalBase
from tunewright.model.adapters import adapter_parameters, attach_lora, save_adapter
from tunewright.model.catalog import Base, resolve_base
from tunewright.model.loading import load_model
from tunewright.model.references import Foundation
from tunewright.model.rendering import Renderer

Ask = Callable[..., Awaitable[httpx.Response]]


@pytest.fixture(scope="session")
def talker(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Base:
    """The tiny base with a template that knows tools, and room for its long prompts."""
    folder = talking_copy(tiny_base, tmp_path_factory.mktemp("talkers") / "talker", 2048)
    home = tmp_path_factory.mktemp("h")
    return resolve_base(str(folder), Settings(home=home, offline=True))


@pytest.fixture(scope="session")
def served(talker: Base) -> LocalBase:
    """The talker, loaded."""
    return LocalBase.load(Foundation(talker), Renderer(talker.folder), "cpu", kv_tokens=16384)


@pytest.fixture(scope="session")
def engine(served: LocalBase) -> Any:
    """Its routes."""
    return engine_app(served, "secret", "fp_test")


def session(engine: Any, story: Callable[[Ask], Awaitable[None]], bearer: str = "secret") -> None:
    """Run a story of requests against the routes."""

    async def run() -> None:
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(engine),
            base_url="http://engine",
            headers={"Authorization": f"Bearer {bearer}"},
            timeout=60,
        ) as client:

            async def post(path: str, **body: Any) -> httpx.Response:
                at = path if path.startswith("/") else f"/v1/{path}"
                return await client.post(at, json=body)

            await story(post)

    asyncio.run(run())


def make_adapter(base: Base, folder: Path, seed: int, **options: Any) -> Path:
    """A random LoRA adapter in a folder."""
    model = load_model(base, torch.device("cpu"), torch.float32)
    config = LoraConfig.model_validate({"rank": 4, "alpha": 16.0, **options})
    attach_lora(model, config, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    for parameter in adapter_parameters(model).values():
        parameter.data.add_(0.3 * torch.randn(parameter.shape, generator=generator))
    save_adapter(model, config, base.name, folder)
    return folder


def chunks(reply: httpx.Response) -> list[dict[str, Any]]:
    """The events of a streamed reply."""
    assert reply.status_code == 200, reply.text
    lines = [line[6:] for line in reply.text.splitlines() if line.startswith("data: ")]
    assert lines[-1] == "[DONE]"
    return [json.loads(line) for line in lines[:-1]]


def user(text: str) -> list[dict[str, str]]:
    """A conversation of one question."""
    return [{"role": "user", "content": text}]
