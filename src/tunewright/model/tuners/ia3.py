"""IA³ (Liu et al. 2022, arXiv 2205.05638): one learnt factor per key, value and MLP channel.

k' = l_k ⊙ k, v' = l_v ⊙ v, and y = W_down·(l_ff ⊙ h): a few thousand weights for a whole model.
Kept on disk in the PEFT library's format.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from tunewright.config.training import TrainConfig
from tunewright.core.errors import ConfigError, ModelError
from tunewright.model.catalog import Base
from tunewright.model.tuners.base import DEFAULT, Trained, Tuner
from tunewright.model.tuners.files import PEFT_SETTINGS, PEFT_TENSORS, read_settings
from tunewright.model.tuners.peft_format import PREFIX, layer_of, refuse_options, settings_head
from tunewright.model.tuners.slots import (
    AdaptedLinear,
    LinearPart,
    Slot,
    activate,
    adapter_layers,
    adapter_tensors,
    add_part,
    plain_linear,
)
from tunewright.model.tuners.targets import (
    blocks,
    choose,
    is_attention,
    linear_layers,
    mlp_output,
    peft_names,
)
from tunewright.model.tuners.tensors import read_tensors, write_tensors

_PLAIN: dict[str, Any] = {"fan_in_fan_out": False, "modules_to_save": None}
_SUFFIX = ".ia3_l"
# How the projections of keys and values are called where they stand alone, and where they are
# one layer with the queries'.
_KEYS_AND_VALUES = frozenset({"k_proj", "v_proj", "key", "value", "wk", "wv", "k", "v"})
_FUSED = frozenset({"query_key_value", "qkv_proj", "c_attn", "W_pack", "Wqkv", "qkv"})


class Ia3Part(LinearPart):
    """One factor per output channel, (out, 1), or per input channel, (1, in)."""

    def __init__(self, factors: Tensor) -> None:
        super().__init__()
        self.factors = nn.Parameter(factors.float())

    @property
    def feedforward(self) -> bool:
        """Whether inputs are scaled."""
        return self.factors.shape[0] == 1

    def linear(self, base: nn.Linear, x: Tensor) -> Tensor:
        """The layer with its inputs or outputs scaled."""
        # In float32: bfloat16 would round away what the factors learn.
        factors = self.factors.flatten()
        if self.feedforward:
            output: Tensor = base((x * factors).to(x.dtype))
            return output
        plain: Tensor = base(x)
        return (plain * factors).to(plain.dtype)

    def tensors(self, path: str) -> dict[str, nn.Parameter]:
        """PEFT's name."""
        return {f"{PREFIX}{path}{_SUFFIX}": self.factors}

    def fold(self, slot: Slot) -> bool:
        """Scale the weight's columns or rows, and with the rows the bias."""
        if not isinstance(slot, AdaptedLinear):
            return False
        factors, base = self.factors.detach(), slot.base
        base.weight.data.copy_(base.weight.data.float() * factors)
        if base.bias is not None and not self.feedforward:
            base.bias.data.copy_(base.bias.data.float() * factors[:, 0])
        return True


class Ia3Tuner(Tuner):
    """Factors on keys, values and the MLPs' inner activations."""

    settings_file: ClassVar[str] = PEFT_SETTINGS
    # A factor has far to go from 1, and little but itself to go there with.
    rate: ClassVar[float] = 20.0

    def attach(self, model: nn.Module, config: TrainConfig, name: str = DEFAULT) -> Trained:
        """Hang factors of 1, which change nothing yet."""
        inner = _feedforward_layers(model, config.ia3.feedforward)
        outer = [path for path in _scaled_layers(model, config.ia3.targets) if path not in inner]
        model.requires_grad_(False)
        layers = linear_layers(model)
        for path in (path for path in layers if path in inner or path in outer):
            base = plain_linear(layers[path])
            shape = (1, base.in_features) if path in inner else (base.out_features, 1)
            add_part(model, path, name, Ia3Part(torch.ones(shape, device=base.weight.device)))
        activate(model, name)
        return Trained(adapter_tensors(model, name))

    def settings(self, model: nn.Module, config: TrainConfig, base: Base) -> dict[str, Any]:
        """PEFT's ``adapter_config.json``."""
        hung = {
            path: part
            for path, layer in adapter_layers(model)
            if DEFAULT in layer.parts and isinstance(part := layer.parts[DEFAULT], Ia3Part)
        }
        inner = [path for path, part in hung.items() if part.feedforward]
        outer = [path for path in hung if path not in inner]
        feedforward = peft_names(model, inner)
        return {
            **_PLAIN,
            **settings_head("IA3", base.name),
            "target_modules": sorted([*peft_names(model, outer), *feedforward]),
            "feedforward_modules": feedforward,
            "exclude_modules": None,
            "init_ia3_weights": True,
        }

    def write_tensors(self, model: nn.Module, folder: Path, name: str = DEFAULT) -> None:
        """PEFT's ``adapter_model.safetensors``."""
        write_tensors(adapter_tensors(model, name), folder / PEFT_TENSORS)

    def load(self, model: nn.Module, folder: Path, name: str = DEFAULT) -> None:
        """Hang factors from disk."""
        layers = linear_layers(model)
        for path, factors in read_ia3(folder).items():
            base = layer_of(layers, path, folder)
            if factors.shape not in ((base.out_features, 1), (1, base.in_features)):
                raise ModelError(
                    f"adapter {folder}: {path} has factors of shape {tuple(factors.shape)}, the"
                    f" base's layer is ({base.out_features}, {base.in_features})",
                    "It was made for another base.",
                )
            add_part(model, path, name, Ia3Part(factors.to(base.weight.device)))
        activate(model, name)


def read_ia3(folder: Path) -> dict[str, Tensor]:
    """An adapter's factors by their layers, (out, 1) or (1, in).

    Raises:
        ModelError: no IA³ adapter, or one with options we do not compute.
    """
    refuse_options(read_settings(folder, PEFT_SETTINGS), _PLAIN, folder / PEFT_SETTINGS)
    found: dict[str, Tensor] = {}
    for key, factors in read_tensors(folder / PEFT_TENSORS).items():
        if not (key.startswith(PREFIX) and key.endswith(_SUFFIX)) or factors.ndim != 2:
            raise ModelError(f"{folder}: tensor {key!r} is not part of an IA³ adapter")
        found[key.removeprefix(PREFIX).removesuffix(_SUFFIX)] = factors
    return found


def _scaled_layers(model: nn.Module, asked: tuple[str, ...]) -> list[str]:
    """Layers whose outputs are scaled."""
    if asked:
        return list(choose(model, asked, (), "ia3"))
    starts = tuple(f"{path}." for path, _ in blocks(model))
    inside = [p for p in linear_layers(model) if p.startswith(starts) and is_attention(p)]
    for names in (_KEYS_AND_VALUES, _FUSED):
        if found := [path for path in inside if path.rsplit(".", 1)[-1] in names]:
            return found
    known = sorted({path.rsplit(".", 1)[-1] for path in inside})
    raise ConfigError(
        "option 'ia3.targets': the layers of keys and values go by unknown names in this base",
        f"Name them; its attention has: {', '.join(known)}",
    )


def _feedforward_layers(model: nn.Module, asked: tuple[str, ...]) -> set[str]:
    """Layers whose inputs are scaled."""
    if asked:
        return set(choose(model, asked, (), "ia3"))
    return {mlp_output(model, path) for path, _ in blocks(model)}
