"""Reward model: a score for every answer, from pairs of a better and a worse one."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, cast

import torch
from torch.nn import Parameter

from tunewright.model.rendering import Renderer
from tunewright.model.reward import RewardModel, head_width, new_head, read_head, save_head
from tunewright.model.tuners.files import head_file
from tunewright.training.losses import bradley_terry_loss
from tunewright.training.methods.base import Extension, Mean, Outcome, Rate
from tunewright.training.methods.pairs import PairBatch, PairMethod, halves, pair_metrics

_HEAD = "reward_head.weight"  # its name in the optimizer's state


class RewardMethod(PairMethod):
    """Bradley-Terry on the scores of a linear head over each document's last token."""

    epochs: ClassVar[float] = 1.0
    epochs_reason: ClassVar[str] = "reward models overfit from the second pass on (2203.02155)"
    rate: ClassVar[Rate] = Rate(
        small=(1 / 3, "measured on the bundled base"), large=(1 / 3, "TRL's default, 1e-4")
    )

    def extend(self, model: Any, renderer: Renderer, start: Path | None) -> Extension:
        """The model with a head: that of a reward model it starts from, else a new one."""
        width = head_width(model)
        known = start is not None and head_file(start).is_file()
        head = read_head(start, width) if start and known else new_head(width, self.config.seed)
        reward = RewardModel(model, head.to(model.device), renderer)
        return Extension(reward, {_HEAD: cast(Parameter, reward.head.weight)})

    def save(self, extension: Extension, folder: Path) -> None:
        """Write the head beside the adapter."""
        save_head(extension.model.head, folder)

    def restore(self, extension: Extension, folder: Path) -> None:
        """Put a saved head back."""
        head = extension.model.head
        with torch.no_grad():
            head.weight.copy_(read_head(folder, head.in_features).weight)

    def loss(self, model: RewardModel, batch: PairBatch) -> Outcome:
        """Mean of the pairs' losses, and ``centering`` times the mean squared sum of scores.

        Metrics: the mean scores of better and worse answers, the margin between them, and the
        share of pairs where the better one scores higher (``accuracy``).
        """
        weight = self.config.reward.centering
        scores = model(batch.input_ids, batch.position_ids, batch.cu_seqlens)
        better, worse = halves(scores)
        total = bradley_terry_loss(better, worse).sum()
        if weight:
            total = total + weight * (better + worse).square().sum()
        return Outcome((Mean(total, batch.pairs),), pair_metrics(better, worse))
