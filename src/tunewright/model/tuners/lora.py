"""LoRA and its variants.

- LoRA (Hu et al. 2021, arXiv 2106.09685): W' = W + s·B·A with s = alpha / rank.
- rsLoRA (Kalajdzievski 2023, arXiv 2312.03732): s = alpha / √rank.
- DoRA (Liu et al. 2024, arXiv 2402.09353): W' = m · V / ‖V‖ with V = W + s·B·A and one norm and one
  learnt magnitude m per output; the norm counts as a constant in the gradient (§4.3).
- LoRA+ (Hayou et al. 2024, arXiv 2402.12354): B learns faster than A by a constant ratio.

All are kept on disk in the PEFT library's format.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tunewright.config.training import LoraConfig, TrainConfig
from tunewright.core.errors import ModelError
from tunewright.model.catalog import Base
from tunewright.model.tuners.base import DEFAULT, Trained, Tuner
from tunewright.model.tuners.files import PEFT_SETTINGS, PEFT_TENSORS, read_settings
from tunewright.model.tuners.fused import FrozenLinearLora
from tunewright.model.tuners.peft_format import (
    PREFIX,
    layer_of,
    refuse_options,
    settings_head,
)
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
from tunewright.model.tuners.targets import choose, linear_layers, peft_names
from tunewright.model.tuners.tensors import read_tensors, write_tensors

_PLAIN: dict[str, Any] = {
    "bias": "none",
    "fan_in_fan_out": False,
    "modules_to_save": None,
    "layers_to_transform": None,
    "alpha_pattern": {},
    "trainable_token_indices": None,
    "target_parameters": None,
    "lora_bias": False,
}
"""Options of PEFT that change the arithmetic; we read adapters that leave them as here."""
_FOREIGN: dict[str, Any] = {
    "layer_replication": None,
    "use_qalora": False,
    "use_bdlora": None,
    "arrow_config": None,
    "kasa_config": None,
    "monteclora_config": None,
    "velora_config": None,
    "alora_invocation_tokens": None,
}
"""Further such options of newer PEFT versions, which we do not write."""
_ENTRIES = ("lora_A", "lora_B", "lora_magnitude_vector")


class LoraPart(LinearPart):
    """A (rank, in) and B (out, rank), kept in float32 whatever the base's type.

    Args:
        a: the tensor A.
        b: the tensor B.
        scale: what B·A is multiplied with.
        dropout: share of the input to A that is zeroed while training.
    """

    def __init__(self, a: Tensor, b: Tensor, scale: float, dropout: float = 0.0) -> None:
        super().__init__()
        self.a = nn.Parameter(a.float())
        self.b = nn.Parameter(b.float())
        self.scale = scale
        self.dropout = dropout

    def linear(self, base: nn.Linear, x: Tensor) -> Tensor:
        """x·Wᵀ + bias + s·x·Aᵀ·Bᵀ."""
        if self._fusible(base, x):
            fused: Tensor = FrozenLinearLora.apply(  # type: ignore[no-untyped-call]
                x, base.weight, base.bias, self.a, self.b, self.scale
            )
            return fused
        output: Tensor = base(x)
        a, b = self._narrow(x)
        # Scaling the (…, rank) tensor costs the least; addmm saves one pass over the output.
        low = F.linear(F.dropout(x, self.dropout, self.training), a) * self.scale
        flat = torch.addmm(output.flatten(0, -2), low.flatten(0, -2), b.t())
        return flat.view(output.shape)

    def tensors(self, path: str) -> dict[str, nn.Parameter]:
        """PEFT's names."""
        return {
            f"{PREFIX}{path}.lora_A.weight": self.a,
            f"{PREFIX}{path}.lora_B.weight": self.b,
        }

    def fold(self, slot: Slot) -> bool:
        """W ← W + s·B·A."""
        if not isinstance(slot, AdaptedLinear):
            return False
        weight = slot.base.weight
        weight.data.copy_(self.merged(weight.data.float()))
        return True

    def merged(self, weight: Tensor) -> Tensor:
        """W + s·B·A in float32, both (out, in)."""
        return torch.addmm(weight, self.b.detach(), self.a.detach(), alpha=self.scale)

    def _narrow(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """A and B in the type that the product is computed in."""
        if torch.is_autocast_enabled(x.device.type):
            return self.a, self.b
        return self.a.to(x.dtype), self.b.to(x.dtype)

    def _fusible(self, base: nn.Linear, x: Tensor) -> bool:
        return (
            type(base) is nn.Linear
            and not (self.training and self.dropout > 0)
            and not base.weight.requires_grad
            and base.weight.dtype == x.dtype
            and not torch.is_autocast_enabled(x.device.type)
        )


class DoraPart(LoraPart):
    """A LoRA pair with a learnt magnitude per output, (out,).

    Args:
        a, b, scale, dropout: as for ``LoraPart``.
        base: the layer; its rows' norms are the magnitudes that change nothing.
        magnitude: (out,), or None for those norms.
    """

    def __init__(
        self,
        a: Tensor,
        b: Tensor,
        scale: float,
        dropout: float,
        base: nn.Linear,
        magnitude: Tensor | None = None,
    ) -> None:
        super().__init__(a, b, scale, dropout)
        squares = base.weight.detach().float().square().sum(dim=1)
        self.register_buffer("squares", squares, persistent=False)
        self.squares: Tensor
        start = squares.sqrt() if magnitude is None else magnitude.float()
        self.magnitude = nn.Parameter(start.clone())

    def linear(self, base: nn.Linear, x: Tensor) -> Tensor:
        """m / ‖V‖ · (x·Wᵀ + s·x·Aᵀ·Bᵀ) + bias; under dropout the base's part is as in PEFT."""
        a, b = self._narrow(x)
        weight = base.weight
        # In float32: bfloat16 would round away what the magnitudes learn.
        scale = self.magnitude / self.norms(weight)
        dropped = F.dropout(x, self.dropout, self.training)
        low = F.linear(dropped, a) * self.scale
        if self.training and self.dropout > 0:
            y = F.linear(x, weight) + (scale - 1) * F.linear(dropped, weight)
            y = y + scale * F.linear(low, b)
        else:
            output = F.linear(x, weight)
            both = torch.addmm(output.flatten(0, -2), low.flatten(0, -2), b.t())
            y = scale * both.view(output.shape)
        y = y.to(x.dtype)
        return y if base.bias is None else y + base.bias

    @torch.no_grad()
    def norms(self, weight: Tensor) -> Tensor:
        """‖W + s·B·A‖ per row (out,), float32, without making the sum.

        ‖w + s·b·A‖² = ‖w‖² + 2s·(w·Aᵀ)·b + s²·b·(A·Aᵀ)·b: the products are rank wide, and ‖w‖²
        is known.
        """
        cross = weight.mm(self.a.to(weight.dtype).t()).float()
        square = self.b.mm(self.a.mm(self.a.t()))
        inner = 2 * self.scale * cross + self.scale**2 * square
        return (self.squares + (inner * self.b).sum(dim=1)).clamp_min(0).sqrt()

    def tensors(self, path: str) -> dict[str, nn.Parameter]:
        """PEFT's names."""
        return {
            **super().tensors(path),
            f"{PREFIX}{path}.lora_magnitude_vector": self.magnitude,
        }

    def merged(self, weight: Tensor) -> Tensor:
        """m / ‖V‖ · V in float32."""
        total = super().merged(weight)
        norms = self.norms(weight)
        return total * (self.magnitude.detach() / norms)[:, None]


def lora_scale(config: LoraConfig) -> float:
    """What B·A is multiplied with."""
    divisor = math.sqrt(config.rank) if config.scaling == "rslora" else config.rank
    return config.alpha / divisor


def hang_lora(model: nn.Module, config: LoraConfig, seed: int, name: str = DEFAULT) -> list[str]:
    """Hang a fresh, active adapter on a model, and freeze everything else.

    A is drawn Kaiming-uniform (as PEFT draws it), B is zero: the model's answers do not change
    until the adapter is trained. The draw depends on the seed only, not on the device.

    Returns:
        The full names of the adapted layers.

    Raises:
        ConfigError: a target that no linear layer bears.
    """
    layers = choose(model, config.targets, config.exclude, "lora")
    model.requires_grad_(False)
    generator = torch.Generator().manual_seed(seed)
    scale = lora_scale(config)
    for path, layer in layers.items():
        base = plain_linear(layer)
        a = torch.empty(config.rank, base.in_features)
        nn.init.kaiming_uniform_(a, a=math.sqrt(5), generator=generator)
        pair = (a, torch.zeros(base.out_features, config.rank))
        add_part(model, path, name, _part(base, pair, scale, config.dropout, dora=config.dora))
    activate(model, name)
    return list(layers)


def lora_settings(
    model: nn.Module, config: LoraConfig, base_name: str, name: str = DEFAULT
) -> dict[str, Any]:
    """PEFT's ``adapter_config.json``."""
    hung = [path for path, layer in adapter_layers(model) if name in layer.parts]
    return {
        **_PLAIN,
        **settings_head("LORA", base_name),
        "r": config.rank,
        # Readers that take whole numbers only are served where it is one.
        "lora_alpha": int(config.alpha) if config.alpha.is_integer() else config.alpha,
        "lora_dropout": config.dropout,
        "target_modules": peft_names(model, hung),
        "init_lora_weights": True,
        "rank_pattern": {},
        "use_rslora": config.scaling == "rslora",
        "use_dora": config.dora,
    }


def load_lora(model: nn.Module, folder: Path, name: str = DEFAULT) -> list[str]:
    """Hang an adapter from disk on the model and make it the active one.

    Returns:
        The full names of the adapted layers.

    Raises:
        ModelError: no LoRA adapter, one with options we do not compute, or one for another base.
    """
    settings, triples = read_lora(folder)
    layers = linear_layers(model)
    dropout = float(settings.get("lora_dropout") or 0.0)
    for path, tensors in triples.items():
        a, b = tensors["lora_A"], tensors["lora_B"]
        base = layer_of(layers, path, folder)
        rank = a.shape[0]
        shapes = ((rank, base.in_features), (base.out_features, rank))
        magnitude = tensors.get("lora_magnitude_vector")
        if (a.shape, b.shape) != shapes or (
            magnitude is not None and magnitude.shape != (base.out_features,)
        ):
            raise ModelError(
                f"adapter {folder}: {path} is {tuple(b.shape)}·{tuple(a.shape)}, the base's layer"
                f" is ({base.out_features}, {base.in_features})",
                "It was made for another base.",
            )
        scale = stored_scale(settings, rank)
        dora = magnitude is not None
        part = _part(base, (a, b), scale, dropout, dora=dora, magnitude=magnitude)
        add_part(model, path, name, part)
    activate(model, name)
    return list(triples)


def stored_scale(settings: dict[str, Any], rank: int) -> float:
    """What B·A of this rank is multiplied with, by an adapter's settings."""
    divisor = math.sqrt(rank) if settings.get("use_rslora") else rank
    return float(settings["lora_alpha"]) / divisor


def read_lora(folder: Path) -> tuple[dict[str, Any], dict[str, dict[str, Tensor]]]:
    """An adapter's settings, and per layer its tensors by their kind (``lora_A``, …).

    Raises:
        ModelError: no LoRA adapter, or one with options we do not compute.
    """
    settings = _read_settings(folder)
    tensors = read_tensors(folder / PEFT_TENSORS)
    return settings, _by_layer(tensors, bool(settings["use_dora"]), folder)


class LoraTuner(Tuner):
    """Low-rank pairs beside frozen linear layers."""

    settings_file: ClassVar[str] = PEFT_SETTINGS
    compared: ClassVar[tuple[str, ...]] = ("r", "lora_alpha", "use_rslora", "use_dora")

    def attach(self, model: nn.Module, config: TrainConfig, name: str = DEFAULT) -> Trained:
        """See ``hang_lora``; with ``plus`` above 1, B learns at a multiple of A's rate."""
        hang_lora(model, config.lora, config.seed, name)
        parameters = adapter_tensors(model, name)
        plus = config.lora.plus
        factors = {key: plus for key in parameters if ".lora_B." in key and plus != 1}
        return Trained(parameters, factors)

    def settings(self, model: nn.Module, config: TrainConfig, base: Base) -> dict[str, Any]:
        """PEFT's ``adapter_config.json``."""
        return lora_settings(model, config.lora, base.name)

    def write_tensors(self, model: nn.Module, folder: Path, name: str = DEFAULT) -> None:
        """PEFT's ``adapter_model.safetensors``."""
        write_tensors(adapter_tensors(model, name), folder / PEFT_TENSORS)

    def load(self, model: nn.Module, folder: Path, name: str = DEFAULT) -> None:
        """See ``load_lora``."""
        load_lora(model, folder, name)


def _part(
    base: nn.Linear,
    pair: tuple[Tensor, Tensor],
    scale: float,
    dropout: float,
    *,
    dora: bool,
    magnitude: Tensor | None = None,
) -> LoraPart:
    """The part on the layer's device."""
    a, b = (tensor.to(base.weight.device) for tensor in pair)
    if not dora:
        return LoraPart(a, b, scale, dropout)
    if magnitude is not None:
        magnitude = magnitude.to(a.device)
    return DoraPart(a, b, scale, dropout, base, magnitude)


def _read_settings(folder: Path) -> dict[str, Any]:
    settings = read_settings(folder, PEFT_SETTINGS)
    path = folder / PEFT_SETTINGS
    if settings.get("peft_type") != "LORA" or not isinstance(
        settings.get("lora_alpha"), int | float
    ):
        raise ModelError(f"{path} does not describe a LoRA adapter")
    refuse_options(settings, {**_PLAIN, **_FOREIGN}, path)
    return {**settings, "use_dora": settings.get("use_dora") or False}


def _by_layer(tensors: dict[str, Tensor], dora: bool, folder: Path) -> dict[str, dict[str, Tensor]]:
    entries = _ENTRIES if dora else _ENTRIES[:2]
    layers: dict[str, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        path, _, which = key.removesuffix(".weight").rpartition(".")
        flat = which == "lora_magnitude_vector"
        if not key.startswith(PREFIX) or which not in entries or tensor.ndim != (1 if flat else 2):
            raise ModelError(f"{folder}: tensor {key!r} is not part of a plain LoRA adapter")
        layers.setdefault(path.removeprefix(PREFIX), {})[which] = tensor
    for path, found in layers.items():
        if len(found) != len(entries):
            raise ModelError(
                f"{folder}: {path} has only {' and '.join(sorted(found))} of {', '.join(entries)}"
            )
    if not layers:
        raise ModelError(f"{folder}: the adapter is empty")
    return layers
