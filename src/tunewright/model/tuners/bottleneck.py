"""Bottleneck adapters: small trained layers after the sublayers of a frozen base.

y' = y + W_up·ReLU(W_down·y + b_down) + b_up, on the output y of every MLP (Pfeiffer et al. 2021,
arXiv 2005.00247) and, when asked for, of every attention too (Houlsby et al. 2019, arXiv
1902.00751), before the residual sum.

PEFT has no format for them. A folder holds

- ``bottleneck.json``: ``{"tuner": "bottleneck", "format": 1, "base", "base_digest", "size",
  "placement", "activation": "relu"}``,
- ``adapter_model.safetensors``: for each adapted linear layer, by its full name in the model,
  ``<layer>.down.weight`` (size, hidden), ``<layer>.down.bias`` (size,), ``<layer>.up.weight``
  (hidden, size) and ``<layer>.up.bias`` (hidden,), float32. The adapter works on that layer's
  output.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tunewright.config.training import TrainConfig
from tunewright.core.errors import ModelError
from tunewright.model.catalog import Base
from tunewright.model.tuners.base import DEFAULT, Trained, Tuner
from tunewright.model.tuners.files import BOTTLENECK_SETTINGS, PEFT_TENSORS, read_settings
from tunewright.model.tuners.peft_format import layer_of
from tunewright.model.tuners.slots import (
    LinearPart,
    activate,
    adapter_tensors,
    add_part,
    plain_linear,
)
from tunewright.model.tuners.targets import attention_output, blocks, linear_layers, mlp_output
from tunewright.model.tuners.tensors import read_tensors, write_tensors

_FORMAT = 1
_ENTRIES = ("down.weight", "down.bias", "up.weight", "up.bias")


class BottleneckPart(LinearPart):
    """Down and up projections, float32.

    Args:
        tensors: ``down.weight`` (size, hidden), ``down.bias``, ``up.weight`` (hidden, size),
            ``up.bias``.
    """

    def __init__(self, tensors: dict[str, Tensor]) -> None:
        super().__init__()
        self.weights = nn.ParameterList([nn.Parameter(tensors[key].float()) for key in _ENTRIES])

    def after(self, y: Tensor) -> Tensor:
        """(…, hidden) → (…, hidden)."""
        narrow = not torch.is_autocast_enabled(y.device.type)
        down, down_bias, up, up_bias = (w.to(y.dtype) if narrow else w for w in self.weights)
        return y + F.linear(F.relu(F.linear(y, down, down_bias)), up, up_bias)

    def tensors(self, path: str) -> dict[str, nn.Parameter]:
        """Names in our own format."""
        return {f"{path}.{key}": weight for key, weight in zip(_ENTRIES, self.weights, strict=True)}


class BottleneckTuner(Tuner):
    """Small layers between the base's own."""

    settings_file: ClassVar[str] = BOTTLENECK_SETTINGS
    compared: ClassVar[tuple[str, ...]] = ("size", "placement", "activation")
    rate: ClassVar[float] = 3.0

    def attach(self, model: nn.Module, config: TrainConfig, name: str = DEFAULT) -> Trained:
        """Hang fresh adapters; W_up is zero, so that nothing changes yet."""
        places = [mlp_output(model, path) for path, _ in blocks(model)]
        if config.bottleneck.placement == "both":
            places += [attention_output(model, path) for path, _ in blocks(model)]
        model.requires_grad_(False)
        layers = linear_layers(model)
        generator = torch.Generator().manual_seed(config.seed)
        for path in (path for path in layers if path in places):
            base = plain_linear(layers[path])
            fresh = _fresh(base.out_features, config.bottleneck.size, generator)
            tensors = {key: tensor.to(base.weight.device) for key, tensor in fresh.items()}
            add_part(model, path, name, BottleneckPart(tensors))
        activate(model, name)
        return Trained(adapter_tensors(model, name))

    def settings(self, model: nn.Module, config: TrainConfig, base: Base) -> dict[str, Any]:
        """``bottleneck.json``."""
        return {
            "tuner": "bottleneck",
            "format": _FORMAT,
            "base": base.name,
            "base_digest": base.digest,
            "size": config.bottleneck.size,
            "placement": config.bottleneck.placement,
            "activation": "relu",
        }

    def write_tensors(self, model: nn.Module, folder: Path, name: str = DEFAULT) -> None:
        """``adapter_model.safetensors``."""
        write_tensors(adapter_tensors(model, name), folder / PEFT_TENSORS)

    def load(self, model: nn.Module, folder: Path, name: str = DEFAULT) -> None:
        """Hang adapters from disk."""
        settings = read_settings(folder, BOTTLENECK_SETTINGS)
        if settings.get("format") != _FORMAT or settings.get("activation") != "relu":
            raise ModelError(
                f"{folder / BOTTLENECK_SETTINGS}: format {settings.get('format')!r}, activation"
                f" {settings.get('activation')!r} is not known",
                "Update Tunewright.",
            )
        layers = linear_layers(model)
        for path, tensors in _by_layer(read_tensors(folder / PEFT_TENSORS), folder).items():
            base = layer_of(layers, path, folder)
            _check_shapes(tensors, base.out_features, f"adapter {folder}: {path}")
            moved = {key: tensor.to(base.weight.device) for key, tensor in tensors.items()}
            add_part(model, path, name, BottleneckPart(moved))
        activate(model, name)


def _fresh(hidden: int, size: int, generator: torch.Generator) -> dict[str, Tensor]:
    down = torch.empty(size, hidden)
    nn.init.kaiming_uniform_(down, a=math.sqrt(5), generator=generator)
    return {
        "down.weight": down,
        "down.bias": torch.zeros(size),
        "up.weight": torch.zeros(hidden, size),
        "up.bias": torch.zeros(hidden),
    }


def _by_layer(tensors: dict[str, Tensor], folder: Path) -> dict[str, dict[str, Tensor]]:
    layers: dict[str, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        path, which = _divided(key)
        if which not in _ENTRIES:
            raise ModelError(f"{folder}: tensor {key!r} is not part of a bottleneck adapter")
        layers.setdefault(path, {})[which] = tensor
    for path, found in layers.items():
        if len(found) != len(_ENTRIES):
            raise ModelError(f"{folder}: {path} has only {' and '.join(sorted(found))}")
    if not layers:
        raise ModelError(f"{folder}: the adapter is empty")
    return layers


def _divided(key: str) -> tuple[str, str]:
    path, _, which = key.rpartition(".")
    path, _, half = path.rpartition(".")
    return path, f"{half}.{which}"


def _check_shapes(tensors: dict[str, Tensor], hidden: int, where: str) -> None:
    size = tensors["down.weight"].shape[0]
    expected = ((size, hidden), (size,), (hidden, size), (hidden,))
    found = tuple(tuple(tensors[key].shape) for key in _ENTRIES)
    if found != expected:
        raise ModelError(
            f"{where} has tensors of shapes {found}, but the layer gives {hidden} channels",
            "It was made for another base.",
        )
