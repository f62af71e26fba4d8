"""Several LoRA adapters in one pass: every row is answered as though its adapter were alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tunewright.config.training import LoraConfig
from tunewright.core.settings import Settings
from tunewright.model.adapters import (
    adapter_parameters,
    attach_lora,
    load_adapter,
    save_adapter,
    set_active,
    unload,
)
from tunewright.model.catalog import Base, resolve_base
from tunewright.model.loading import load_model
from tunewright.model.mixed_lora import MIXED, Mixture

CPU = torch.device("cpu")
IDS = torch.arange(10, 26)[None]


@pytest.fixture(scope="module")
def base(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Base:
    return resolve_base(str(tiny_base), Settings(home=tmp_path_factory.mktemp("h"), offline=True))


@pytest.fixture(scope="module")
def folders(base: Base, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Random adapters: of different ranks, on different layers, and one that is no plain LoRA."""
    made = {}
    for number, (name, options) in enumerate(
        {
            "small": {"rank": 2, "alpha": 8.0},
            "large": {"rank": 16, "alpha": 32.0, "scaling": "rslora"},
            "attention": {"rank": 4, "alpha": 16.0, "targets": ("q_proj", "v_proj")},
            "dora": {"rank": 4, "alpha": 16.0, "dora": True},
        }.items()
    ):
        model = load_model(base, CPU, torch.float32)
        config = LoraConfig.model_validate(options)
        attach_lora(model, config, seed=number)
        generator = torch.Generator().manual_seed(number)
        for parameter in adapter_parameters(model).values():
            noise = torch.randn(parameter.shape, generator=generator)
            parameter.data.add_(0.1 * noise)
        made[name] = tmp_path_factory.mktemp(name)
        save_adapter(model, config, base.name, made[name])
    return made


def loaded(base: Base, folders: dict[str, Path], *names: str) -> tuple[Any, Mixture]:
    model = load_model(base, CPU, torch.float32)
    mixture = Mixture(model)
    for name in names:
        load_adapter(model, folders[name], name)
    mixture.refresh()
    return model, mixture


@torch.inference_mode()
def alone(model: Any, name: str | None) -> Tensor:
    set_active(model, name)
    logits: Tensor = model(input_ids=IDS).logits[0]
    return logits


@torch.inference_mode()
def mixed(model: Any, mixture: Mixture, owners: list[str | None]) -> list[Tensor]:
    """The same text once per owner, in one packed pass."""
    length = IDS.shape[1]
    set_active(model, mixture.active)
    mixture.choose([owner for owner in owners for _ in range(length)], CPU)
    logits = model(
        input_ids=IDS.repeat(1, len(owners)),
        position_ids=torch.arange(length).repeat(len(owners))[None],
        cu_seqlens=torch.arange(0, length * len(owners) + 1, length, dtype=torch.int32),
        use_cache=False,
    ).logits[0]
    return list(logits.split(length))


def test_each_row_goes_by_its_own_adapter(base: Base, folders: dict[str, Path]) -> None:
    names = ("small", "large", "attention")
    model, mixture = loaded(base, folders, *names)
    expected = {name: alone(model, name) for name in (None, *names)}
    assert not torch.allclose(expected["small"], expected["large"], atol=1e-2)
    for owners in (
        ["small", None, "large", "attention", "small"],
        ["attention"],
        ["large", "small"],
        [None, None],
    ):
        for owner, logits in zip(owners, mixed(model, mixture, owners), strict=True):
            torch.testing.assert_close(logits, expected[owner], rtol=1e-5, atol=1e-5)


def test_adapters_come_and_go(base: Base, folders: dict[str, Path]) -> None:
    model, mixture = loaded(base, folders, "small")
    before = alone(model, "small")
    mixed(model, mixture, ["small"])
    load_adapter(model, folders["large"], "large")
    mixture.refresh()
    expected = alone(model, "large")
    for owner, logits in zip(
        ["large", "small"], mixed(model, mixture, ["large", "small"]), strict=True
    ):
        right = expected if owner == "large" else before
        torch.testing.assert_close(logits, right, rtol=1e-5, atol=1e-5)
    unload(model, "large")
    mixture.refresh()
    torch.testing.assert_close(mixed(model, mixture, ["small"])[0], before, rtol=1e-5, atol=1e-5)
    unload(model, "small")
    mixture.refresh()
    assert mixture.active is None
    assert not any(MIXED in path for path, _ in model.named_modules())


def test_a_name_that_comes_back_means_the_new_adapter(base: Base, folders: dict[str, Path]) -> None:
    model, mixture = loaded(base, folders, "small")
    mixed(model, mixture, ["small"])
    load_adapter(model, folders["large"], "small")
    mixture.refresh()
    expected = alone(model, "small")
    torch.testing.assert_close(mixed(model, mixture, ["small"])[0], expected, rtol=1e-5, atol=1e-5)


def test_what_is_no_plain_lora_is_not_mixed(base: Base, folders: dict[str, Path]) -> None:
    model, mixture = loaded(base, folders, "small", "dora")
    assert mixture.mixable("small")
    assert not mixture.mixable("dora")
    expected = alone(model, "small")
    torch.testing.assert_close(mixed(model, mixture, ["small"])[0], expected, rtol=1e-5, atol=1e-5)
