"""What a base is made of, told by its ``config.json`` alone: no weight is read, no torch loaded.

Decoders of one build: embedding, blocks of attention (grouped queries, Ainslie et al. 2023, arXiv
2305.13245, or through low ranks, DeepSeek-AI 2024, arXiv 2405.04434 §2.1) and a gated MLP (Shazeer
2020, arXiv 2002.05202) or experts of which each token meets a few, RMS norms, output head.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tunewright.core.errors import ModelError
from tunewright.model.shape import Linear, Role, Shape

__all__ = ["Linear", "Role", "Shape", "known_families", "shape_of"]


@dataclass(frozen=True)
class _Family:
    """How one ``model_type`` differs from the others; names are keys of its config.

    Attributes:
        qkv_bias: whether queries, keys and values have biases, where the config is silent.
        output_bias: whether the attention's output has one too when they have.
        fixed_bias: whether the config's ``attention_bias`` counts for nothing.
        mlp_bias: whether the config's ``mlp_bias`` counts.
        fused_qkv: queries, keys and values are one layer.
        fused_gate: gate and up projection are one layer.
        norms: norms of the residual stream in one block.
        head_norms: queries and keys are normalised per head.
        head_dim: channels per head where the config is silent; 0 is hidden / heads.
        kv_heads: heads of keys and values where the config is silent; 0 is as many as queries.
        tied: whether the head is the embedding where the config is silent.
        experts: keys of the config that tell experts apart, see ``_Experts``.
        ranks: whether attention goes through low ranks.
    """

    qkv_bias: bool = False
    output_bias: bool = True
    fixed_bias: bool = False
    mlp_bias: bool = False
    fused_qkv: bool = False
    fused_gate: bool = False
    norms: int = 2
    head_norms: bool = False
    head_dim: int = 0
    kv_heads: int = 0
    tied: bool = False
    experts: _Experts | None = None
    ranks: bool = False


@dataclass(frozen=True)
class _Experts:
    """How a family's config counts experts; numbers hold where it is silent.

    Attributes:
        count: how many.
        per_token: how many a token meets.
        inner: channels inside one; 0 is the config's ``intermediate_size``.
        shared: how many more every token meets.
        first_dense: how many of the first blocks have an MLP instead.
    """

    count: int
    per_token: int
    inner: int = 0
    shared: int = 0
    first_dense: int = 0


_GEMMA = _Family(head_dim=256, kv_heads=16, tied=True)
_GLM = _Family(qkv_bias=True, output_bias=False, fused_gate=True, head_dim=128, kv_heads=2)
_FAMILIES: dict[str, _Family] = {
    "llama": _Family(mlp_bias=True),
    "granite": _Family(mlp_bias=True),
    "mistral": _Family(fixed_bias=True, kv_heads=8),
    "qwen2": _Family(qkv_bias=True, output_bias=False, fixed_bias=True, kv_heads=32),
    "qwen3": _Family(head_norms=True, head_dim=128, kv_heads=32),
    "smollm3": _Family(mlp_bias=True, kv_heads=4, tied=True),
    "glm": _GLM,
    # Its weights load as GLM's, with queries, keys and values divided.
    "chatglm": _GLM,
    "glm4": _Family(
        qkv_bias=True, output_bias=False, fused_gate=True, norms=4, head_dim=128, kv_heads=2
    ),
    "gemma": _GEMMA,
    "gemma2": _Family(norms=4, head_dim=256, kv_heads=4, tied=True),
    "gemma3_text": _Family(norms=4, head_norms=True, head_dim=256, kv_heads=4, tied=True),
    "phi3": _Family(fixed_bias=True, fused_qkv=True, fused_gate=True),
    "internlm3": _Family(mlp_bias=True, head_dim=128, kv_heads=2),
    "mixtral": _Family(fixed_bias=True, kv_heads=8, experts=_Experts(8, 2)),
    "qwen3_moe": _Family(head_norms=True, kv_heads=4, experts=_Experts(128, 8, inner=768)),
    "deepseek_v2": _Family(mlp_bias=True, ranks=True, experts=_Experts(64, 6, 1407, shared=2)),
    "deepseek_v3": _Family(
        ranks=True,
        experts=_Experts(256, 8, inner=2048, shared=1, first_dense=3),
    ),
}

# What configs call the number of experts; the library takes each for the other.
_COUNTS = ("num_experts", "num_local_experts", "n_routed_experts")
# ChatGLM's own names → those of everybody else.
_CHATGLM_KEYS = {
    "ffn_hidden_size": "intermediate_size",
    "num_layers": "num_hidden_layers",
    "padded_vocab_size": "vocab_size",
    "kv_channels": "head_dim",
    "multi_query_group_num": "num_key_value_heads",
    "add_qkv_bias": "attention_bias",
    "seq_length": "max_position_embeddings",
}


def known_families() -> tuple[str, ...]:
    """Every ``model_type`` whose sizes can be told."""
    return tuple(_FAMILIES)


def shape_of(config: Mapping[str, Any]) -> Shape:
    """Sizes of a base.

    Args:
        config: its ``config.json``.

    Raises:
        ModelError: an architecture that is not known here, or a size that is missing or no number.
    """
    name = str(config.get("model_type"))
    family = _FAMILIES.get(name)
    if family is None:
        raise ModelError(
            f"the sizes of a {name} model cannot be told from its config",
            f"Known: {', '.join(_FAMILIES)}. Training may work all the same.",
        )
    keys = _plain(config) if name == "chatglm" else config
    shape = _sizes(keys, family)
    layers = _size(keys, "num_hidden_layers")
    attention, dense = _attention(shape, family, keys), _mlp(shape.inner, shape, family, keys)
    found = Shape(
        family=name,
        layers=layers,
        hidden=shape.hidden,
        heads=shape.heads,
        kv_heads=shape.kv_heads,
        head_dim=shape.head_dim,
        inner=shape.inner,
        vocabulary=_size(keys, "vocab_size"),
        context=_size(keys, "max_position_embeddings", 2048),
        linears=(*attention, *dense),
        norms=family.norms,
        head_norms=family.head_norms,
        tied=bool(_given(keys, "tie_word_embeddings", family.tied)),
        rank_norms=shape.query_rank + shape.key_rank,
    )
    return _with_experts(found, attention, shape, family, keys) if family.experts else found


def _sizes(keys: Mapping[str, Any], family: _Family) -> _Sizes:
    hidden, heads = _size(keys, "hidden_size"), _size(keys, "num_attention_heads")
    inner = _size(keys, "intermediate_size")
    if not family.ranks:
        return _Sizes(
            hidden=hidden,
            heads=heads,
            kv_heads=_size(keys, "num_key_value_heads", family.kv_heads or heads),
            head_dim=_size(keys, "head_dim", family.head_dim or hidden // heads),
            inner=inner,
        )
    turned = _size(keys, "qk_rope_head_dim", 64)
    direct = "q_lora_rank" in keys and keys["q_lora_rank"] is None
    return _Sizes(
        hidden=hidden,
        heads=heads,
        kv_heads=heads,
        head_dim=_size(keys, "qk_nope_head_dim", 128) + turned,
        inner=inner,
        query_rank=0 if direct else _size(keys, "q_lora_rank", 1536),
        key_rank=_size(keys, "kv_lora_rank", 512),
        turned=turned,
        value_dim=_size(keys, "v_head_dim", 128),
    )


@dataclass(frozen=True)
class _Sizes:
    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    inner: int
    # Of attention through low ranks: ranks, channels of a key that are turned, those of a value.
    query_rank: int = 0
    key_rank: int = 0
    turned: int = 0
    value_dim: int = 0


def _attention(shape: _Sizes, family: _Family, keys: Mapping[str, Any]) -> list[Linear]:
    if family.ranks:
        return _ranked_attention(shape, bool(keys.get("attention_bias")))
    queries, others = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
    bias = family.qkv_bias
    if not family.fixed_bias:
        bias = bool(_given(keys, "attention_bias", family.qkv_bias))
    outputs = {"q_proj": queries, "k_proj": others, "v_proj": others}
    if family.fused_qkv:
        outputs = {"qkv_proj": queries + 2 * others}
    return [
        *(Linear(name, "attention", shape.hidden, size, bias) for name, size in outputs.items()),
        Linear("o_proj", "attention", queries, shape.hidden, bias and family.output_bias),
    ]


def _ranked_attention(shape: _Sizes, bias: bool) -> list[Linear]:
    queries = shape.heads * shape.head_dim
    # Of a head's key, what is not turned is made from the rank; the rest all heads share.
    made = shape.heads * (shape.head_dim - shape.turned + shape.value_dim)
    sizes = [("q_proj", shape.hidden, queries, False)]
    if shape.query_rank:
        sizes = [
            ("q_a_proj", shape.hidden, shape.query_rank, bias),
            ("q_b_proj", shape.query_rank, queries, False),
        ]
    sizes += [
        ("kv_a_proj_with_mqa", shape.hidden, shape.key_rank + shape.turned, bias),
        ("kv_b_proj", shape.key_rank, made, False),
        ("o_proj", shape.heads * shape.value_dim, shape.hidden, bias),
    ]
    return [
        Linear(name, "attention", inputs, outputs, biased)
        for name, inputs, outputs, biased in sizes
    ]


def _mlp(inner: int, shape: _Sizes, family: _Family, keys: Mapping[str, Any]) -> list[Linear]:
    bias = family.mlp_bias and bool(keys.get("mlp_bias"))
    outputs = {"gate_proj": inner, "up_proj": inner}
    if family.fused_gate:
        outputs = {"gate_up_proj": 2 * inner}
    return [
        *(Linear(name, "mlp", shape.hidden, size, bias) for name, size in outputs.items()),
        Linear("down_proj", "mlp", inner, shape.hidden, bias),
    ]


def _with_experts(
    dense: Shape,
    attention: Sequence[Linear],
    shape: _Sizes,
    family: _Family,
    keys: Mapping[str, Any],
) -> Shape:
    """The shape with experts in the place of the MLP of most blocks."""
    usual = family.experts
    if usual is None:
        return dense
    named = next((name for name in _COUNTS if keys.get(name) is not None), _COUNTS[0])
    count = _size(keys, named, usual.count)
    met = min(count, _size(keys, "num_experts_per_tok", usual.per_token))
    inner = _size(keys, "moe_intermediate_size", usual.inner) if usual.inner else shape.inner
    shared = _size(keys, "n_shared_experts", usual.shared) if usual.shared else 0
    together = _mlp(shared * inner, shape, family, keys) if shared else []
    one, router = 3 * shape.hidden * inner, count * shape.hidden
    return replace(
        dense,
        linears=(*attention, *together),
        inner=(met + shared) * inner,
        experts=count * one + router,
        active=met * one + router,
        dense=_dense_blocks(keys, usual, dense.layers),
        dense_linears=dense.linears,
    )


def _dense_blocks(keys: Mapping[str, Any], usual: _Experts, layers: int) -> int:
    """How many blocks have an MLP instead of experts."""
    first = keys.get("first_k_dense_replace", usual.first_dense)
    step, named = keys.get("decoder_sparse_step", 1), keys.get("mlp_only_layers") or ()
    if not isinstance(first, int) or not isinstance(step, int) or step < 1:
        raise ModelError("config.json: blocks with experts must be told by whole numbers")
    return sum(
        place < first or place in named or (place + 1) % step != 0 for place in range(layers)
    )


def _plain(config: Mapping[str, Any]) -> dict[str, Any]:
    """ChatGLM's config with everybody else's names."""
    plain = {_CHATGLM_KEYS.get(key, key): value for key, value in config.items()}
    if config.get("multi_query_attention") is False:
        plain["num_key_value_heads"] = plain.get("num_attention_heads")
    return plain


def _given(keys: Mapping[str, Any], name: str, default: Any) -> Any:
    value = keys.get(name)
    return default if value is None else value


def _size(keys: Mapping[str, Any], name: str, default: int = 0) -> int:
    value = _given(keys, name, default)
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ModelError(f"config.json: {name} must be a whole number above 0, not {value!r}")
    return value
