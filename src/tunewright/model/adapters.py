"""Named LoRA adapters of a base: made, chosen, and kept on disk in the PEFT library's format."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from tunewright.config.training import LoraConfig
from tunewright.core.errors import ConfigError, ModelError
from tunewright.core.files import disk_errors, write_json_atomic
from tunewright.model.folders import read_json, refuse_code
from tunewright.model.lora import LoraLinear, LoraPair, adapter_layers, add_pair, linear_layers
from tunewright.model.weights import check_safetensors

DEFAULT = "default"
CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"
_PREFIX = "base_model.model."
_PLAIN = {
    "bias": "none",
    "fan_in_fan_out": False,
    "use_dora": False,
    "modules_to_save": None,
    "layers_to_transform": None,
    "alpha_pattern": {},
    "trainable_token_indices": None,
    "target_parameters": None,
    "lora_bias": False,
}
"""Options of PEFT that change the arithmetic; we read adapters that leave them as here."""


def attach_lora(model: nn.Module, config: LoraConfig, seed: int, name: str = DEFAULT) -> list[str]:
    """Freeze the model and hang a fresh, active adapter on it.

    A is drawn Kaiming-uniform (as PEFT draws it), B is zero: the model's answers do not change
    until the adapter is trained. The draw depends on the seed only, not on the device.

    Returns:
        The full names of the adapted layers.

    Raises:
        ConfigError: a target that no linear layer bears.
    """
    layers = _targets(model, config.targets)
    model.requires_grad_(False)
    generator = torch.Generator().manual_seed(seed)
    for path, layer in layers.items():
        linear = layer.base if isinstance(layer, LoraLinear) else layer
        a = torch.empty(config.rank, linear.in_features)
        nn.init.kaiming_uniform_(a, a=math.sqrt(5), generator=generator)
        b = torch.zeros(linear.out_features, config.rank)
        add_pair(model, path, name, LoraPair(a, b, config.alpha / config.rank, config.dropout))
    set_active(model, name)
    return list(layers)


def adapter_parameters(model: nn.Module, name: str = DEFAULT) -> dict[str, nn.Parameter]:
    """The adapter's tensors under their names in PEFT's file, in the model's order."""
    found: dict[str, nn.Parameter] = {}
    for path, layer in adapter_layers(model):
        if name in layer.pairs:
            pair = cast(LoraPair, layer.pairs[name])
            found[f"base_model.model.{path}.lora_A.weight"] = pair.a
            found[f"base_model.model.{path}.lora_B.weight"] = pair.b
    return found


def set_active(model: nn.Module, name: str | None) -> None:
    """Let the named adapter answer; None is the bare base.

    Raises:
        ConfigError: no such adapter.
    """
    if name is not None and not adapter_parameters(model, name):
        raise ConfigError(f"adapter {name!r} is not loaded")
    for _, layer in adapter_layers(model):
        layer.active = name


def unload(model: nn.Module, name: str) -> None:
    """Forget one adapter; if it was active, the bare base answers."""
    for _, layer in adapter_layers(model):
        if name in layer.pairs:
            del layer.pairs[name]
        if layer.active == name:
            layer.active = None


def detach(model: nn.Module) -> None:
    """Take every adapter off and put the plain layers back."""
    for path, layer in list(adapter_layers(model)):
        parent, _, child = path.rpartition(".")
        setattr(model.get_submodule(parent), child, layer.base)


def save_adapter(
    model: nn.Module, config: LoraConfig, base_name: str, folder: Path, name: str = DEFAULT
) -> None:
    """Write ``adapter_config.json`` and ``adapter_model.safetensors`` (float32) into a folder.

    Raises:
        StorageError: when the disk refuses.
    """
    tensors = {
        key: parameter.detach().to("cpu").contiguous()
        for key, parameter in adapter_parameters(model, name).items()
    }
    targets = sorted(
        {path.rsplit(".", 1)[-1] for path, layer in adapter_layers(model) if name in layer.pairs}
    )
    if "all-linear" not in config.targets:
        targets = sorted(config.targets)
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})
        write_json_atomic(
            folder / CONFIG,
            {
                **_PLAIN,
                "peft_type": "LORA",
                "task_type": "CAUSAL_LM",
                "base_model_name_or_path": base_name,
                "revision": None,
                "inference_mode": True,
                "r": config.rank,
                "lora_alpha": config.alpha,
                "lora_dropout": config.dropout,
                "target_modules": targets,
                "init_lora_weights": True,
                "rank_pattern": {},
                "use_rslora": False,
            },
        )


