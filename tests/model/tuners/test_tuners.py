"""What holds for every tuner: how it begins, what it trains, and that what is saved is loaded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from tests.model.tuners.acts import gradients, logits, packed, stir
from tests.model.tuners.conftest import Load, Recipe

from tunewright.core.errors import ConfigError, ModelError
from tunewright.model.adapters import adapter_parameters, fold_in, load_adapter, set_active, unload
from tunewright.model.catalog import Base
from tunewright.model.tuners.files import tuner_of
from tunewright.model.tuners.slots import base_parameters
from tunewright.model.tuners.table import TUNERS
from tunewright.model.tuners.tensors import read_trained, write_shards
from tunewright.training.losses import next_token_loss

RECIPES: dict[str, dict[str, Any]] = {
    "lora": {"tuner": "lora"},
    "rslora": {"tuner": "lora", "lora": {"rank": 4, "scaling": "rslora"}},
    "dora": {"tuner": "lora", "lora": {"rank": 4, "dora": True}},
    "full": {"tuner": "full"},
    "freeze": {"tuner": "freeze", "freeze": {"blocks": 1}},
    "ia3": {"tuner": "ia3"},
    "prefix": {"tuner": "prefix", "prefix": {"tokens": 5}},
    "projected prefix": {"tuner": "prefix", "prefix": {"tokens": 5, "projection": 12}},
    "bottleneck": {"tuner": "bottleneck", "bottleneck": {"size": 8, "placement": "both"}},
}
ADAPTERS = [name for name, values in RECIPES.items() if values["tuner"] not in ("full", "freeze")]
NEUTRAL = [name for name in ADAPTERS if "prefix" not in name]

every = pytest.mark.parametrize("name", RECIPES)


def put(model: Any, recipe: Recipe, name: str) -> Any:
    """Attach and move what is trained; the tuner and the config too."""
    config = recipe(**RECIPES[name])
    tuner = TUNERS[config.tuner]
    trained = tuner.attach(model, config)
    stir(trained, 0.02)
    return trained, tuner, config


@pytest.mark.parametrize("name", NEUTRAL)
def test_a_fresh_adapter_changes_nothing(load: Load, recipe: Recipe, name: str) -> None:
    model = load()
    before = logits(model)
    config = recipe(**RECIPES[name])
    TUNERS[config.tuner].attach(model, config)
    assert torch.equal(logits(model), before)


@every
def test_only_what_is_named_learns(load: Load, recipe: Recipe, name: str) -> None:
    model = load()
    trained, _, _ = put(model, recipe, name)
    learning = {id(p) for p in model.parameters() if p.requires_grad}
    assert learning == {id(p) for p in trained.parameters.values()}
    assert all(p.dtype == torch.float32 for p in trained.parameters.values())
    found = gradients(model, trained)
    assert found.keys() == trained.parameters.keys()
    assert all(gradient.abs().max() > 0 for gradient in found.values())


@every
def test_saved_and_loaded_answer_alike(
    load: Load, recipe: Recipe, base: Base, tmp_path: Path, name: str
) -> None:
    model = load()
    before = logits(model)
    trained, tuner, config = put(model, recipe, name)
    expected = logits(model)
    assert not torch.allclose(expected, before, atol=1e-3)
    tuner.save(model, config, base, tmp_path / "saved")
    assert tuner_of(tmp_path / "saved") == config.tuner
    again = load()
    tuner.load(again, tmp_path / "saved")
    torch.testing.assert_close(logits(again), expected, atol=1e-6, rtol=0)
    held = read_trained(tmp_path / "saved")
    for key, parameter in trained.parameters.items():
        assert torch.equal(held[key], parameter.detach())


@every
def test_folded_in_it_answers_alike_and_stands_under_another(
    load: Load, recipe: Recipe, base: Base, tmp_path: Path, name: str
) -> None:
    model = load()
    _, tuner, config = put(model, recipe, name)
    expected = logits(model)
    tuner.save(model, config, base, tmp_path / "first")
    folded = load()
    fold_in(folded, tmp_path / "first")
    torch.testing.assert_close(logits(folded), expected, atol=2e-6, rtol=0)
    names = list(base_parameters(load()))
    assert list(base_parameters(folded)) == names
    for above in ("lora", "ia3", "bottleneck", "freeze", "prefix"):
        upper = load()
        fold_in(upper, tmp_path / "first")
        _, second, other = put(upper, recipe, above)
        stacked = logits(upper)
        second.save(upper, other, base, tmp_path / above)
        loaded = load()
        fold_in(loaded, tmp_path / "first")
        second.load(loaded, tmp_path / above)
        assert torch.equal(logits(loaded), stacked)
        assert not torch.allclose(stacked, expected, atol=1e-4)


@pytest.mark.parametrize("name", [*ADAPTERS])
def test_packed_documents_are_answered_as_alone(load: Load, recipe: Recipe, name: str) -> None:
    model = load()
    put(model, recipe, name)
    documents = ([5, 9, 30, 44], [7, 8, 61, 12, 70, 3], [11, 12])
    with torch.no_grad():
        together = next_token_loss(model, packed(*documents))
        alone = sum(next_token_loss(model, packed(ids)) for ids in documents)
    torch.testing.assert_close(together, alone, atol=1e-4, rtol=1e-6)


def test_adapters_of_all_kinds_take_turns(
    load: Load, recipe: Recipe, base: Base, tmp_path: Path
) -> None:
    answers = {}
    for name in ADAPTERS:
        model = load()
        _, tuner, config = put(model, recipe, name)
        answers[name] = logits(model)
        tuner.save(model, config, base, tmp_path / name)
    shared = load()
    bare = logits(shared)
    for number, name in enumerate(ADAPTERS):
        load_adapter(shared, tmp_path / name, f"a{number}")
    for number, name in [*enumerate(ADAPTERS), *reversed(list(enumerate(ADAPTERS)))]:
        set_active(shared, f"a{number}")
        torch.testing.assert_close(logits(shared), answers[name], atol=1e-6, rtol=0)
        set_active(shared, None)
        assert torch.equal(logits(shared), bare)
    for number, _ in enumerate(ADAPTERS):
        unload(shared, f"a{number}")
    assert torch.equal(logits(shared), bare)
    assert not adapter_parameters(shared, "a0")


@pytest.mark.parametrize("name", ["full", "freeze"])
def test_changed_weights_are_not_hung_beside_others(
    load: Load, recipe: Recipe, base: Base, tmp_path: Path, name: str
) -> None:
    model = load()
    _, tuner, config = put(model, recipe, name)
    tuner.save(model, config, base, tmp_path)
    with pytest.raises(ModelError, match="changed weights of its base"):
        load_adapter(load(), tmp_path)


def test_freeze_trains_the_last_blocks_only(load: Load, recipe: Recipe) -> None:
    trained = TUNERS["freeze"].attach(load(), recipe(tuner="freeze", freeze={"blocks": 1}))
    assert {key.split(".")[2] for key in trained.parameters} == {"1"}
    with pytest.raises(ConfigError, match="has 2 blocks"):
        TUNERS["freeze"].attach(load(), recipe(tuner="freeze", freeze={"blocks": 3}))


def test_full_has_tied_weights_once(load: Load, recipe: Recipe) -> None:
    model = load()
    trained = TUNERS["full"].attach(model, recipe(tuner="full"))
    assert sum(p.numel() for p in trained.parameters.values()) == model.num_parameters()
    assert "lm_head.weight" not in trained.parameters


def test_large_weights_are_divided_and_a_missing_shard_is_noticed(
    load: Load, recipe: Recipe, base: Base, tmp_path: Path
) -> None:
    model = load()
    trained, tuner, config = put(model, recipe, "full")
    tuner.save(model, config, base, tmp_path)
    (whole,) = tmp_path.glob("*.safetensors")
    whole.unlink()
    write_shards(trained.parameters, tmp_path, 100_000)
    shards = sorted(tmp_path.glob("*.safetensors"))
    assert len(shards) > 2
    for shard in shards:
        with safe_open(shard, framework="pt") as file:
            assert shard.stat().st_size < 110_000 or len(list(file.keys())) == 1
    again = load()
    fold_in(again, tmp_path)
    assert torch.equal(logits(again), logits(model))
    shards[1].unlink()
    with pytest.raises(ModelError, match="weight files"):
        fold_in(load(), tmp_path)


@pytest.mark.parametrize("name", ["ia3", "prefix", "bottleneck", "freeze"])
def test_what_was_made_for_another_base_is_refused(
    load: Load, recipe: Recipe, base: Base, tmp_path: Path, tiny_llama: Path, name: str
) -> None:
    model = load()
    _, tuner, config = put(model, recipe, name)
    tuner.save(model, config, base, tmp_path)
    with pytest.raises(ModelError, match="base"):
        fold_in(load(tiny_llama), tmp_path)


@every
def test_a_base_without_templates_or_ties_can_be_tuned_too(
    load: Load, recipe: Recipe, tiny_llama: Path, name: str
) -> None:
    model = load(tiny_llama)
    trained, _, _ = put(model, recipe, name)
    assert all(g.abs().max() > 0 for g in gradients(model, trained).values())


def test_bfloat16_bases_are_tuned_in_float32(load: Load, recipe: Recipe) -> None:
    for name in ADAPTERS:
        half, full = load(dtype=torch.bfloat16), load()
        for model in (half, full):
            trained, _, _ = put(model, recipe, name)
            assert all(p.dtype == torch.float32 for p in trained.parameters.values())
        assert logits(half).dtype == torch.bfloat16
        torch.testing.assert_close(logits(half).float(), logits(full), atol=0.1, rtol=0.1)


def test_a_prefix_made_by_an_mlp_learns_in_smaller_steps(load: Load, recipe: Recipe) -> None:
    made = TUNERS["prefix"].attach(load(), recipe(**RECIPES["projected prefix"]))
    assert set(made.factors) == set(made.parameters)
    assert not TUNERS["prefix"].attach(load(), recipe(**RECIPES["prefix"])).factors
