"""What a base is made of, told by its ``config.json`` alone: no weight is read, no torch loaded.

Dense decoders of one build: embedding, equal blocks of attention (grouped queries, Ainslie et al.
2023, arXiv 2305.13245) and a gated MLP (Shazeer 2020, arXiv 2002.05202), RMS norms, output head.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from tunewright.core.errors import ModelError

Role = Literal["attention", "mlp"]


@dataclass(frozen=True)
class Linear:
    """A linear layer of a block: y = x·Wᵀ + b with W (outputs, inputs)."""

    name: str
    role: Role
    inputs: int
    outputs: int
    bias: bool = False

    @property
    def weights(self) -> int:
        """Entries of W."""
        return self.inputs * self.outputs

    @property
    def parameters(self) -> int:
        """Entries of W and b."""
        return self.weights + (self.outputs if self.bias else 0)


@dataclass(frozen=True)
class Shape:
    """Sizes of a decoder.

    Attributes:
        family: ``model_type`` of the config.
        layers: number of blocks.
        hidden: channels of the residual stream.
        heads: query heads.
        kv_heads: heads of keys and values.
        head_dim: channels per head.
        inner: channels inside the MLP.
        vocabulary: rows of the embedding.
        context: most positions that the base was made for.
        linears: linear layers of one block, in the order of use.
        norms: norms of the residual stream in one block.
        head_norms: whether queries and keys are normalised per head.
        tied: whether the head is the embedding.
    """

    family: str
    layers: int
    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    inner: int
    vocabulary: int
    context: int
    linears: tuple[Linear, ...]
    norms: int
    head_norms: bool
    tied: bool

    @property
    def queries(self) -> int:
        """Channels of all query heads."""
        return self.heads * self.head_dim

    @property
    def keys(self) -> int:
        """Channels of all key heads, and of all value heads."""
        return self.kv_heads * self.head_dim

    @property
    def embedding(self) -> int:
        """Weights of the embedding, and of a head of its own."""
        return self.vocabulary * self.hidden

    @property
    def linear_weights(self) -> int:
        """Weights of the linear layers in all blocks, biases left out: what quantising shrinks."""
        return self.layers * sum(linear.weights for linear in self.linears)

    @property
    def block(self) -> int:
        """Weights of one block."""
        norms = self.norms * self.hidden + (2 * self.head_dim if self.head_norms else 0)
        return sum(linear.parameters for linear in self.linears) + norms

    @property
    def parameters(self) -> int:
        """All weights, shared ones once."""
        embeddings = self.embedding * (1 if self.tied else 2)
        return embeddings + self.layers * self.block + self.hidden

    @property
    def computing(self) -> int:
        """Weights that every token is multiplied with: all but the embedding's, which is looked
        up; a head that shares them counts."""
        return self.linear_weights + self.embedding


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
}

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
    hidden, heads = _size(keys, "hidden_size"), _size(keys, "num_attention_heads")
    shape = _Sizes(
        hidden=hidden,
        heads=heads,
        kv_heads=_size(keys, "num_key_value_heads", family.kv_heads or heads),
        head_dim=_size(keys, "head_dim", family.head_dim or hidden // heads),
        inner=_size(keys, "intermediate_size"),
    )
    return Shape(
        family=name,
        layers=_size(keys, "num_hidden_layers"),
        hidden=hidden,
        heads=heads,
        kv_heads=shape.kv_heads,
        head_dim=shape.head_dim,
        inner=shape.inner,
        vocabulary=_size(keys, "vocab_size"),
        context=_size(keys, "max_position_embeddings", 2048),
        linears=(*_attention(shape, family, keys), *_mlp(shape, family, keys)),
        norms=family.norms,
        head_norms=family.head_norms,
        tied=bool(_given(keys, "tie_word_embeddings", family.tied)),
    )


@dataclass(frozen=True)
class _Sizes:
    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    inner: int


def _attention(shape: _Sizes, family: _Family, keys: Mapping[str, Any]) -> list[Linear]:
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


def _mlp(shape: _Sizes, family: _Family, keys: Mapping[str, Any]) -> list[Linear]:
    bias = family.mlp_bias and bool(keys.get("mlp_bias"))
    outputs = {"gate_proj": shape.inner, "up_proj": shape.inner}
    if family.fused_gate:
        outputs = {"gate_up_proj": 2 * shape.inner}
    return [
        *(Linear(name, "mlp", shape.hidden, size, bias) for name, size in outputs.items()),
        Linear("down_proj", "mlp", shape.inner, shape.hidden, bias),
    ]


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
