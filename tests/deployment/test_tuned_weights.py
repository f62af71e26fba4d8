"""Tuned models with weights of their own: an engine each; what stands on them shares it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
import torch

from tunewright.config.serving import GenerationConfig, ServeConfig
from tunewright.config.training import TrainConfig
from tunewright.core.messages import conversation
from tunewright.core.records import Model
from tunewright.core.store import Store
from tunewright.deployment.catalog import served_targets
from tunewright.deployment.gateway import Gateway
from tunewright.deployment.protocol import ChatRequest
from tunewright.model.catalog import resolve_base
from tunewright.model.generation import load_many
from tunewright.model.rendering import Renderer
from tunewright.model.tunable import Start, make_tunable

QUESTION = "How long is the trial period?"


def add(store: Store, base_folder: Path, tuner: str, below: Model | None = None) -> Model:
    """A tuned model with random changes, on a base or as part of a chain."""
    base = resolve_base(str(base_folder), store.settings)
    folders = () if below is None else (store.folder(Model, below.id),)
    config = TrainConfig.build({"dataset": "none", "tuner": tuner, "lora": {"rank": 4}})
    cpu = torch.device("cpu")
    tunable = make_tunable(Start(base, folders), config, cpu, torch.float32)
    generator = torch.Generator().manual_seed(1 if below is None else 2)
    with torch.no_grad():
        for parameter in tunable.trained.parameters.values():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.05)
    record = Model(
        id=Store.new_id(Model),
        name=f"ft:tiny:{tuner}:{len(store.list(Model))}",
        base=str(base_folder),
        base_digest=base.digest,
        renderer_hash=Renderer(base.folder).hash,
        run="run_0123456789ab",
        step=1,
        parent=None if below is None else below.id,
        folded=() if below is None else (*below.folded, below.id),
    )
    with store.stage(Model, record.id) as folder:
        tunable.tuner.save(tunable.model, config, base, folder)
    store.add(record)
    return record


@pytest.fixture
def models(store: Store, tiny_base: Path) -> list[Model]:
    """A full one, an adapter on it, and an adapter on the bare base."""
    full = add(store, tiny_base, "full")
    return [full, add(store, tiny_base, "lora", full), add(store, tiny_base, "ia3")]


def test_targets_name_the_weights_that_they_stand_on(
    store: Store, tiny_base: Path, models: list[Model]
) -> None:
    full, above, beside = models
    found = {target.name: target for target in served_targets(store, ServeConfig())}
    assert (found[full.name].base, found[full.name].adapter) == (full.id, None)
    assert found[above.name].base == full.id
    assert found[above.name].adapter == store.folder(Model, above.id)
    assert found[beside.name].base == str(tiny_base)
    assert found[tiny_base.name].model is None


def test_they_are_served_as_they_are_chatted_with(store: Store, models: list[Model]) -> None:
    config = GenerationConfig(max_new_tokens=12)
    asked = conversation(("user", QUESTION))
    expected = [
        load_many(store, [model.id], "cpu")[0].answer([asked], config)[0].text for model in models
    ]
    assert len(set(expected)) == 3

    async def story() -> list[str]:
        gateway = Gateway(store, ServeConfig(device="cpu"))
        try:
            replies = []
            for model in models:
                body = {
                    "model": model.name,
                    "messages": [{"role": "user", "content": QUESTION}],
                    "max_tokens": 12,
                    "temperature": 0,
                }
                target = await gateway.find(model.name)
                reply = await gateway.complete(target, ChatRequest.model_validate(body))
                replies.append(reply["choices"][0]["message"]["content"])
            assert len(gateway._upstreams) == 2
            return replies
        finally:
            await gateway.close()

    assert asyncio.run(story()) == expected
