"""Group relative policy optimization: answers better than their group's mean become likelier."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from tunewright.config.training import TrainConfig
from tunewright.training.losses import document_lengths, document_sums
from tunewright.training.methods.base import Mean, Outcome
from tunewright.training.methods.policy import (
    PolicyMethod,
    RolloutBatch,
    clipped_loss,
    entropy,
    k3,
    nan_std,
    outside,
    standardised,
)

# Losses of the tokens, their batch and the recipe → the sum, and what it is divided by.
_Reduction = Callable[[Tensor, RolloutBatch, TrainConfig], Mean]


class GrpoMethod(PolicyMethod):
    """GRPO, with the reductions of DAPO and Dr. GRPO beside its own."""

    def advantages(self, rewards: Tensor, divergence: Tensor | None) -> Tensor:
        """(reward − mean of the group) / standard deviation (arXiv 2402.03300, section 4.1.2).

        Without the division: arXiv 2503.20783.
        """
        center = rewards.nanmean(1, keepdim=True)
        if self.config.grpo.scale == "none":
            return torch.nan_to_num(rewards - center, nan=0.0)
        whole = self.config.grpo.scale == "batch"
        return standardised(rewards, center, nan_std(rewards, None if whole else 1))

    def loss(self, model: Any, batch: RolloutBatch) -> Outcome:
        """The clipped objective per token and β times the divergence from the start.

        Metrics: ``kl`` and ``entropy`` per token in nats, ``clip_share``.
        """
        log_probs, logits = self.log_probs(model, batch)
        old = log_probs.detach() if batch.old is None else batch.old
        ratios = (log_probs - old).exp()
        advantages = batch.advantages[batch.documents]
        low, high = self.bounds()
        losses = clipped_loss(ratios, advantages, low, high)
        clipped = outside(ratios, advantages, low, high)
        metrics = {
            "entropy": entropy(logits),
            "clip_share": Mean(clipped.sum(), batch.supervised),
        }
        if batch.reference is not None:
            # Weighted by the ratio, its gradient is that of KL(π, π₀), also where the ratio is 1
            # (DeepSeek-V3.2, arXiv 2512.02556).
            divergence = ratios * k3(log_probs, batch.reference)
            losses = losses + self.config.rl.beta * divergence
            metrics["kl"] = Mean(divergence.detach().sum(), batch.supervised)
        return Outcome((_REDUCTIONS[self.config.grpo.loss](losses, batch, self.config),), metrics)


def _by_token(losses: Tensor, batch: RolloutBatch, config: TrainConfig) -> Mean:
    return Mean(losses.sum(), batch.answer_tokens)


def _by_answer(losses: Tensor, batch: RolloutBatch, config: TrainConfig) -> Mean:
    means = document_sums(losses, batch) / document_lengths(batch)
    return Mean(means.sum(), batch.answers)


def _by_limit(losses: Tensor, batch: RolloutBatch, config: TrainConfig) -> Mean:
    return Mean(losses.sum(), batch.answers * config.rl.max_new_tokens)


_REDUCTIONS: dict[str, _Reduction] = {
    "dapo": _by_token,
    "grpo": _by_answer,
    "dr_grpo": _by_limit,
}
