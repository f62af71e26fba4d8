"""ChatGLM3's ``config.json`` as that of transformers' GLM, whose arithmetic is the same.

Both rotate interleaved pairs of the first half of each head's channels, share keys and values
between groups of queries, normalise by RMS before attention and before a gated MLP, and have
biases on queries, keys and values only. ChatGLM3's scaling by layer number cancels out.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tunewright.core.errors import ModelError

END, USER, OBSERVATION = 2, 64795, 64797
"""Token ids that end an answer: end of text, or whoever speaks next."""
_THETA = 10_000.0
_LARGEST, _MOST_LAYERS = 2**26, 1000
_READ = "ChatGLM3-6B, -base and -32k are read, in their published precision."
_FIXED: dict[str, Any] = {
    "add_bias_linear": False,
    "add_qkv_bias": True,
    "apply_residual_connection_post_layernorm": False,
    "fp32_residual_connection": False,
    "multi_query_attention": True,
    "original_rope": True,
    "post_layer_norm": True,
    "rmsnorm": True,
    "tie_word_embeddings": False,
    "quantization_bit": 0,
    "pre_seq_len": None,
}
"""Options that change the arithmetic or the weights, as every ChatGLM3 has them."""
_SIZES = {
    "vocab_size": "padded_vocab_size",
    "hidden_size": "hidden_size",
    "intermediate_size": "ffn_hidden_size",
    "num_hidden_layers": "num_layers",
    "num_attention_heads": "num_attention_heads",
    "num_key_value_heads": "multi_query_group_num",
    "head_dim": "kv_channels",
    "max_position_embeddings": "seq_length",
}


def native_config(config: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """The ``config.json`` of the same model for ``GlmForCausalLM``.

    Args:
        config: of ChatGLM3.
        path: the file that it is from, for messages.

    Raises:
        ModelError: a size is missing or wrong, or the model computes in another way.
    """
    if "chatglm2" in str(config.get("_name_or_path")).lower():
        raise ModelError(f"{path} is of ChatGLM2, which talks in another format", _READ)
    for key, value in _FIXED.items():
        given = config.get(key, value)
        if given != value and not (key == "quantization_bit" and not given):
            raise ModelError(
                f"{path}: {key}={given!r} is not how ChatGLM3-6B computes ({value!r})",
                _READ,
            )
    sizes = {ours: _size(config, theirs, path) for ours, theirs in _SIZES.items()}
    if sizes["num_attention_heads"] % sizes["num_key_value_heads"]:
        raise ModelError(f"{path}: its query heads cannot be divided among its key heads")
    return {
        "architectures": ["GlmForCausalLM"],
        "model_type": "glm",
        **sizes,
        "hidden_act": "silu",
        "attention_bias": True,
        "attention_dropout": 0.0,
        "rms_norm_eps": _number(config, "layernorm_epsilon", 1e-5, path),
        "tie_word_embeddings": False,
        "rope_parameters": {
            "rope_type": "default",
            # The variant for long texts stretches the base of the rotation.
            "rope_theta": _THETA * _number(config, "rope_ratio", 1.0, path),
            "partial_rotary_factor": 0.5,
        },
        "bos_token_id": None,
        "eos_token_id": [END, USER, OBSERVATION],
        "pad_token_id": 0,
        "use_cache": True,
        "dtype": str(config.get("torch_dtype") or "float16"),
    }


def _size(config: Mapping[str, Any], key: str, path: Path) -> int:
    value = config.get(key)
    most = _MOST_LAYERS if key == "num_layers" else _LARGEST
    if type(value) is not int or not 0 < value <= most:
        raise ModelError(
            f"{path}: {key} must be a whole number from 1 to {most:,}, not {value!r}",
            "Of the ChatGLM models the third generation (ChatGLM3-6B) is read.",
        )
    return value


def _number(config: Mapping[str, Any], key: str, default: float, path: Path) -> float:
    value = config.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or value <= 0:
        raise ModelError(f"{path}: {key} must be a number above 0, not {value!r}")
    return float(value)
