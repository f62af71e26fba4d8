"""Log-probabilities of packed batches, and the formulas of the losses.

Log-probabilities are natural, in float32. A formula takes what a model says about answers and
returns one loss per answer or pair, so that the caller decides what to divide by.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from tunewright.model.rounding import SIZE_STEP, rounds_sizes
from tunewright.training.batches import PackedBatch

_CHUNK_ELEMENTS = 2**26
"""Logits turned to float32 at once: 256 MiB."""


# What the model says ---------------------------------------------------------------------------


def supervised_logits(model: Any, batch: PackedBatch) -> Tensor:
    """Logits ``(supervised, vocab)`` in the model's type where the next token is learnt.

    The head runs on those positions only: with a vocabulary of 150,000 the logits of a full
    sequence would be the largest tensor of the whole step.
    """
    output = model(**_inputs(batch, rounds_sizes(model, batch.input_ids)), use_cache=False)
    logits: Tensor = output.logits[0]
    return logits[: batch.supervised]


def _inputs(batch: PackedBatch, rounded: bool) -> dict[str, Tensor]:
    """What the model gets; its sizes rounded up with tokens that nothing looks at.

    They follow the last document, whose own tokens look back only, and none of them is learnt.
    The positions that are added ask for logits that are cut off again.
    """
    inputs = {
        "input_ids": batch.input_ids,
        "position_ids": batch.position_ids,
        "cu_seqlens": batch.cu_seqlens,
        "logits_to_keep": batch.positions,
    }
    if not rounded:
        return inputs
    more = -batch.tokens % SIZE_STEP
    for name in ("input_ids", "position_ids"):
        inputs[name] = functional.pad(inputs[name], (0, more))
    inputs["logits_to_keep"] = functional.pad(batch.positions, (0, -batch.supervised % SIZE_STEP))
    inputs["cu_seqlens"] = batch.cu_seqlens.clone()
    inputs["cu_seqlens"][-1] += more
    return inputs


def next_token_loss(model: Any, batch: PackedBatch) -> Tensor:
    """Sum of the cross-entropies of the supervised tokens, in nats; a scalar in float32."""
    logits = supervised_logits(model, batch).float()
    return functional.cross_entropy(logits, batch.labels, reduction="sum")


def token_log_probs(model: Any, batch: PackedBatch) -> Tensor:
    """Log-probability of every supervised token, ``(supervised,)``."""
    return log_probs_of(supervised_logits(model, batch), batch.labels)


def log_probs_of(logits: Tensor, labels: Tensor, elements: int = _CHUNK_ELEMENTS) -> Tensor:
    """Log-probabilities ``(n,)`` of ``labels`` (n,) under ``logits`` (n, vocab).

    Many logits are turned to float32 in chunks, whose intermediate tensors are made again in
    the backward pass instead of being kept.

    Args:
        logits: of any floating type.
        labels: token ids.
        elements: most logits in a chunk.
    """
    size = max(1, elements // logits.shape[1])
    if logits.shape[0] <= size:
        return _log_probs(logits, labels)
    chunks = zip(torch.split(logits, size), torch.split(labels, size), strict=True)
    if not logits.requires_grad:
        return torch.cat([_log_probs(*chunk) for chunk in chunks])
    parts = [checkpoint(_log_probs, *chunk, use_reentrant=False) for chunk in chunks]
    return torch.cat(parts)


def _log_probs(logits: Tensor, labels: Tensor) -> Tensor:
    return -functional.cross_entropy(logits.float(), labels, reduction="none")


def document_sums(values: Tensor, batch: PackedBatch) -> Tensor:
    """Sums of ``values`` (supervised,) by document, ``(documents,)``."""
    sums = torch.zeros(batch.count, dtype=values.dtype, device=values.device)
    return sums.index_add(0, batch.documents, values)


def document_lengths(batch: PackedBatch) -> Tensor:
    """Supervised tokens per document, ``(documents,)`` in float32."""
    return document_sums(torch.ones_like(batch.documents, dtype=torch.float32), batch)


# Formulas --------------------------------------------------------------------------------------


def sigmoid_loss(delta: Tensor, beta: float, smoothing: float = 0.0) -> Tensor:
    """−log σ(β·Δ): DPO (Rafailov et al. 2023, arXiv 2305.18290, eq. 7).

    With a label smoothing ε, (1 − ε)·(−log σ(β·Δ)) + ε·(−log σ(−β·Δ)) (Mitchell 2023, "A note
    on DPO with noisy preferences").

    Args:
        delta: log-ratio of the better answer minus that of the worse one, ``(pairs,)``.
        beta: strength β.
        smoothing: ε.
    """
    loss = -functional.logsigmoid(beta * delta)
    if not smoothing:
        return loss
    return (1 - smoothing) * loss - smoothing * functional.logsigmoid(-beta * delta)


def hinge_loss(delta: Tensor, beta: float) -> Tensor:
    """max(0, 1 − β·Δ) (Zhao et al. 2023, arXiv 2305.10425); arguments as ``sigmoid_loss``."""
    return torch.relu(1 - beta * delta)


def ipo_loss(delta: Tensor, tau: float) -> Tensor:
    """(Δ − 1/(2τ))² (Azar et al. 2023, arXiv 2310.12036, eq. 17).

    Args:
        delta: as ``sigmoid_loss``, but of log-ratios per token, as the paper's results are.
        tau: strength τ.
    """
    return (delta - 1 / (2 * tau)).square()


def kto_loss(ratios: Tensor, desirable: Tensor, kl: Tensor, beta: float) -> Tensor:
    """1 − σ(β·(r − z)) of good answers and 1 − σ(β·(z − r)) of bad ones, not yet weighted.

    Ethayarajh et al. 2024, arXiv 2402.01306, eq. 8.

    Args:
        ratios: log-ratios r of the answers, ``(answers,)``.
        desirable: whether each is good, ``(answers,)`` bool.
        kl: estimate z of the divergence from the reference, a scalar that is not learnt.
        beta: strength β.
    """
    signs = torch.where(desirable, 1.0, -1.0)
    return 1 - torch.sigmoid(beta * signs * (ratios - kl))


def log_odds(better: Tensor, worse: Tensor) -> Tensor:
    """log(odds(better) / odds(worse)) with odds(p) = p / (1 − p).

    Hong et al. 2024, arXiv 2403.07691, eq. 4.

    Args:
        better: mean log-probability per token of each better answer, ``(pairs,)``.
        worse: the same of each worse answer.
    """
    return better - worse - (_log1mexp(better) - _log1mexp(worse))


def simpo_loss(better: Tensor, worse: Tensor, beta: float, gamma: float) -> Tensor:
    """−log σ(β·(better − worse) − γ) (Meng et al. 2024, arXiv 2405.14734, eq. 6).

    Args:
        better: mean log-probability per token of each better answer, ``(pairs,)``.
        worse: the same of each worse answer.
        beta: scale β.
        gamma: margin γ.
    """
    return -functional.logsigmoid(beta * (better - worse) - gamma)


def bradley_terry_loss(better: Tensor, worse: Tensor) -> Tensor:
    """−log σ(better − worse) of scores ``(pairs,)`` (Stiennon et al. 2020, arXiv 2009.01325)."""
    return -functional.logsigmoid(better - worse)


def _log1mexp(x: Tensor) -> Tensor:
    """log(1 − eˣ) for x < 0 without cancellation (Mächler 2012).

    Float32 rounds the log-probability of an answer known by heart to 0, where this is infinite.
    """
    x = x.clamp(max=-torch.finfo(torch.float32).eps)
    return torch.where(x < -math.log(2), torch.log1p(-torch.exp(x)), torch.log(-torch.expm1(x)))
