"""Full and freeze tuning: the base's own weights change.

Full trains every weight, freeze those of the last n blocks. The trained weights are kept in
float32 whatever the arithmetic of the passes is (Micikevicius et al. 2018, arXiv 1710.03740): an
update is often smaller than bfloat16's rounding. A folder holds

- ``weights.json``: ``{"tuner": "full" or "freeze", "format": 1, "base", "base_digest"}``,
- ``weights-00001-of-0000n.safetensors``: the changed weights by their names in the base, float32.

Such a model cannot share its base with others in memory.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import nn

from tunewright.config.training import TrainConfig
from tunewright.core.errors import ConfigError, ModelError
from tunewright.model.catalog import Base
from tunewright.model.tuners.base import DEFAULT, Trained, Tuner
from tunewright.model.tuners.files import WEIGHTS_SETTINGS, read_settings
from tunewright.model.tuners.slots import base_parameters
from tunewright.model.tuners.targets import blocks
from tunewright.model.tuners.tensors import SHARD_BYTES, read_tensors, tensor_files, write_shards

_FORMAT = 1


class WeightsTuner(Tuner):
    """What full and freeze share: the trained weights are those that require a gradient."""

    settings_file: ClassVar[str] = WEIGHTS_SETTINGS
    trains_base: ClassVar[bool] = True
    kind: ClassVar[str]

    def settings(self, model: nn.Module, config: TrainConfig, base: Base) -> dict[str, Any]:
        """``weights.json``."""
        return {
            "tuner": self.kind,
            "format": _FORMAT,
            "base": base.name,
            "base_digest": base.digest,
        }

    def write_tensors(self, model: nn.Module, folder: Path, name: str = DEFAULT) -> None:
        """The changed weights, in shards of 4 GiB."""
        changed = {k: p for k, p in base_parameters(model).items() if p.requires_grad}
        write_shards(changed, folder, SHARD_BYTES)

    def load(self, model: nn.Module, folder: Path, name: str = DEFAULT) -> None:
        """Put the folder's weights over the model's own, one file at a time."""
        settings = read_settings(folder, WEIGHTS_SETTINGS)
        if settings.get("format") != _FORMAT:
            raise ModelError(
                f"{folder / WEIGHTS_SETTINGS}: format {settings.get('format')!r} is not known",
                "Update Tunewright.",
            )
        own = base_parameters(model)
        for path in tensor_files(folder):
            for key, tensor in read_tensors(path).items():
                weight = own.get(key)
                if weight is None or weight.shape != tensor.shape:
                    raise ModelError(
                        f"{path}: {key} {tuple(tensor.shape)} is not a weight of this base",
                        "It was made for another base.",
                    )
                weight.data.copy_(tensor)


class FullTuner(WeightsTuner):
    """Every weight."""

    kind: ClassVar[str] = "full"
    # Schulman et al. 2025, "LoRA Without Regret".
    rate: ClassVar[float] = 0.1

    def attach(self, model: nn.Module, config: TrainConfig, name: str = DEFAULT) -> Trained:
        """Make every weight trainable; adapters that were made fixed stay so."""
        own = base_parameters(model)
        return _train_only(model, own)


class FreezeTuner(WeightsTuner):
    """The last blocks' weights."""

    kind: ClassVar[str] = "freeze"
    # Between full tuning and adapters, as is the share of weights that learn.
    rate: ClassVar[float] = 0.3

    def attach(self, model: nn.Module, config: TrainConfig, name: str = DEFAULT) -> Trained:
        """Make the last blocks trainable."""
        every = blocks(model)
        count = config.freeze.blocks
        if count > len(every):
            raise ConfigError(
                f"option 'freeze.blocks': {count}, but this base has {len(every)} blocks",
                "tuner=full trains everything.",
            )
        starts = tuple(f"{path}." for path, _ in every[-count:])
        own = base_parameters(model)
        return _train_only(model, {k: p for k, p in own.items() if k.startswith(starts)})


def _train_only(model: nn.Module, chosen: dict[str, nn.Parameter]) -> Trained:
    model.requires_grad_(False)
    for parameter in chosen.values():
        parameter.requires_grad_(True)
        parameter.data = parameter.data.to(torch.float32)
    return Trained(chosen)
