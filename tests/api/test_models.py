"""Tuned models: served as soon as they are in the store, hot, next to their base."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from tunewright.config.training import LoraConfig
from tunewright.core.records import Model
from tunewright.core.settings import Settings
from tunewright.core.store import Store

from .conftest import Server

DRAWN = {"max_tokens": 16, "temperature": 1.5, "seed": 3}


@pytest.fixture(scope="module")
def tuned(server: Server, slow_base: Path) -> Model:
    """A model whose adapter is random, added to the running server's store."""
    import torch

    from tunewright.model.adapters import adapter_parameters, attach_lora, save_adapter
    from tunewright.model.catalog import resolve_base
    from tunewright.model.loading import load_model
    from tunewright.model.rendering import Renderer

    home = server.stderr.parent
    store = Store(home, Settings(home=home, offline=True))
    base = resolve_base(str(slow_base), store.settings)
    model = load_model(base, torch.device("cpu"), torch.float32)
    config = LoraConfig(rank=4, alpha=64)
    attach_lora(model, config, seed=1)
    torch.manual_seed(0)
    for parameter in adapter_parameters(model).values():
        torch.nn.init.normal_(parameter)
    record = Model(
        id=Store.new_id(Model), name="ft:slow:acme/law:a1b2", base=str(slow_base),
        base_digest=base.digest, renderer_hash=Renderer(base.folder).hash,
        run="run_0123456789ab", step=1,
    )  # fmt: skip
    with store.stage(Model, record.id) as folder:
        save_adapter(model, config, record.base, folder)
    store.add(record)
    other = record.model_copy(update={"id": "mdl_000000000000", "name": "old", "base_digest": "0"})
    store.add(other)
    store.close()
    return record


def test_a_tuned_model_is_served_hot_next_to_its_base(server: Server, tuned: Model) -> None:
    (engine,) = server.engines()
    base = server.chat(**DRAWN)
    reply = server.chat(model=tuned.name, **DRAWN)
    assert reply.status_code == 200, (reply.text, server.stderr.read_text())
    assert reply.headers["x-tunewright-served-by"] == tuned.id
    assert reply.json()["model"] == tuned.name
    answers = [r.json()["choices"][0]["message"]["content"] for r in (base, reply)]
    assert answers[0] != answers[1]
    again = server.chat(**DRAWN).json()["choices"][0]["message"]["content"]
    assert again == answers[0]
    assert server.engines() == [engine]


def test_it_goes_by_its_name_its_id_and_with_a_slash(server: Server, tuned: Model) -> None:
    assert server.chat(model=tuned.id, max_tokens=1).json()["model"] == tuned.name
    listed = httpx.get(f"{server.url}/v1/models").json()["data"]
    assert [m["id"] for m in listed if m["id"].startswith("ft:")] == [tuned.name]
    escaped = tuned.name.replace("/", "%2F")
    found = httpx.get(f"{server.url}/v1/models/{escaped}").json()
    assert found["id"] == tuned.name
    assert found["created"] == int(tuned.created)


def test_a_model_of_another_base_is_not_put_on_this_one(server: Server, tuned: Model) -> None:
    reply = server.chat(model="old", max_tokens=1)
    assert reply.status_code == 503
    assert reply.json()["error"]["code"] == "model_mismatch"
