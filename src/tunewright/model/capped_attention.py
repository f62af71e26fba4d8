"""Attention whose scores are softly capped where a model asks for it, as Gemma 2 does.

Scores s become c·tanh(s / c), so that none exceeds c (Gemma Team 2024, arXiv 2408.00118, §2).
torch's fused attention cannot do that; a family without a cap keeps its speed.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def cap(scores: Tensor, limit: float | None) -> Tensor:
    """c·tanh(s / c) of scaled scores of any shape; None caps nothing."""
    return scores if limit is None else limit * torch.tanh(scores / limit)


def attend(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    *,
    attn_mask: Tensor | None = None,
    is_causal: bool = False,
    dropout_p: float = 0.0,
    scale: float | None = None,
    enable_gqa: bool = False,
    softcap: float | None = None,
) -> Tensor:
    """torch's ``scaled_dot_product_attention``, with a cap.

    Args:
        query: (batch, heads, seq, head_dim).
        key, value: (batch, kv_heads, kv_seq, head_dim) each.
        attn_mask: boolean, True where a query looks, or what is added to the scores.
        is_causal: whether a query sees itself and what is before; only without a mask, and with
            as many queries as keys.
        dropout_p: share of the looks that is zeroed.
        scale: of the scores; None is 1 / √head_dim.
        enable_gqa: whether several query heads share a head of keys.
        softcap: the cap; None is torch's own.

    Returns:
        (batch, heads, seq, head_dim of the values).
    """
    if softcap is None:
        return F.scaled_dot_product_attention(
            query,
            key,
            value,
            attn_mask=attn_mask,
            dropout_p=dropout_p,
            is_causal=is_causal,
            scale=scale,
            enable_gqa=enable_gqa,
        )
    sharing = query.shape[1] // key.shape[1]
    key, value = (states.repeat_interleave(sharing, dim=1) for states in (key, value))
    scores = query @ key.transpose(-1, -2) * (query.shape[-1] ** -0.5 if scale is None else scale)
    scores = cap(scores, softcap)
    if is_causal:
        attn_mask = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).tril()
    if attn_mask is not None:
        if attn_mask.dtype == torch.bool:
            scores = scores.masked_fill(~attn_mask, torch.finfo(scores.dtype).min)
        else:
            scores = scores + attn_mask
    shares = scores.softmax(-1, dtype=torch.float32).to(query.dtype)
    return F.dropout(shares, dropout_p) @ value
