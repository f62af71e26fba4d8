"""How llama.cpp names a model's tensors and sizes, for the architectures that it and we know."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import torch
from gguf import GGUFWriter, RopeScalingType
from torch import Tensor

from tunewright.core.errors import ModelError

_LAYER = re.compile(r"model\.layers\.(\d+)\.(.+)\.(weight|bias)")
_BLOCK = re.compile(r"blk\.(\d+)\.(\w+)\.(weight|bias)")
_TOP = {
    "model.embed_tokens.weight": "token_embd.weight",
    "model.norm.weight": "output_norm.weight",
    "lm_head.weight": "output.weight",
}
_INNER = {
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
_KEYS = {
    "vocab_size": "vocab_size",
    "max_position_embeddings": "context_length",
    "hidden_size": "embedding_length",
    "num_hidden_layers": "block_count",
    "intermediate_size": "feed_forward_length",
    "num_attention_heads": "attention.head_count",
    "num_key_value_heads": "attention.head_count_kv",
    "rms_norm_eps": "attention.layer_norm_rms_epsilon",
    "head_dim": "attention.key_length",
}
ROPE_FACTORS = "rope_freqs.weight"


@dataclass(frozen=True)
class Architecture:
    """One architecture of llama.cpp.

    Attributes:
        name: as llama.cpp calls it.
        interleaved: whether it rotates neighbouring channels, so that the rows of queries and
            keys are reordered.
    """

    name: str
    interleaved: bool = False


ARCHITECTURES: Mapping[str, Architecture] = MappingProxyType(
    {
        "llama": Architecture("llama", interleaved=True),
        "qwen2": Architecture("qwen2"),
        "qwen3": Architecture("qwen3"),
    }
)
"""By ``model_type`` of the base's config; a new one is one entry."""


def architecture_of(config: Mapping[str, Any]) -> Architecture:
    """The architecture of a base's ``config.json``.

    Raises:
        ModelError: one that is not written as GGUF here, or with options that llama.cpp does not
            compute for it.
    """
    found = ARCHITECTURES.get(str(config.get("model_type")))
    if found is None:
        raise ModelError(
            f"GGUF is not written for model_type {config.get('model_type')!r};"
            f" known: {', '.join(ARCHITECTURES)}",
            "Export --to merged and use llama.cpp's convert_hf_to_gguf.py.",
        )
    if config.get("use_sliding_window") or _rope(config)["rope_type"] not in _SCALINGS:
        raise ModelError(
            "GGUF is not written for sliding windows and for rotary scaling other than"
            f" {', '.join(_SCALINGS)}",
            "Export --to merged and use llama.cpp's convert_hf_to_gguf.py.",
        )
    return found


def tensor_name(name: str) -> str:
    """llama.cpp's name of a base's tensor.

    Raises:
        ModelError: one that its architecture does not have.
    """
    if name in _TOP:
        return _TOP[name]
    match = _LAYER.fullmatch(name)
    if match is None or match[2] not in _INNER:
        raise ModelError(f"llama.cpp has no place for tensor {name!r}", "Export --to merged.")
    return f"blk.{match[1]}.{_INNER[match[2]]}.{match[3]}"


def base_name(name: str) -> str:
    """The base's name of a tensor of llama.cpp.

    Raises:
        ModelError: one that we do not write.
    """
    top = {ours: theirs for theirs, ours in _TOP.items()}
    if name in top:
        return top[name]
    match = _BLOCK.fullmatch(name)
    inner = {ours: theirs for theirs, ours in _INNER.items()}
    if match is None or match[2] not in inner:
        raise ModelError(f"tensor {name!r} of the GGUF file is not known")
    return f"model.layers.{match[1]}.{inner[match[2]]}.{match[3]}"


