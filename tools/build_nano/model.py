"""The network: the Qwen3 architecture, with parameters named as transformers names them.

Our own module trains faster than transformers' on short rows because it carries no cache,
mask or output classes; `export.check_against_transformers` proves that both give equal logits.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional


@dataclass(frozen=True)
class Shape:
    """Sizes of the network."""

    vocab: int = 6144
    hidden: int = 256
    layers: int = 4
    mlp: int = 896
    heads: int = 4
    kv_heads: int = 2
    head_dim: int = 64
    rope_theta: float = 10_000.0
    norm_eps: float = 1e-6

    def as_dict(self) -> dict[str, Any]:
        """The fields as plain JSON values."""
        return asdict(self)


class RMSNorm(nn.Module):
    """Root-mean-square normalisation over the last dimension (Zhang & Sennrich, 2019)."""

    def __init__(self, size: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """Normalise `x` of shape (..., size); the arithmetic is float32."""
        wide = x.float()
        scale = torch.rsqrt(wide.square().mean(-1, keepdim=True) + self.eps)
        return (wide * scale * self.weight).to(x.dtype)


def rotary_tables(length: int, shape: Shape) -> tuple[Tensor, Tensor]:
    """Cosines and sines of shape (length, head_dim) for rotary positions (Su et al., 2021)."""
    half = torch.arange(0, shape.head_dim, 2, dtype=torch.float32) / shape.head_dim
    angles = torch.outer(torch.arange(length, dtype=torch.float32), shape.rope_theta**-half)
    both = torch.cat((angles, angles), dim=-1)
    return both.cos(), both.sin()


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn `x` (batch, heads, seq, head_dim) by its position."""
    first, second = x.chunk(2, dim=-1)
    return x * cos + torch.cat((-second, first), dim=-1) * sin


class Attention(nn.Module):
    """Grouped-query attention with normalised queries and keys."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        inner, kv_inner = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
        self.q_proj = nn.Linear(shape.hidden, inner, bias=False)
        self.k_proj = nn.Linear(shape.hidden, kv_inner, bias=False)
        self.v_proj = nn.Linear(shape.hidden, kv_inner, bias=False)
        self.o_proj = nn.Linear(inner, shape.hidden, bias=False)
        self.q_norm = RMSNorm(shape.head_dim, shape.norm_eps)
        self.k_norm = RMSNorm(shape.head_dim, shape.norm_eps)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, keep: Tensor | None = None) -> Tensor:
        """Causal self-attention over `x` (batch, seq, hidden); see `Block.forward` for `keep`."""
        batch, seq, _ = x.shape
        size = self.shape.head_dim
        q = self.q_norm(self.q_proj(x).view(batch, seq, -1, size)).transpose(1, 2)
        k = self.k_norm(self.k_proj(x).view(batch, seq, -1, size)).transpose(1, 2)
        v = self.v_proj(x).view(batch, seq, -1, size).transpose(1, 2)
        q, k = rotate(q, cos, sin), rotate(k, cos, sin)
        mixed = functional.scaled_dot_product_attention(
            q, k.to(v.dtype), v, is_causal=True, enable_gqa=True
        )
        mixed = mixed.transpose(1, 2).reshape(batch, seq, -1)
        out: Tensor = self.o_proj(mixed if keep is None else mixed[keep])
        return out


class MLP(nn.Module):
    """SwiGLU feed-forward (Shazeer, 2020)."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(shape.hidden, shape.mlp, bias=False)
        self.up_proj = nn.Linear(shape.hidden, shape.mlp, bias=False)
        self.down_proj = nn.Linear(shape.mlp, shape.hidden, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Transform `x` (batch, seq, hidden) position by position."""
        out: Tensor = self.down_proj(functional.silu(self.gate_proj(x)) * self.up_proj(x))
        return out


class Block(nn.Module):
    """One pre-norm transformer layer."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.input_layernorm = RMSNorm(shape.hidden, shape.norm_eps)
        self.self_attn = Attention(shape)
        self.post_attention_layernorm = RMSNorm(shape.hidden, shape.norm_eps)
        self.mlp = MLP(shape)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, keep: Tensor | None = None) -> Tensor:
        """Run the layer on `x` (batch, seq, hidden).

        With `keep`, a boolean (batch, seq), the result is (n, hidden): the last layer need not
        compute positions that nobody asks for.
        """
        mixed = self.self_attn(self.input_layernorm(x), cos, sin, keep)
        x = (x if keep is None else x[keep]) + mixed
        out: Tensor = x + self.mlp(self.post_attention_layernorm(x))
        return out


class Trunk(nn.Module):
    """Embedding, layers and last norm: all that transformers keeps under `model.`."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(shape.vocab, shape.hidden)
        self.layers = nn.ModuleList(Block(shape) for _ in range(shape.layers))
        self.norm = RMSNorm(shape.hidden, shape.norm_eps)


class Nano(nn.Module):
    """The language model, with output weights tied to the embedding."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.model = Trunk(shape)
        for name, weight in self.named_parameters():
            if weight.dim() == 2:
                nn.init.normal_(weight, std=0.02)
            if name.endswith(("o_proj.weight", "down_proj.weight")):
                nn.init.zeros_(weight)

    def hidden_states(self, ids: Tensor, keep: Tensor | None = None) -> Tensor:
        """Last hidden states (batch, seq, hidden) of token `ids` (batch, seq).

        With `keep`, a boolean (batch, seq), only those positions: (n, hidden).
        """
        x = self.model.embed_tokens(ids)
        cos, sin = rotary_tables(ids.shape[1], self.shape)
        *early, last = self.model.layers
        for layer in early:
            x = layer(x, cos, sin)
        x = last(x, cos, sin, keep)
        out: Tensor = self.model.norm(x)
        return out

    def logits(self, states: Tensor) -> Tensor:
        """Scores over the vocabulary (..., vocab) of hidden `states` (..., hidden)."""
        return functional.linear(states, self.model.embed_tokens.weight)
