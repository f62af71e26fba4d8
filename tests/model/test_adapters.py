"""LoRA: the algebra, PEFT's format in both directions, several adapters of one base."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from tunewright.config.training import LoraConfig
from tunewright.core.errors import ConfigError, ModelError
from tunewright.core.settings import Settings
from tunewright.model.adapters import (
    adapter_parameters,
    attach_lora,
    detach,
    load_adapter,
    save_adapter,
    set_active,
    unload,
)
from tunewright.model.catalog import resolve_base
from tunewright.model.loading import load_model

IDS = torch.tensor([[5, 9, 30, 44, 7, 8]])


def load(folder: Path) -> nn.Module:
    base = resolve_base(str(folder), Settings(home=folder / "none", offline=True))
    model: nn.Module = load_model(base, torch.device("cpu"), torch.float32)
    return model


def logits(model: nn.Module) -> torch.Tensor:
    with torch.no_grad():
        result: torch.Tensor = model(input_ids=IDS, use_cache=False).logits
    return result


def stir(model: nn.Module, seed: int = 3, name: str = "default") -> None:
    """Give every B random values, as if trained."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for key, parameter in adapter_parameters(model, name).items():
            if "lora_B" in key:
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.1)


def test_a_fresh_adapter_changes_nothing_and_only_it_learns(tiny_base: Path) -> None:
    model = load(tiny_base)
    before = logits(model)
    names = attach_lora(model, LoraConfig(rank=4), seed=0)
    assert len(names) == 2 * 7
    assert not any("lm_head" in name for name in names)
    assert torch.equal(logits(model), before)
    learning = {id(p) for p in model.parameters() if p.requires_grad}
    assert learning == {id(p) for p in adapter_parameters(model).values()}
    assert all(p.dtype == torch.float32 for p in adapter_parameters(model).values())


def test_the_layer_computes_w_plus_scaled_b_a(tiny_base: Path) -> None:
    model = load(tiny_base)
    path = attach_lora(model, LoraConfig(rank=4, alpha=6, targets=("q_proj",)), seed=0)[0]
    stir(model)
    layer = model.get_submodule(path)
    pair = layer.parts["default"]
    x = torch.randn(2, 3, layer.base.in_features)
    weight = layer.base.weight + 6 / 4 * pair.b @ pair.a
    torch.testing.assert_close(layer(x), x @ weight.T, atol=1e-5, rtol=1e-5)


def test_the_draw_follows_the_seed(tiny_base: Path) -> None:
    drawn = []
    for seed in (0, 0, 1):
        model = load(tiny_base)
        attach_lora(model, LoraConfig(rank=4), seed=seed)
        drawn.append(torch.cat([p.flatten() for p in adapter_parameters(model).values()]))
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])


@pytest.mark.filterwarnings("ignore::FutureWarning")  # peft meets newer transformers
@pytest.mark.parametrize("targets", [("all-linear",), ("q_proj", "mlp.down_proj")])
def test_peft_reads_what_we_write(
    tiny_base: Path, tmp_path: Path, targets: tuple[str, ...]
) -> None:
    from peft import PeftModel

    model = load(tiny_base)
    config = LoraConfig(rank=4, alpha=8, targets=targets)
    attach_lora(model, config, seed=0)
    stir(model)
    save_adapter(model, config, str(tiny_base), tmp_path / "adapter")
    theirs = PeftModel.from_pretrained(load(tiny_base), tmp_path / "adapter").eval()
    torch.testing.assert_close(logits(theirs), logits(model), atol=1e-5, rtol=0)
    assert not torch.allclose(logits(model), logits(load(tiny_base)), atol=1e-3)


@pytest.mark.filterwarnings("ignore::FutureWarning")  # peft meets newer transformers
@pytest.mark.parametrize("rooted", [False, True])
def test_we_read_what_peft_writes(tiny_base: Path, tmp_path: Path, rooted: bool) -> None:
    import peft

    config = peft.LoraConfig(
        r=4,
        lora_alpha=8,
        target_modules=["q_proj", "v_proj"],
        init_lora_weights=False,
        use_rslora=rooted,
        task_type="CAUSAL_LM",
    )
    theirs = peft.get_peft_model(load(tiny_base), config).eval()
    theirs.save_pretrained(tmp_path / "adapter")
    model = load(tiny_base)
    load_adapter(model, tmp_path / "adapter")
    torch.testing.assert_close(logits(model), logits(theirs), atol=1e-5, rtol=0)


