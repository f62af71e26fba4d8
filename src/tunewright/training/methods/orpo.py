"""Odds-ratio preference optimization: learn the better answer, and that it is likelier."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from tunewright.training.batches import Example
from tunewright.training.losses import document_sums, log_odds, token_log_probs
from tunewright.training.methods.base import Mean, Outcome, Rate
from tunewright.training.methods.pairs import (
    Pair,
    PairBatch,
    PairMethod,
    halves,
    of_better,
    pair_metrics,
)


@dataclass(frozen=True)
class OrpoBatch(PairBatch):
    """Pairs whose better documents may be learnt as a whole.

    Attributes:
        answers: ``(supervised,)`` whether a learnt token belongs to an answer.
    """

    answers: Tensor


class OrpoMethod(PairMethod):
    """ORPO; it needs no reference, since learning the answer holds the model in place."""

    epochs_reason: ClassVar[str] = "it teaches the answers as well; the paper takes up to 10"
    rate: ClassVar[Rate] = Rate(large=(1 / 4, "10 times the paper's 8e-6 for full tuning"))

    def collate(self, units: Sequence[Pair]) -> OrpoBatch:
        """As for other pairs; with ``orpo.loss_on: all`` the questions are learnt too."""
        if self.config.orpo.loss_on == "answer":
            batch = super().collate(units)
            every = torch.ones_like(batch.documents, dtype=torch.bool)
            return OrpoBatch(**vars(batch), answers=every)
        batch = super().collate([replace(pair, better=_whole(pair.better)) for pair in units])
        flags: list[int] = []
        for pair in units:
            flags += pair.better.mask[1:]
            flags += [1] * pair.worse.learnt
        return OrpoBatch(**vars(batch), answers=torch.tensor(flags, dtype=torch.bool))

    def loss(self, model: Any, batch: PairBatch) -> Outcome:
        """Mean cross-entropy of the better documents' tokens − β · mean log σ(log odds ratio).

        Metrics as for DPO, with β times the mean log-probability per token as reward.
        """
        if not isinstance(batch, OrpoBatch):
            raise TypeError("not a batch that OrpoMethod made")
        beta = self.config.orpo.beta
        log_probs = token_log_probs(model, batch)
        counted = batch.answers.float()
        means = document_sums(log_probs * counted, batch) / document_sums(counted, batch)
        better, worse = halves(means)
        learnt = log_probs[of_better(batch)]
        odds = functional.logsigmoid(log_odds(better, worse))
        terms = (
            Mean(-learnt.sum(), learnt.shape[0]),
            Mean(-beta * odds.sum(), batch.pairs),
        )
        return Outcome(terms, pair_metrics(beta * better, beta * worse))

    def counts(self, batch: PairBatch) -> tuple[int, ...]:
        """The better documents' learnt tokens, and pairs."""
        return int(of_better(batch).sum()), batch.pairs


def _whole(example: Example) -> Example:
    return replace(example, mask=array("b", [1]) * len(example))
