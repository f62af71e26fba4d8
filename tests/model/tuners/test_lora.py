"""LoRA's variants: the algebra, the fused step, the targets, the learning rates."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tests.model.tuners.acts import gradients, logits, stir
from tests.model.tuners.conftest import Load, Recipe
from torch import nn

from tunewright.core.errors import ConfigError
from tunewright.model.tuners.fused import FrozenLinearLora
from tunewright.model.tuners.lora import DoraPart, LoraPart
from tunewright.model.tuners.slots import adapter_layers
from tunewright.model.tuners.table import TUNERS


def attach(model: Any, recipe: Recipe, **lora: Any) -> Any:
    return TUNERS["lora"].attach(model, recipe(lora={"rank": 4, **lora}))


def paths(model: Any) -> set[str]:
    return {path for path, _ in adapter_layers(model)}


@pytest.mark.parametrize(("scaling", "factor"), [("standard", 6 / 4), ("rslora", 6 / 2)])
def test_the_layer_computes_w_plus_scaled_b_a(
    load: Load, recipe: Recipe, scaling: str, factor: float
) -> None:
    model = load()
    stir(attach(model, recipe, alpha=6, scaling=scaling))
    for _, layer in adapter_layers(model):
        part = layer.parts["default"]
        x = torch.randn(2, 3, layer.base.in_features)
        weight = layer.base.weight + factor * part.b @ part.a
        torch.testing.assert_close(layer(x), x @ weight.T, atol=1e-5, rtol=1e-5)


def test_dora_computes_magnitude_times_direction(load: Load, recipe: Recipe) -> None:
    model = load()
    stir(attach(model, recipe, alpha=6, dora=True))
    for _, layer in adapter_layers(model):
        part = layer.parts["default"]
        total = layer.base.weight + 6 / 4 * part.b @ part.a
        norms = torch.linalg.norm(total, dim=1)
        torch.testing.assert_close(part.norms(layer.base.weight), norms, atol=1e-5, rtol=1e-5)
        x = torch.randn(2, 3, layer.base.in_features)
        expected = x @ (total * (part.magnitude / norms)[:, None]).T
        torch.testing.assert_close(layer(x), expected, atol=1e-5, rtol=1e-5)


def test_dora_treats_the_norm_as_a_constant() -> None:
    torch.manual_seed(0)
    base = nn.Linear(6, 5).requires_grad_(False)
    part = DoraPart(torch.randn(2, 6), torch.randn(5, 2), 0.5, 0.0, base)
    x = torch.randn(3, 6)
    part.linear(base, x).square().sum().backward()
    a, b = (p.detach().clone().requires_grad_() for p in (part.a, part.b))
    total = base.weight + 0.5 * b @ a
    scale = (part.magnitude / torch.linalg.norm(total, dim=1)).detach()
    (x @ (total * scale[:, None]).T + base.bias).square().sum().backward()
    torch.testing.assert_close(part.a.grad, a.grad, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(part.b.grad, b.grad, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("dora", [False, True])
def test_dropout_works_while_training_only(load: Load, recipe: Recipe, dora: bool) -> None:
    model = load()
    stir(attach(model, recipe, dropout=0.5, dora=dora))
    assert torch.equal(logits(model), logits(model))
    model.train()
    torch.manual_seed(0)
    first = logits(model)
    assert not torch.equal(logits(model), first)
    torch.manual_seed(0)
    assert torch.equal(logits(model), first)


@pytest.mark.parametrize("bias", [False, True])
def test_the_fused_step_has_the_right_gradients(bias: bool) -> None:
    torch.manual_seed(0)
    double = {"dtype": torch.float64}
    x = torch.randn(2, 3, 6, requires_grad=True, **double)
    weight, offset = torch.randn(5, 6, **double), torch.randn(5, **double)
    a = torch.randn(2, 6, requires_grad=True, **double)
    b = torch.randn(5, 2, requires_grad=True, **double)

    def step(*tensors: torch.Tensor) -> torch.Tensor:
        x, a, b = tensors
        return FrozenLinearLora.apply(x, weight, offset if bias else None, a, b, 0.7)

    assert torch.autograd.gradcheck(step, (x, a, b))
    plain = x @ (weight + 0.7 * b @ a).T + (offset if bias else 0)
    torch.testing.assert_close(step(x, a, b), plain)


@pytest.mark.parametrize(
    ("dtype", "near"), [(torch.float32, 1e-5), (torch.bfloat16, 3e-2)], ids=["float32", "bfloat16"]
)
def test_fused_and_plain_steps_agree(
    load: Load,
    recipe: Recipe,
    monkeypatch: pytest.MonkeyPatch,
    dtype: torch.dtype,
    near: float,
) -> None:
    found = []
    for fused in (True, False):
        if not fused:
            monkeypatch.setattr(LoraPart, "_fusible", lambda part, base, x: False)
        model = load(dtype=dtype)
        trained = attach(model, recipe)
        stir(trained)
        answer = model(input_ids=torch.tensor([[5, 9, 30]]), use_cache=False).logits
        assert ("FrozenLinearLora" in _history(answer)) == fused
        found.append((logits(model), gradients(model, trained)))
    (logits_1, gradients_1), (logits_2, gradients_2) = found
    torch.testing.assert_close(logits_1, logits_2, atol=near, rtol=near)
    for key, gradient in gradients_1.items():
        largest = float(gradients_2[key].abs().max())
        torch.testing.assert_close(gradient, gradients_2[key], atol=near * largest, rtol=near)


def _history(answer: torch.Tensor) -> str:
    """The names of all steps of autograd that led to a tensor."""
    names, waiting, seen = [], [answer.grad_fn], set()
    while waiting:
        step = waiting.pop()
        if step is not None and step not in seen:
            seen.add(step)
            names.append(step.name())
            waiting += [following for following, _ in step.next_functions]
    return " ".join(names)


def test_targets_are_named_in_several_ways(load: Load, recipe: Recipe) -> None:
    def chosen(**lora: Any) -> set[str]:
        model = load()
        attach(model, recipe, **lora)
        return {path.removeprefix("model.layers.") for path in paths(model)}

    attention = {f"{i}.self_attn.{n}_proj" for i in (0, 1) for n in "qkvo"}
    mlp = {f"{i}.mlp.{n}_proj" for i in (0, 1) for n in ("gate", "up", "down")}
    assert chosen() == attention | mlp
    assert chosen(targets=("attention",)) == attention
    assert chosen(targets=("mlp",)) == mlp
    assert chosen(targets=("mlp", "q_proj"), exclude=("*.layers.0.*", "up_proj")) == {
        "1.mlp.gate_proj", "1.mlp.down_proj", "1.self_attn.q_proj"
    }  # fmt: skip
    assert chosen(targets=("*.layers.1.*.[qk]_proj",)) == {
        "1.self_attn.q_proj", "1.self_attn.k_proj"
    }  # fmt: skip


@pytest.mark.parametrize(
    ("lora", "message"),
    [
        ({"targets": ("query",)}, "'lora.targets': no linear layer is called 'query'"),
        ({"exclude": ("query",)}, "'lora.exclude': no linear layer is called 'query'"),
        ({"exclude": ("attention", "mlp")}, "leaves no layer"),
    ],
)
def test_unknown_targets_are_refused(
    load: Load, recipe: Recipe, lora: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        attach(load(), recipe, **lora)


def test_lora_plus_lets_b_learn_faster(load: Load, recipe: Recipe) -> None:
    trained = attach(load(), recipe, plus=16)
    assert {key for key in trained.parameters if "lora_B" in key} == set(trained.factors)
    assert set(trained.factors.values()) == {16}
    assert not attach(load(), recipe).factors
