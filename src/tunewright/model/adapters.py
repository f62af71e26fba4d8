"""Named adapters of a loaded base: hung on it, chosen, taken off, and kept on disk.

What an adapter is, and how it is made, says the package ``tuners``.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from tunewright.config.training import LoraConfig
from tunewright.core.errors import ModelError
from tunewright.core.files import disk_errors, write_json_atomic
from tunewright.model.loading import load_model
from tunewright.model.references import Foundation
from tunewright.model.tuners.base import DEFAULT
from tunewright.model.tuners.files import PEFT_SETTINGS, PEFT_TENSORS, tuner_of
from tunewright.model.tuners.lora import hang_lora, lora_settings
from tunewright.model.tuners.slots import (
    AdaptedLinear,
    activate,
    adapter_tensors,
    fold_adapter,
    replace_module,
    slots,
    unwrap_idle,
)
from tunewright.model.tuners.table import TUNERS
from tunewright.model.tuners.tensors import read_trained, write_tensors

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_FOLDED = "folded"


def attach_lora(model: nn.Module, config: LoraConfig, seed: int, name: str = DEFAULT) -> list[str]:
    """Freeze the model and hang a fresh, active LoRA adapter on it.

    Returns:
        The full names of the adapted layers.

    Raises:
        ConfigError: a target that no linear layer bears.
    """
    return hang_lora(model, config, seed, name)


def save_adapter(
    model: nn.Module, config: LoraConfig, base_name: str, folder: Path, name: str = DEFAULT
) -> None:
    """Write a LoRA adapter in PEFT's format into a folder.

    Raises:
        StorageError: when the disk refuses.
    """
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        write_tensors(adapter_tensors(model, name), folder / PEFT_TENSORS)
        write_json_atomic(folder / PEFT_SETTINGS, lora_settings(model, config, base_name, name))


def load_adapter(model: nn.Module, folder: Path, name: str = DEFAULT) -> None:
    """Hang an adapter of any kind from disk on the model and make it the active one.

    Raises:
        ModelError: no adapter, one with options we do not compute, or one for another base.
    """
    tuner = TUNERS[tuner_of(folder)]
    if tuner.trains_base:
        raise ModelError(
            f"{folder} holds changed weights of its base, not an adapter beside it",
            "It cannot share a base with others.",
        )
    unload(model, name)
    tuner.load(model, folder, name)


def fold_in(model: nn.Module, folder: Path) -> None:
    """Make what a tuned model's folder holds a lasting part of the model.

    LoRA and IA³ are written into the weights, full and freeze replace them, prefixes and
    bottlenecks stay beside them and always work.

    Raises:
        ModelError: as ``load_adapter``.
    """
    tuner = TUNERS[tuner_of(folder)]
    tuner.load(model, folder, _FOLDED)
    if not tuner.trains_base:
        fold_adapter(model, _FOLDED)


def load_foundation(
    foundation: Foundation, device: torch.device, dtype: torch.dtype
) -> PreTrainedModel:
    """A base's weights with the tuned models that are part of them.

    Raises:
        ModelError: files that are damaged or do not belong together.
    """
    model = load_model(foundation.base, device, dtype)
    for folder in foundation.folded:
        fold_in(model, folder)
    return model


def adapter_parameters(model: nn.Module, name: str = DEFAULT) -> dict[str, nn.Parameter]:
    """The adapter's tensors under their names on disk, in the model's order."""
    return adapter_tensors(model, name)


def set_active(model: nn.Module, name: str | None) -> None:
    """Let the named adapter answer; None is the bare base.

    Raises:
        ConfigError: no such adapter.
    """
    activate(model, name)


def unload(model: nn.Module, name: str) -> None:
    """Forget one adapter; if it was active, the bare base answers."""
    for path, slot in list(slots(model)):
        if name in slot.parts:
            del slot.parts[name]
        if slot.active == name:
            slot.active = None
        unwrap_idle(model, path, slot)


def detach(model: nn.Module) -> None:
    """Take every adapter off and put the plain layers back."""
    for path, slot in list(slots(model)):
        slot.parts.clear()
        slot.active = None
        if isinstance(slot, AdaptedLinear):
            replace_module(model, path, slot.base)


def read_adapter_tensors(folder: Path) -> dict[str, Tensor]:
    """Everything trained in a tuned model's folder by its name on disk, checked.

    Raises:
        ModelError: missing or damaged.
    """
    return read_trained(folder)
