"""REINFORCE leave-one-out: answers better than the mean of the others become likelier."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from tunewright.training.losses import document_sums
from tunewright.training.methods.base import Mean, Outcome
from tunewright.training.methods.policy import (
    PolicyMethod,
    RolloutBatch,
    clipped_loss,
    entropy,
    nan_std,
    outside,
    standardised,
)


class RlooMethod(PolicyMethod):
    """RLOO on whole answers; the divergence from the start lowers their rewards."""

    divergence_in_reward: ClassVar[bool] = True

    def advantages(self, rewards: Tensor, divergence: Tensor | None) -> Tensor:
        """Reward − β·divergence, less the mean of the others' (arXiv 2402.14740, eq. 8)."""
        if divergence is not None:
            rewards = rewards - self.config.rl.beta * divergence
        known = (~rewards.isnan()).sum(1, keepdim=True)
        others = (rewards.nansum(1, keepdim=True) - rewards) / (known - 1)
        advantages = rewards - others
        if self.config.rloo.normalize:
            return standardised(advantages, advantages.nanmean(), nan_std(advantages))
        return torch.nan_to_num(advantages, nan=0.0, posinf=0.0, neginf=0.0)

    def loss(self, model: Any, batch: RolloutBatch) -> Outcome:
        """The clipped objective of whole answers.

        Metrics: ``entropy`` per token in nats, ``clip_share`` of the answers, and ``kl``, the
        divergence per token from the start when the answers were drawn.
        """
        log_probs, logits = self.log_probs(model, batch)
        old = log_probs.detach() if batch.old is None else batch.old
        ratios = document_sums(log_probs - old, batch).exp()
        low, high = self.bounds()
        losses = clipped_loss(ratios, batch.advantages, low, high)
        clipped = outside(ratios, batch.advantages, low, high)
        metrics = {
            "entropy": entropy(logits),
            "clip_share": Mean(clipped.sum(), batch.count),
        }
        if batch.reference is not None:
            metrics["kl"] = Mean((old - batch.reference).sum(), batch.supervised)
        return Outcome((Mean(losses.sum(), batch.answers),), metrics)