def test_saved_and_loaded_are_bit_equal(tiny_base: Path, tmp_path: Path) -> None:
    model = load(tiny_base)
    config = LoraConfig(rank=3)
    attach_lora(model, config, seed=0)
    stir(model)
    save_adapter(model, config, "nano", tmp_path)
    again = load(tiny_base)
    load_adapter(again, tmp_path)
    assert torch.equal(logits(again), logits(model))
    assert list(load_file(tmp_path / "adapter_model.safetensors")) == sorted(
        adapter_parameters(model)
    )
    assert json.loads((tmp_path / "adapter_config.json").read_text())["r"] == 3


def test_several_adapters_share_a_base(tiny_base: Path) -> None:
    model = load(tiny_base)
    bare = logits(model)
    answers = {}
    for number, name in enumerate(("first", "second")):
        attach_lora(model, LoraConfig(rank=2 + number), seed=number, name=name)
        stir(model, seed=number, name=name)
        answers[name] = logits(model)
    set_active(model, "first")
    assert torch.equal(logits(model), answers["first"])
    assert not torch.equal(answers["first"], answers["second"])
    set_active(model, None)
    assert torch.equal(logits(model), bare)
    set_active(model, "second")
    unload(model, "second")
    assert torch.equal(logits(model), bare)
    with pytest.raises(ConfigError, match="'second' is not loaded"):
        set_active(model, "second")
    set_active(model, "first")
    detach(model)
    assert torch.equal(logits(model), bare)
    assert not adapter_parameters(model, "first")


def test_bfloat16_base_and_autocast_agree(tiny_base: Path) -> None:
    base = resolve_base(str(tiny_base), Settings(home=tiny_base / "none", offline=True))
    half = load_model(base, torch.device("cpu"), torch.bfloat16)
    attach_lora(half, LoraConfig(rank=4), seed=0)
    stir(half)
    assert logits(half).dtype == torch.bfloat16
    full = load(tiny_base)
    attach_lora(full, LoraConfig(rank=4), seed=0)
    stir(full)
    with torch.autocast("cpu", torch.bfloat16):
        cast = logits(full)
    torch.testing.assert_close(cast.float(), logits(full), atol=0.05, rtol=0.1)
    torch.testing.assert_close(logits(half).float(), logits(full), atol=0.05, rtol=0.1)


def test_unknown_targets_are_refused_with_the_known_ones(tiny_base: Path) -> None:
    with pytest.raises(ConfigError, match="'query'") as refusal:
        attach_lora(load(tiny_base), LoraConfig(targets=("query",)), seed=0)
    assert "q_proj" in refusal.value.hint


def test_hostile_and_foreign_adapters_are_refused(tiny_base: Path, tmp_path: Path) -> None:
    model = load(tiny_base)
    config = LoraConfig(rank=2, targets=("q_proj",))
    attach_lora(model, config, seed=0)
    save_adapter(model, config, "nano", tmp_path)
    settings = json.loads((tmp_path / "adapter_config.json").read_text())
    tensors = load_file(tmp_path / "adapter_model.safetensors")

    def attempt(message: str, **changes: object) -> None:
        (tmp_path / "adapter_config.json").write_text(json.dumps({**settings, **changes}))
        with pytest.raises(ModelError, match=message):
            load_adapter(load(tiny_base), tmp_path)

    attempt("of lora_A, lora_B, lora_magnitude_vector", use_dora=True)
    attempt("bias", bias="all")
    attempt("auto_map", auto_map={"x": "y"})
    attempt("does not describe", peft_type="LOHA")
    one = next(iter(tensors))
    save_file({one: tensors[one]}, tmp_path / "adapter_model.safetensors")
    attempt("only lora_")
    foreign = {k.replace("q_proj", "c_attn"): v for k, v in tensors.items()}
    save_file(foreign, tmp_path / "adapter_model.safetensors")
    attempt("does not have")
    wide = {k: torch.zeros(v.shape[0] + 1, v.shape[1] + 1) for k, v in tensors.items()}
    save_file(wide, tmp_path / "adapter_model.safetensors")
    attempt("another base|is \\(")
    (tmp_path / "adapter_model.safetensors").unlink()
    (tmp_path / "adapter_model.bin").write_bytes(pickle.dumps({"x": 1}))
    attempt("has no adapter_model")