def load_adapter(model: nn.Module, folder: Path, name: str = DEFAULT) -> list[str]:
    """Hang an adapter from disk on the model and make it the active one.

    Returns:
        The full names of the adapted layers.

    Raises:
        ModelError: no LoRA adapter, one with options we do not compute, or one for another base.
    """
    config = _read_config(folder)
    pairs = _pairs(_read_tensors(folder), folder)
    layers = linear_layers(model)
    scale_by_root = bool(config.get("use_rslora"))
    for path, (a, b) in pairs.items():
        layer = layers.get(path)
        if layer is None:
            raise ModelError(
                f"adapter {folder} adapts {path}, which this base does not have",
                "It was made for another base.",
            )
        linear = layer if isinstance(layer, nn.Linear) else layer.base
        rank = a.shape[0]
        if (a.shape, b.shape) != (
            (rank, linear.in_features),
            (linear.out_features, rank),
        ):
            raise ModelError(
                f"adapter {folder}: {path} is {tuple(b.shape)}·{tuple(a.shape)}, the base's layer"
                f" is ({linear.out_features}, {linear.in_features})",
                "It was made for another base.",
            )
        scale = float(config["lora_alpha"]) / (rank**0.5 if scale_by_root else rank)
        dropout = float(config.get("lora_dropout") or 0.0)
        add_pair(model, path, name, LoraPair(a, b, scale, dropout))
    set_active(model, name)
    return list(pairs)


def read_adapter_tensors(folder: Path) -> dict[str, Tensor]:
    """The adapter's tensors by PEFT's names, checked.

    Raises:
        ModelError: missing or damaged.
    """
    return _read_tensors(folder)


def _read_config(folder: Path) -> dict[str, Any]:
    path = folder / CONFIG
    if not path.is_file():
        raise ModelError(f"{folder} is no adapter: {CONFIG} is missing")
    config = read_json(path)
    refuse_code(config, path)
    if config.get("peft_type") != "LORA" or not isinstance(config.get("lora_alpha"), int | float):
        raise ModelError(f"{path} does not describe a LoRA adapter")
    for key, plain in _PLAIN.items():
        if config.get(key) not in (plain, None):
            raise ModelError(
                f"{path}: option {key}={config[key]!r} is not supported", "Only plain LoRA is."
            )
    return config


def _read_tensors(folder: Path) -> dict[str, Tensor]:
    path = folder / WEIGHTS
    if not path.is_file():
        pickled = (folder / "adapter_model.bin").is_file()
        raise ModelError(
            f"{folder} has no {WEIGHTS}",
            "adapter_model.bin is a pickle and is never read; save it as safetensors."
            if pickled
            else "",
        )
    check_safetensors(path)
    try:
        return dict(load_file(path))
    except (SafetensorError, OSError) as error:
        raise ModelError(f"{path} cannot be read: {error}") from None


def _pairs(tensors: dict[str, Tensor], folder: Path) -> dict[str, tuple[Tensor, Tensor]]:
    halves: dict[str, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        path, _, which = key.removesuffix(".weight").rpartition(".")
        if not key.startswith(_PREFIX) or which not in {"lora_A", "lora_B"} or tensor.ndim != 2:
            raise ModelError(f"{folder}: tensor {key!r} is not part of a plain LoRA adapter")
        halves.setdefault(path.removeprefix(_PREFIX), {})[which] = tensor
    for path, half in halves.items():
        if len(half) != 2:
            raise ModelError(f"{folder}: {path} has only {next(iter(half))}")
    if not halves:
        raise ModelError(f"{folder}: the adapter is empty")
    return {path: (half["lora_A"], half["lora_B"]) for path, half in halves.items()}


def _targets(model: nn.Module, wanted: tuple[str, ...]) -> dict[str, nn.Linear | LoraLinear]:
    layers = linear_layers(model)
    if "all-linear" in wanted:
        return layers
    chosen: dict[str, nn.Linear | LoraLinear] = {}
    for target in wanted:
        hits = {p: m for p, m in layers.items() if p == target or p.endswith(f".{target}")}
        if not hits:
            names = sorted({path.rsplit(".", 1)[-1] for path in layers})
            raise ConfigError(
                f"option 'lora.targets': no linear layer is called {target!r}",
                f"This base has: {', '.join(names)}; all-linear takes them all.",
            )
        chosen |= hits
    return {path: layer for path, layer in layers.items() if path in chosen}
