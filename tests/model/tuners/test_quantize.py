"""Quantised bases: close to the dense one, smaller, exact under an adapter's gradient."""

from __future__ import annotations

import importlib.util
import json
import sys
from typing import Any

import pytest
import torch
from tests.model.tuners.acts import gradients, logits, stir
from tests.model.tuners.conftest import Load, Recipe
from torch import nn

from tunewright.core.errors import ConfigError
from tunewright.model.tuners import quantize
from tunewright.model.tuners.quantize import QuantizedLinear, quantize_base
from tunewright.model.tuners.slots import adapter_layers
from tunewright.model.tuners.table import TUNERS

CPU = torch.device("cpu")
needs_bitsandbytes = pytest.mark.skipif(
    importlib.util.find_spec("bitsandbytes") is None, reason="bitsandbytes is not installed"
)
KINDS = [pytest.param("int8"), pytest.param("nf4", marks=needs_bitsandbytes)]


def stored_bytes(layer: QuantizedLinear) -> int:
    return sum(buffer.nbytes for buffer in layer.buffers())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
def test_the_base_stays_close_and_shrinks(load: Load, kind: Any, dtype: torch.dtype) -> None:
    model = load(dtype=dtype)
    dense = logits(model).float()
    sizes = {p: m.weight.nbytes for p, m in model.named_modules() if isinstance(m, nn.Linear)}
    quantize_base(model, kind, CPU)
    layers = {p: m for p, m in model.named_modules() if isinstance(m, QuantizedLinear)}
    assert len(layers) == 2 * 7
    for path, layer in layers.items():
        assert layer.weight.dtype == dtype
        assert stored_bytes(layer) <= sizes[path] * {"int8": 0.6, "nf4": 0.3}[kind]
    near = {"int8": 0.05, "nf4": 0.6}[kind]
    assert (logits(model).float() - dense).abs().max() < near * dense.abs().max()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dora", [False, True], ids=["lora", "dora"])
def test_adapters_learn_as_beside_the_remade_weights(
    load: Load, recipe: Recipe, kind: Any, dora: bool
) -> None:
    config = recipe(lora={"rank": 4, "dora": dora})
    quantized, dense = load(), load()
    quantize_base(quantized, kind, CPU)
    with torch.no_grad():
        for path, layer in quantized.named_modules():
            if isinstance(layer, QuantizedLinear):
                dense.get_submodule(path).weight.copy_(layer.weight)
    found = []
    for model in (quantized, dense):
        trained = TUNERS["lora"].attach(model, config)
        stir(trained, 0.02)
        found.append((logits(model), gradients(model, trained)))
    torch.testing.assert_close(found[0][0], found[1][0], atol=1e-5, rtol=1e-5)
    for key, gradient in found[0][1].items():
        torch.testing.assert_close(gradient, found[1][1][key], atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_an_adapted_layer_can_be_quantised_too(load: Load, recipe: Recipe, kind: Any) -> None:
    model = load()
    TUNERS["lora"].attach(model, recipe())
    quantize_base(model, kind, CPU)
    assert all(isinstance(layer.base, QuantizedLinear) for _, layer in adapter_layers(model))


@pytest.mark.parametrize("kind", KINDS)
def test_the_backward_pass_keeps_no_weights(load: Load, kind: Any) -> None:
    model = load()
    quantize_base(model, kind, CPU)
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t.shape) or t, lambda t: t):
        layer = model.model.layers[0].mlp.down_proj
        layer(torch.randn(3, layer.in_features, requires_grad=True))
    assert torch.Size([layer.out_features, layer.in_features]) not in kept


def test_without_bitsandbytes_nf4_says_what_to_do(
    load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        quantize.importlib.util,
        "find_spec",
        lambda name, *rest: None if name == "bitsandbytes" else find(name, *rest),
    )
    with pytest.raises(ConfigError, match="needs the package bitsandbytes") as refusal:
        quantize_base(load(), "nf4", CPU)
    assert "tunewright[quantized]" in refusal.value.hint


def test_a_package_is_hidden_and_found_again() -> None:
    with quantize._without("json"), pytest.raises(ImportError):
        importlib.import_module("json")
    assert sys.modules["json"] is json
    with quantize._without("no_such_package"):
        pass
    assert "no_such_package" not in sys.modules