def arranged(
    architecture: Architecture, config: Mapping[str, Any], name: str, tensor: Tensor
) -> Tensor:
    """A tensor as llama.cpp wants its rows.

    transformers rotates channel i with channel i + d/2 of a head; llama.cpp's ``llama`` rotates
    neighbours, so that the rows of queries and keys change places.
    """
    heads = _rotated_heads(architecture, config, name)
    if heads is None:
        return tensor
    halves = tensor.reshape(heads, 2, tensor.shape[0] // heads // 2, *tensor.shape[1:])
    return halves.transpose(1, 2).reshape(tensor.shape)


def restored(
    architecture: Architecture, config: Mapping[str, Any], name: str, tensor: Tensor
) -> Tensor:
    """The inverse of ``arranged``."""
    heads = _rotated_heads(architecture, config, name)
    if heads is None:
        return tensor
    pairs = tensor.reshape(heads, tensor.shape[0] // heads // 2, 2, *tensor.shape[1:])
    return pairs.transpose(1, 2).reshape(tensor.shape)


def _rotated_heads(architecture: Architecture, config: Mapping[str, Any], name: str) -> int | None:
    """How many heads' rows change places; None where none do."""
    kind = name.rsplit(".", 2)[-2]
    if not architecture.interleaved or kind not in ("q_proj", "k_proj"):
        return None
    heads = int(config["num_attention_heads"])
    return heads if kind == "q_proj" else int(config.get("num_key_value_heads") or heads)


def rope_factors(config: Mapping[str, Any]) -> Tensor | None:
    """What llama.cpp divides each frequency by, for Llama 3's scaling; None for others.

    Llama 3.1 (Grattafiori et al. 2024, arXiv 2407.21783, §3.4.1): long wavelengths are scaled,
    short ones kept, those between blended.
    """
    rope = _rope(config)
    if rope["rope_type"] != "llama3":
        return None
    size = _head_size(config)
    frequencies = rope["rope_theta"] ** -(torch.arange(0, size, 2).double() / size)
    wavelengths = 2 * math.pi / frequencies
    low, high = float(rope["low_freq_factor"]), float(rope["high_freq_factor"])
    positions = float(rope["original_max_position_embeddings"])
    smooth = ((positions / wavelengths - low) / (high - low)).clamp(0, 1)
    factors: Tensor = 1 / ((1 - smooth) / float(rope["factor"]) + smooth)
    return factors.float()


def write_sizes(writer: GGUFWriter, config: Mapping[str, Any], context: int) -> None:
    """Sizes and constants, under llama.cpp's keys; ``context`` is the most positions."""
    rope = _rope(config)
    heads = config["num_attention_heads"]
    writer.add_context_length(context)
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(heads)
    writer.add_head_count_kv(config.get("num_key_value_heads") or heads)
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_rope_freq_base(float(rope["rope_theta"]))
    writer.add_rope_dimension_count(_head_size(config))
    writer.add_key_length(_head_size(config))
    writer.add_value_length(_head_size(config))
    writer.add_vocab_size(config["vocab_size"])
    _SCALINGS[rope["rope_type"]](writer, rope)


def read_sizes(fields: Mapping[str, Any], tensors: Collection[str]) -> dict[str, Any]:
    """A base's ``config.json`` by what a file says.

    Args:
        fields: of the file.
        tensors: names of its tensors; what biases and heads there are shows there.
    """
    name = fields["general.architecture"]
    if name not in ARCHITECTURES:
        raise ModelError(f"architecture {name!r} of the GGUF file is not known")
    config = {ours: fields[f"{name}.{key}"] for ours, key in _KEYS.items()}
    rope: dict[str, Any] = {"rope_type": "default", "rope_theta": fields[f"{name}.rope.freq_base"]}
    if f"{name}.rope.scaling.factor" in fields:
        rope |= {"rope_type": "linear", "factor": fields[f"{name}.rope.scaling.factor"]}
    return {
        **config,
        "model_type": name,
        "architectures": [f"{name.capitalize()}ForCausalLM"],
        "rope_parameters": rope,
        "attention_bias": "blk.0.attn_q.bias" in tensors,
        "mlp_bias": "blk.0.ffn_up.bias" in tensors,
        "tie_word_embeddings": "output.weight" not in tensors,
    }


def _linear(writer: GGUFWriter, rope: Mapping[str, Any]) -> None:
    writer.add_rope_scaling_type(RopeScalingType.LINEAR)
    writer.add_rope_scaling_factor(float(rope["factor"]))


def _nothing(writer: GGUFWriter, rope: Mapping[str, Any]) -> None:
    """Llama 3's factors are a tensor; the default needs none."""


_SCALINGS: Mapping[str, Callable[[GGUFWriter, Mapping[str, Any]], None]] = MappingProxyType(
    {"default": _nothing, "linear": _linear, "llama3": _nothing}
)


def _rope(config: Mapping[str, Any]) -> dict[str, Any]:
    """Rotary settings, from where newer and older configs keep them."""
    old = config.get("rope_scaling") or {}
    found = {"rope_theta": config.get("rope_theta") or 10000.0, **old}
    found |= config.get("rope_parameters") or {}
    found["rope_type"] = found.get("rope_type") or found.get("type") or "default"
    return found


def _head_size(config: Mapping[str, Any]) -> int:
    return int(config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"])
