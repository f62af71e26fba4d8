"""What tests of tuners do with models."""

from __future__ import annotations

from array import array
from typing import Any

import torch
from torch import Tensor

from tunewright.model.tuners.base import Trained
from tunewright.training.batches import Example, PackedBatch, collate

IDS = torch.tensor([[5, 9, 30, 44, 7, 8, 61, 12]])


def logits(model: Any, ids: Tensor = IDS) -> Tensor:
    """(batch, seq, vocab), without a gradient."""
    with torch.no_grad():
        result: Tensor = model(input_ids=ids, use_cache=False).logits
    return result


def stir(trained: Trained, size: float = 0.1, seed: int = 3) -> None:
    """Move every trained weight a little, as training would."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in trained.parameters.values():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * size)


def gradients(model: Any, trained: Trained, ids: Tensor = IDS) -> dict[str, Tensor]:
    """Gradients of a loss that depends on every logit, by the trained weights' names."""
    for parameter in trained.parameters.values():
        parameter.grad = None
    model(input_ids=ids, use_cache=False).logits.float().square().mean().backward()
    return {name: p.grad.clone() for name, p in trained.parameters.items() if p.grad is not None}


def packed(*documents: list[int]) -> PackedBatch:
    """Documents end to end, every token but the first of each learnt."""
    return collate(
        [
            Example(row, array("q", ids), array("b", [0] + [1] * (len(ids) - 1)))
            for row, ids in enumerate(documents)
        ]
    )
