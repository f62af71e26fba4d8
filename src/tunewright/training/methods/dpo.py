"""Direct preference optimization: lead with the better answer by more than before training."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from torch import Tensor

from tunewright.config.training import DpoConfig
from tunewright.training.losses import (
    document_lengths,
    document_sums,
    hinge_loss,
    ipo_loss,
    sigmoid_loss,
    token_log_probs,
)
from tunewright.training.methods.base import Mean, Outcome, Rate
from tunewright.training.methods.pairs import (
    PairBatch,
    PairMethod,
    halves,
    of_better,
    pair_metrics,
)

# Log-ratios of the documents, and their learnt tokens → a loss per pair.
_Formula = Callable[[Tensor, Tensor, DpoConfig], Tensor]


class DpoMethod(PairMethod):
    """DPO, IPO and hinge, all against what the starting model says."""

    refers: ClassVar[bool] = True
    epochs: ClassVar[float] = 1.0
    epochs_reason: ClassVar[str] = "preferences are overfitted sooner than answers"
    rate: ClassVar[Rate] = Rate(
        small=(1 / 30, "measured on the bundled base"),
        large=(1 / 60, "5e-6 with LoRA at 7B, as TRL's guide"),
    )

    def loss(self, model: Any, batch: PairBatch) -> Outcome:
        """Mean of the pairs' losses, and ``rpo_alpha`` times that of the better answers' tokens.

        Metrics: the rewards β·(log π − log π_reference) of both answers, the margin between them,
        and the share of pairs where the better one leads.
        """
        config = self.config.dpo
        if batch.reference is None:
            raise ValueError("the starting model's log-probabilities are not in the batch")
        log_probs = token_log_probs(model, batch)
        ratios = document_sums(log_probs, batch) - batch.reference
        lengths = document_lengths(batch)
        losses = _FORMULAS[config.loss](ratios, lengths, config)
        terms = [Mean(losses.sum(), batch.pairs)]
        if config.rpo_alpha:
            better = log_probs[of_better(batch)]
            terms.append(Mean(-config.rpo_alpha * better.sum(), better.shape[0]))
        return Outcome(tuple(terms), pair_metrics(*halves(config.beta * ratios)))

    def counts(self, batch: PairBatch) -> tuple[int, ...]:
        """Pairs, and the better answers' tokens where those are learnt too."""
        if not self.config.dpo.rpo_alpha:
            return (batch.pairs,)
        return batch.pairs, int(of_better(batch).sum())


def _delta(ratios: Tensor) -> Tensor:
    better, worse = halves(ratios)
    return better - worse


def _sigmoid(ratios: Tensor, lengths: Tensor, config: DpoConfig) -> Tensor:
    return sigmoid_loss(_delta(ratios), config.beta, config.label_smoothing)


def _ipo(ratios: Tensor, lengths: Tensor, config: DpoConfig) -> Tensor:
    return ipo_loss(_delta(ratios / lengths), config.beta)


def _hinge(ratios: Tensor, lengths: Tensor, config: DpoConfig) -> Tensor:
    return hinge_loss(_delta(ratios), config.beta)


_FORMULAS: dict[str, _Formula] = {"sigmoid": _sigmoid, "ipo": _ipo, "hinge": _hinge}
