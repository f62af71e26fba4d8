"""Rotary positions under llama.cpp's keys: base, channels, and the scalings that it computes."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import torch
from gguf import GGUFWriter, RopeScalingType
from torch import Tensor

from tunewright.core.errors import ModelError
from tunewright.export.gguf.architecture import CONVERT, Architecture

ROPE_FACTORS = "rope_freqs.weight"
LONG_FACTORS: Mapping[str, str] = MappingProxyType(
    {"long_factor": "rope_factors_long.weight", "short_factor": "rope_factors_short.weight"}
)
"""Settings of longrope → the tensors that hold them."""
_BASE, _BASE_WINDOWED = "rope.freq_base", "rope.freq_base_swa"
_CHANNELS, _FACTOR = "rope.dimension_count", "rope.scaling.factor"
_TRAINED, _STRENGTH = "rope.scaling.original_context_length", "rope.scaling.attn_factor"
_FULL, _WINDOWED = "full_attention", "sliding_attention"
_LONG = "longrope"


def check_rotary(architecture: Architecture, config: Mapping[str, Any]) -> None:
    """Refuse a scaling that is not written.

    Raises:
        ModelError: its name.
    """
    for rope in rotary(config).values():
        kind = rope["rope_type"]
        if kind not in _SCALINGS or (kind == _LONG and architecture.name != "phi3"):
            raise ModelError(
                f"GGUF is not written for rotary scaling {rope['rope_type']!r};"
                f" known: {', '.join(_SCALINGS)}",
                CONVERT,
            )
    windowed = rotary(config).get(_WINDOWED, {}).get("rope_type", "default")
    if windowed != "default" or (
        windowed_base(config) and _whole(config)["rope_type"] != "default"
    ):
        raise ModelError("GGUF is not written for rotary scaling beside windows", CONVERT)


def rotary(config: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Rotary settings by kind of layer, from where newer and older configs keep them."""
    given = config.get("rope_parameters") or {}
    if _FULL in given:
        return {kind: _settled(config, rope) for kind, rope in given.items() if rope}
    return {_FULL: _settled(config, given)}


def _settled(config: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    found = {"rope_theta": config.get("rope_theta") or 10000.0, "partial_rotary_factor": 1.0}
    found |= config.get("rope_scaling") or {}
    found |= given
    found["rope_type"] = found.get("rope_type") or found.get("type") or "default"
    return found


def _whole(config: Mapping[str, Any]) -> dict[str, Any]:
    return rotary(config)[_FULL]


def windowed_base(config: Mapping[str, Any]) -> float | None:
    """The base of layers with a window, where it is another."""
    rope = rotary(config).get(_WINDOWED)
    return None if rope is None else float(rope["rope_theta"])


def trained_positions(config: Mapping[str, Any]) -> int | None:
    """Positions up to which longrope's short factors hold; None for other scalings."""
    rope = _whole(config)
    return int(rope["original_max_position_embeddings"]) if rope["rope_type"] == _LONG else None


def factor_tensors(config: Mapping[str, Any], head: int) -> dict[str, Tensor]:
    """What frequencies are divided by, as tensors of the file; none for most scalings.

    Args:
        config: of the base.
        head: channels of a head.
    """
    rope = _whole(config)
    if rope["rope_type"] == _LONG:
        return {name: torch.tensor(rope[key]).float() for key, name in LONG_FACTORS.items()}
    factors = rope_factors(config, head)
    return {} if factors is None else {ROPE_FACTORS: factors}


def rope_factors(config: Mapping[str, Any], head: int) -> Tensor | None:
    """What llama.cpp divides each frequency by, for Llama 3's scaling; None for others.

    Llama 3.1 (Grattafiori et al. 2024, arXiv 2407.21783, §3.4.1): long wavelengths are scaled,
    short ones kept, those between blended.

    Args:
        config: of the base.
        head: channels of a head.

    Returns:
        (head / 2,)
    """
    rope = _whole(config)
    if rope["rope_type"] != "llama3":
        return None
    frequencies = rope["rope_theta"] ** -(torch.arange(0, head, 2).double() / head)
    wavelengths = 2 * math.pi / frequencies
    low, high = float(rope["low_freq_factor"]), float(rope["high_freq_factor"])
    positions = float(rope["original_max_position_embeddings"])
    smooth = ((positions / wavelengths - low) / (high - low)).clamp(0, 1)
    factors: Tensor = 1 / ((1 - smooth) / float(rope["factor"]) + smooth)
    return factors.float()


def write_rotary(writer: GGUFWriter, config: Mapping[str, Any], head: int) -> None:
    """Put base, rotated channels of a head, and scaling under llama.cpp's keys."""
    rope, windowed = _whole(config), windowed_base(config)
    writer.add_rope_freq_base(float(rope["rope_theta"]))
    if windowed is not None:
        writer.add_rope_freq_base_swa(windowed)
    writer.add_rope_dimension_count(int(head * rope["partial_rotary_factor"]))
    _SCALINGS[rope["rope_type"]](writer, {"positions": config["max_position_embeddings"], **rope})


def read_rotary(
    get: Callable[[str], Any],
    fields: Mapping[str, Any],
    tensors: Mapping[str, Any],
    architecture: Architecture,
) -> dict[str, Any]:
    """``rope_parameters`` by what a file says.

    Args:
        get: a value of the architecture by its key.
        fields: all of the file.
        tensors: of the file, by name.
        architecture: of the file.
    """
    rope = {
        "rope_type": "default",
        "rope_theta": get(_BASE),
        "partial_rotary_factor": get(_CHANNELS) / get("attention.key_length"),
    }
    if f"{architecture.name}.{_FACTOR}" in fields:
        rope |= {"rope_type": "linear", "factor": get(_FACTOR)}
    if all(name in tensors for name in LONG_FACTORS.values()):
        rope |= {key: tensors[name].data.tolist() for key, name in LONG_FACTORS.items()}
        rope |= {"rope_type": _LONG, "original_max_position_embeddings": get(_TRAINED),
                 "attention_factor": get(_STRENGTH)}  # fmt: skip
    if f"{architecture.name}.{_BASE_WINDOWED}" in fields:
        return {_FULL: rope, _WINDOWED: {**rope, "rope_theta": get(_BASE_WINDOWED)}}
    return rope


def _linear(writer: GGUFWriter, rope: Mapping[str, Any]) -> None:
    writer.add_rope_scaling_type(RopeScalingType.LINEAR)
    writer.add_rope_scaling_factor(float(rope["factor"]))


def _longrope(writer: GGUFWriter, rope: Mapping[str, Any]) -> None:
    """LongRoPE (Ding et al. 2024, arXiv 2402.13753): sharper attention for longer texts."""
    trained = int(rope["original_max_position_embeddings"])
    longer = float(rope.get("factor") or rope["positions"] / trained)
    strength = math.sqrt(1 + math.log(longer) / math.log(trained)) if longer > 1 else 1.0
    writer.add_rope_scaling_orig_ctx_len(trained)
    writer.add_rope_scaling_attn_factors(float(rope.get("attention_factor") or strength))


def _nothing(writer: GGUFWriter, rope: Mapping[str, Any]) -> None:
    """Llama 3's factors are a tensor; the default needs none."""


_SCALINGS: Mapping[str, Callable[[GGUFWriter, Mapping[str, Any]], None]] = MappingProxyType(
    {"default": _nothing, "linear": _linear, "llama3": _nothing, _LONG: _longrope}
)
