"""Simple preference optimization: lead by a margin in mean log-probability."""

from __future__ import annotations

from typing import Any, ClassVar

from tunewright.training.losses import (
    document_lengths,
    document_sums,
    simpo_loss,
    token_log_probs,
)
from tunewright.training.methods.base import Mean, Outcome, Rate
from tunewright.training.methods.pairs import PairBatch, PairMethod, halves, pair_metrics


class SimpoMethod(PairMethod):
    """SimPO; the mean over tokens takes away what a longer answer would gain."""

    epochs: ClassVar[float] = 1.0
    epochs_reason: ClassVar[str] = "as in the paper: nothing holds the model in place for longer"
    rate: ClassVar[Rate] = Rate(
        small=(1 / 10, "measured on the bundled base"),
        large=(1 / 60, "10 times the paper's 5e-7 for full tuning"),
    )

    def loss(self, model: Any, batch: PairBatch) -> Outcome:
        """Mean of the pairs' losses.

        Metrics as for DPO, with β times the mean log-probability per token as reward.
        """
        config = self.config.simpo
        sums = document_sums(token_log_probs(model, batch), batch)
        better, worse = halves(sums / document_lengths(batch))
        losses = simpo_loss(better, worse, config.beta, config.gamma)
        metrics = pair_metrics(config.beta * better, config.beta * worse)
        return Outcome((Mean(losses.sum(), batch.pairs),), metrics)
