"""What the adapters that we keep in the PEFT library's format have in common."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from tunewright.core.errors import ModelError
from tunewright.model.tuners.slots import AdaptedLinear, plain_linear

PREFIX = "base_model.model."
"""What PEFT puts before the names of the model's layers."""


def settings_head(kind: str, base_name: str) -> dict[str, Any]:
    """The entries that every ``adapter_config.json`` begins with."""
    return {
        "peft_type": kind,
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base_name,
        "revision": None,
        "inference_mode": True,
    }


def refuse_options(settings: Mapping[str, Any], plain: Mapping[str, Any], path: Path) -> None:
    """Refuse settings that change the arithmetic in ways we do not compute.

    Raises:
        ModelError: naming the first.
    """
    for key, value in plain.items():
        if settings.get(key) not in (value, None):
            raise ModelError(
                f"{path}: option {key}={settings[key]!r} is not supported",
                f"Only {key}={value!r} is.",
            )


def layer_of(layers: Mapping[str, nn.Linear | AdaptedLinear], path: str, folder: Path) -> nn.Linear:
    """The base's layer that a tensor is for.

    Raises:
        ModelError: when the base has no such layer.
    """
    layer = layers.get(path)
    if layer is None:
        raise ModelError(
            f"adapter {folder} adapts {path}, which this base does not have",
            "It was made for another base.",
        )
    return plain_linear(layer)
