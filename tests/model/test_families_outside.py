"""Bases outside the catalog, bases that cannot be packed, and what plans say of families."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.conftest import write_json
from tests.model.family_bases import SPECIMENS, Specimen, write_base
from tests.training.conftest import add_dataset, make_rows

from tunewright.config.training import TrainConfig
from tunewright.core.errors import ConfigError, ModelError
from tunewright.core.events import Event
from tunewright.core.settings import Settings
from tunewright.core.store import Store
from tunewright.model.catalog import Base, resolve_base
from tunewright.model.families import is_tested, unchecked
from tunewright.model.kv_cache import KvCache, Part, bytes_per_token
from tunewright.model.loading import load_model
from tunewright.model.tunable import Start, make_tunable
from tunewright.training.train import train

CPU = torch.device("cpu")


def outsider(model_type: str, **config: Any) -> Specimen:
    """Qwen's tokenizer and template around another architecture."""
    return replace(SPECIMENS["qwen3"], model_type=model_type, config=config)


def base_of(specimen: Specimen, folder: Path) -> Base:
    written = write_base(specimen, folder / specimen.model_type)
    return resolve_base(str(written), Settings(home=folder / "home", offline=True))


def run(store: Store, base: Base) -> list[Event]:
    """Three steps over the same rows."""
    rows = make_rows(8)
    dataset = add_dataset(store, rows, rows[:2])
    events: list[Event] = []
    options = {
        "dataset": dataset.id,
        "base": str(base.folder),
        "max_steps": 3,
        "batch_tokens": 4096,
        "precision": "float32",
        "device": "cpu",
        "lora": {"rank": 4},
        "optimizer": {"learning_rate": 2e-2},
        "watch": {"preview": 0},
    }
    train(TrainConfig.build(options), store, events.append)
    return events


def losses(events: list[Event]) -> list[float]:
    return [event.data["loss"] for event in events if event.kind == "step"]


def notes(events: list[Event]) -> str:
    return "\n".join(events[0].data["lines"])


# Outside ----------------------------------------------------------------------------------------


def test_another_causal_model_works_and_the_plan_says_what_nobody_checked(
    store: Store, tmp_path: Path
) -> None:
    events = run(store, base_of(outsider("olmo2"), tmp_path))
    assert losses(events)[2] < losses(events)[0]
    assert notes(events).count("olmo2 is outside the catalog of tested architectures") == 1
    assert not is_tested("olmo2")
    assert unchecked("qwen3") == ""


@pytest.mark.parametrize("model_type", ["bert-generation", "roberta"])
def test_a_model_that_looks_ahead_is_refused_by_trial(model_type: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="does not use plain attention"):
        load_model(base_of(outsider(model_type), tmp_path), CPU, torch.float32)


@pytest.mark.parametrize(
    ("model_type", "reason"),
    [
        ("gpt_oss", "does not use plain attention"),
        ("falcon", "computes attention in its own way"),
        ("bloom", "does not use plain attention"),
    ],
)
def test_attention_that_is_not_ours_is_refused(
    model_type: str, reason: str, tmp_path: Path
) -> None:
    with pytest.raises(ModelError, match=reason):
        load_model(base_of(outsider(model_type), tmp_path), CPU, torch.float32)


def test_an_encoder_made_of_a_known_decoder_is_refused(tmp_path: Path) -> None:
    gemma = SPECIMENS["gemma3"]
    ahead = replace(gemma, config={**gemma.config, "use_bidirectional_attention": True})
    with pytest.raises(ModelError, match="does not use plain attention"):
        load_model(base_of(ahead, tmp_path), CPU, torch.float32)


@pytest.mark.parametrize("method", ["awq", "gptq", "fp8", "bitsandbytes", None])
def test_weights_that_are_already_quantised_are_refused(method: str | None, tmp_path: Path) -> None:
    base = base_of(SPECIMENS["qwen2"], tmp_path)
    path = base.folder / "config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    write_json(path, {**config, "quantization_config": {"quant_method": method, "bits": 4}})
    with pytest.raises(ModelError, match=f"already quantised .{method or 'unnamed'}.") as refusal:
        load_model(base, CPU, torch.float32)
    assert "Take the original" in refusal.value.hint


def test_a_model_that_is_no_language_model_is_refused(tmp_path: Path) -> None:
    base = base_of(outsider("olmo2"), tmp_path)
    config = base.folder / "config.json"
    config.write_text('{"model_type": "vit", "architectures": ["ViTModel"]}', encoding="utf-8")
    with pytest.raises(ModelError, match="cannot be loaded") as refusal:
        load_model(base, CPU, torch.float32)
    assert "causal language model" in refusal.value.hint


# Plans and tuners -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["qwen3_moe", "deepseek3"])
def test_the_plan_says_that_experts_stay(name: str, store: Store, tmp_path: Path) -> None:
    events = run(store, base_of(SPECIMENS[name], tmp_path))
    assert losses(events)[2] < losses(events)[0]
    assert "routed experts" in notes(events)
    assert "outside the catalog" not in notes(events)
    estimate = events[0].data["estimate"]
    assert estimate["trained"] == events[0].data["trainable"]


def test_gemma_2_is_trained_with_its_caps(store: Store, tmp_path: Path) -> None:
    events = run(store, base_of(SPECIMENS["gemma2"], tmp_path))
    assert losses(events)[2] < losses(events)[0]
    assert "experts" not in notes(events)


@pytest.mark.parametrize("name", ["mistral", "phi3", "gemma2", "qwen2", "deepseek2"])
def test_a_prefix_is_refused_where_it_would_be_lost(name: str, tmp_path: Path) -> None:
    config = TrainConfig.build({"dataset": "none", "tuner": "prefix"})
    with pytest.raises(ConfigError, match=r"sliding window|wider than its values"):
        make_tunable(Start(base_of(SPECIMENS[name], tmp_path)), config, CPU, torch.float32)


@pytest.mark.parametrize("name", ["deepseek2", "qwen3", "gemma"])
def test_the_cache_takes_what_is_planned_for_it(name: str, tmp_path: Path) -> None:
    from tunewright.model.kv_blocks import BLOCK, Blocks
    from tunewright.model.kv_pass import Pass, plain_forward
    from tunewright.model.kv_windows import Windows

    model = load_model(base_of(SPECIMENS[name], tmp_path), CPU, torch.float32)
    cache, blocks = KvCache(model.device, 4), Blocks(4)
    extent = blocks.open(b"", [1, 2, 3])
    assert blocks.grow(extent, 3)
    with torch.inference_mode():
        plain_forward(model)(Pass(cache, Windows(cache), [Part([1, 2, 3], 0, extent, [2])]))
    held = [state for layer in cache._layers.values() for state in layer]
    assert sum(state.nbytes for state in held) == bytes_per_token(model) * 4 * BLOCK
