"""Losses. Each returns a sum over tokens, so that the caller decides what to divide by."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.nn import functional

from tunewright.training.batches import PackedBatch


def supervised_logits(model: Any, batch: PackedBatch) -> Tensor:
    """Logits ``(supervised, vocab)`` in float32 where the next token is learnt.

    The head runs on those positions only: with a vocabulary of 150,000 the logits of a full
    sequence would be the largest tensor of the whole step.
    """
    output = model(
        input_ids=batch.input_ids,
        position_ids=batch.position_ids,
        cu_seqlens=batch.cu_seqlens,
        logits_to_keep=batch.positions,
        use_cache=False,
    )
    logits: Tensor = output.logits[0].float()
    return logits


def next_token_loss(model: Any, batch: PackedBatch) -> Tensor:
    """Sum of the cross-entropies of the supervised tokens, in nats; a scalar in float32."""
    logits = supervised_logits(model, batch)
    return functional.cross_entropy(logits, batch.labels, reduction="sum")
