"""Sizes and constants of a model under llama.cpp's keys, and read back from them."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from gguf import GGUFWriter

from tunewright.core.errors import ModelError
from tunewright.export.gguf.architecture import CONVERT, Architecture, architecture_read
from tunewright.export.gguf.rotary import (
    check_rotary,
    read_rotary,
    trained_positions,
    write_rotary,
)

_SIZES = {
    "vocab_size": "vocab_size",
    "hidden_size": "embedding_length",
    "num_hidden_layers": "block_count",
    "intermediate_size": "feed_forward_length",
    "num_attention_heads": "attention.head_count",
    "num_key_value_heads": "attention.head_count_kv",
}
_NUMBERS = {"rms_norm_eps": "attention.layer_norm_rms_epsilon"}
_CONTEXT, _KEYS, _VALUES = "context_length", "attention.key_length", "attention.value_length"
_WINDOW, _PERIOD = "attention.sliding_window", "attention.sliding_window_pattern"
# Where llama.cpp scales scores by the size of a layer instead of that of a head.
_BY_LAYER = MappingProxyType({"gemma2": 46, "gemma3": 62})


def check_sizes(architecture: Architecture, config: Mapping[str, Any]) -> None:
    """Refuse what llama.cpp would compute otherwise.

    Raises:
        ModelError: rotation, windows or scaling of scores that it does not know.
    """
    check_rotary(architecture, config)
    if architecture.windows:
        _period(config)
    head, heads = head_size(config), int(config["num_attention_heads"])
    if architecture.square and heads * head != config["hidden_size"]:
        raise ModelError(
            f"llama.cpp computes {architecture.name} only where heads × channels"
            f" ({heads} × {head}) are the hidden size ({config['hidden_size']})",
            CONVERT,
        )
    layers = int(config["num_hidden_layers"])
    if architecture.name in _BY_LAYER and layers == _BY_LAYER[architecture.name]:
        head = int(config["hidden_size"]) // heads
    if config.get("query_pre_attn_scalar", head) != head:
        raise ModelError(
            f"llama.cpp scales the scores of {architecture.name} by {head}, this base by"
            f" {config['query_pre_attn_scalar']}",
            CONVERT,
        )


def reach(architecture: Architecture, config: Mapping[str, Any], context: int) -> int:
    """Positions within which llama.cpp computes what the base computes.

    It sees the whole text where the base has a sliding window that llama.cpp's architecture lacks;
    within the window both are the same. Longrope's factors for long texts it takes by the context
    that it was started with, not by the text.
    """
    context = min(context, trained_positions(config) or context)
    window = config.get("sliding_window")
    if architecture.windows or not window or config.get("use_sliding_window") is False:
        return context
    return min(context, int(window))


def head_size(config: Mapping[str, Any]) -> int:
    """Channels of an attention head."""
    return int(config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"])


def write_sizes(
    writer: GGUFWriter, architecture: Architecture, config: Mapping[str, Any], context: int
) -> None:
    """Put sizes and constants under llama.cpp's keys; ``context`` is the most positions."""
    own = {**config, "num_key_value_heads": config.get("num_key_value_heads")
           or config["num_attention_heads"]}  # fmt: skip
    for ours, key in {**_SIZES, **architecture.sizes}.items():
        writer.add_uint32(f"{architecture.name}.{key}", int(own[ours]))
    for ours, key in {**_NUMBERS, **architecture.numbers}.items():
        writer.add_float32(f"{architecture.name}.{key}", float(own[ours] or 0.0))
    for key, size in ((_CONTEXT, context), (_KEYS, head_size(own)), (_VALUES, head_size(own))):
        writer.add_uint32(f"{architecture.name}.{key}", size)
    if architecture.windows:
        writer.add_uint32(f"{architecture.name}.{_WINDOW}", int(config["sliding_window"]))
        writer.add_uint32(f"{architecture.name}.{_PERIOD}", _period(config))
    write_rotary(writer, config, head_size(own))


def read_sizes(fields: Mapping[str, Any], tensors: Mapping[str, Any]) -> dict[str, Any]:
    """A base's ``config.json`` by what a file says.

    Args:
        fields: of the file.
        tensors: of the file, by name; what biases and heads there are shows there.

    Raises:
        ModelError: an architecture that we do not write, or a missing size.
    """
    architecture = architecture_read(fields)

    def get(key: str) -> Any:
        name = f"{architecture.name}.{key}"
        if name not in fields:
            raise ModelError(f"the GGUF file lacks {name}")
        return fields[name]

    config = {ours: get(key) for ours, key in {**_SIZES, **architecture.sizes}.items()}
    config |= {ours: get(key) for ours, key in {**_NUMBERS, **architecture.numbers}.items()}
    config |= architecture.fixed
    if architecture.windows:
        config |= {"sliding_window": get(_WINDOW), "query_pre_attn_scalar": get(_KEYS)}
        full = get(_PERIOD)
        config["layer_types"] = [
            "sliding_attention" if (n + 1) % full else "full_attention"
            for n in range(config["num_hidden_layers"])
        ]
    return {
        **config,
        "model_type": architecture.model_type,
        "max_position_embeddings": get(_CONTEXT),
        "head_dim": get(_KEYS),
        "rope_parameters": read_rotary(get, fields, tensors, architecture),
        "attention_bias": "blk.0.attn_q.bias" in tensors,
        "mlp_bias": "blk.0.ffn_up.bias" in tensors,
        "tie_word_embeddings": "output.weight" not in tensors,
    }


def _period(config: Mapping[str, Any]) -> int:
    """Every how many layers one has no window.

    Raises:
        ModelError: they do not lie at even distances.
    """
    full = [kind == "full_attention" for kind in config["layer_types"]]
    period = full.index(True) + 1 if True in full else len(full) + 1
    if full != [(n + 1) % period == 0 for n in range(len(full))]:
        raise ModelError("llama.cpp knows layers without a window at even distances only", CONVERT)
    return period


def notes_on(config: Mapping[str, Any], reached: int, context: int) -> tuple[str, ...]:
    """What a user should know where ``reach`` is less than the base's own context."""
    if reached == context:
        return ()
    if reached == trained_positions(config):
        return (
            f"The file names {reached:,} tokens as its context. Started with more, llama.cpp"
            " rotates every text by the factors for long ones, the tuned model only those that are"
            " longer.",
        )
    return (
        f"llama.cpp computes no sliding window for this architecture. Up to {reached:,} tokens it"
        " makes no difference; beyond them the answers are not those of the tuned model. The file"
        f" names {reached:,} as its context.",
    )
