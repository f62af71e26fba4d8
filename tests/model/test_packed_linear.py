"""Packed layers give what plain ones give, with and without adapters around them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from tunewright.config.training import LoraConfig
from tunewright.core.settings import Settings
from tunewright.model.adapters import adapter_parameters, attach_lora, detach
from tunewright.model.catalog import resolve_base
from tunewright.model.loading import load_model
from tunewright.model.packed_linear import PackedLinear, pack_linears

IDS = torch.arange(10, 26)[None]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_packed_model_answers_as_before(tiny_base: Path, home: Path, dtype: torch.dtype) -> None:
    base = resolve_base(str(tiny_base), Settings(home=home, offline=True))
    model = load_model(base, torch.device("cpu"), dtype)
    count = sum(type(module) is nn.Linear for module in model.modules())
    names = set(model.state_dict())
    with torch.inference_mode():
        before = model(input_ids=IDS).logits
        packed = pack_linears(model, 1 << 30)
        if not packed:
            pytest.skip("this processor has no such products")
        assert packed == count
        assert set(model.state_dict()) == names
        after = model(input_ids=IDS).logits
    tolerance = 1e-5 if dtype == torch.float32 else 0.05
    torch.testing.assert_close(after, before, rtol=tolerance, atol=tolerance)


def test_adapters_hang_on_packed_layers_and_leave_them(tiny_base: Path, home: Path) -> None:
    base = resolve_base(str(tiny_base), Settings(home=home, offline=True))
    answers = []
    for pack in (False, True):
        model = load_model(base, torch.device("cpu"), torch.float32)
        if pack and not pack_linears(model, 1 << 30):
            pytest.skip("this processor has no such products")
        attach_lora(model, LoraConfig(rank=4), seed=1)
        for number, parameter in enumerate(adapter_parameters(model).values()):
            generator = torch.Generator().manual_seed(number)
            parameter.data.copy_(torch.randn(parameter.shape, generator=generator))
        model.eval()
        with torch.inference_mode():
            answers.append(model(input_ids=IDS).logits)
        detach(model)
    torch.testing.assert_close(answers[1], answers[0], rtol=1e-4, atol=1e-4)
    assert any(isinstance(module, PackedLinear) for module in model.modules())


def test_too_little_memory_packs_nothing(tiny_base: Path, home: Path) -> None:
    base = resolve_base(str(tiny_base), Settings(home=home, offline=True))
    model = load_model(base, torch.device("cpu"), torch.float32)
    assert pack_linears(model, 1000) == 0
    assert not any(isinstance(module, PackedLinear) for module in model.modules())
