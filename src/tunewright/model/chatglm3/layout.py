"""ChatGLM3's tensors under the names and in the pieces of transformers' GLM.

No value changes: the fused projection of queries, keys and values is divided between rows, all
else only gets another name. So every tensor of the one layout is a range of bytes of the other.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from tunewright.core.errors import ModelError
from tunewright.model.weights import StoredTensor

FUSED = "query_key_value"
_LAYER = re.compile(r"encoder\.layers\.(\d+)\.(.+)")
_TOP = {
    "embedding.word_embeddings": "model.embed_tokens",
    "encoder.final_layernorm": "model.norm",
    "output_layer": "lm_head",
}
_INNER = {
    "input_layernorm": "input_layernorm",
    "post_attention_layernorm": "post_attention_layernorm",
    "self_attention.dense": "self_attn.o_proj",
    "mlp.dense_h_to_4h": "mlp.gate_up_proj",
    "mlp.dense_4h_to_h": "mlp.down_proj",
}
_DROPPED = "rotary_pos_emb.inv_freq"  # computed from the config


def layer_parts(path: str, config: Mapping[str, Any]) -> list[tuple[str, int]] | None:
    """GLM's layers that a layer of ChatGLM3 becomes, with the rows of each, in order.

    Args:
        path: the layer's name, e.g. ``transformer.encoder.layers.0.mlp.dense_4h_to_h``.
        config: of GLM.

    Returns:
        One name with 0 rows (all of them), three for the fused projection, or None when ChatGLM3
        has no such layer.
    """
    path = path.removeprefix("transformer.")
    if path in _TOP:
        return [(_TOP[path], 0)]
    match = _LAYER.fullmatch(path)
    if match is None or int(match[1]) >= config["num_hidden_layers"]:
        return None
    block = f"model.layers.{int(match[1])}"
    if match[2] == f"self_attention.{FUSED}":
        keys = config["num_key_value_heads"] * config["head_dim"]
        rows = (config["num_attention_heads"] * config["head_dim"], keys, keys)
        names = ("q_proj", "k_proj", "v_proj")
        return [(f"{block}.self_attn.{n}", r) for n, r in zip(names, rows, strict=True)]
    inner = _INNER.get(match[2])
    return None if inner is None else [(f"{block}.{inner}", 0)]


def native_tensors(
    tensors: Mapping[str, StoredTensor], config: Mapping[str, Any]
) -> dict[str, StoredTensor]:
    """The tensors of a file as GLM names and divides them.

    Raises:
        ModelError: a tensor that ChatGLM3 does not have, or one of another shape.
    """
    found: dict[str, StoredTensor] = {}
    for name, tensor in tensors.items():
        if name.removeprefix("transformer.") != _DROPPED:
            found |= _pieces(name, tensor, config)
    shapes = dict(expected_shapes(config))
    for name, tensor in found.items():
        if tensor.shape != shapes.get(name):
            raise ModelError(
                f"{tensor.file}: {name} has the shape {list(tensor.shape)}, its config.json asks"
                f" for {list(shapes.get(name, ()))}",
                "Its files do not belong together; fetch them again.",
            )
    return found


def _pieces(
    name: str, tensor: StoredTensor, config: Mapping[str, Any]
) -> Iterator[tuple[str, StoredTensor]]:
    path, _, kind = name.rpartition(".")
    parts = layer_parts(path, config)
    if parts is None:
        raise ModelError(
            f"{tensor.file}: tensor {name!r} is not one of ChatGLM3-6B",
            "Quantised copies and prefixes of older scripts are not read; use the published model.",
        )
    first = 0
    for part, rows in parts:
        if rows and first + rows > (tensor.shape or (0,))[0]:
            raise ModelError(f"{tensor.file}: {name} has too few rows, {list(tensor.shape)}")
        yield f"{part}.{kind}", tensor.rows(first, first + rows) if rows else tensor
        first += rows
    if first and first != tensor.shape[0]:
        raise ModelError(f"{tensor.file}: {name} has {tensor.shape[0]} rows, not {first}")


def expected_shapes(config: Mapping[str, Any]) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Every tensor that GLM needs, with its shape."""
    hidden, inner, vocabulary = (
        config[key] for key in ("hidden_size", "intermediate_size", "vocab_size")
    )
    queries = config["num_attention_heads"] * config["head_dim"]
    keys = config["num_key_value_heads"] * config["head_dim"]
    yield "model.embed_tokens.weight", (vocabulary, hidden)
    yield "model.norm.weight", (hidden,)
    yield "lm_head.weight", (vocabulary, hidden)
    for number in range(config["num_hidden_layers"]):
        block = f"model.layers.{number}"
        for name, rows in (("q_proj", queries), ("k_proj", keys), ("v_proj", keys)):
            yield f"{block}.self_attn.{name}.weight", (rows, hidden)
            yield f"{block}.self_attn.{name}.bias", (rows,)
        yield f"{block}.self_attn.o_proj.weight", (hidden, queries)
        yield f"{block}.mlp.gate_up_proj.weight", (2 * inner, hidden)
        yield f"{block}.mlp.down_proj.weight", (hidden, inner)
        yield f"{block}.input_layernorm.weight", (hidden,)
        yield f"{block}.post_attention_layernorm.weight", (hidden,)
