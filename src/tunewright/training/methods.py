"""Training methods by name; a new one is one entry here and its loss."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from tunewright.core.messages import Row
from tunewright.training.batches import (
    Example,
    PackedBatch,
    Progress,
    Renderer,
    collate,
    render_examples,
)
from tunewright.training.losses import next_token_loss


@dataclass(frozen=True)
class Method:
    """How rows become examples, examples a batch, and a batch a loss.

    Attributes:
        examples: rows, renderer and a listener for progress → what is learnt from.
        collate: examples of one batch → tensors.
        loss: model and batch → sum over supervised tokens, differentiable, float32.
    """

    examples: Callable[[Sequence[Row], Renderer, Progress], list[Example]]
    collate: Callable[[Sequence[Example]], PackedBatch]
    loss: Callable[[Any, PackedBatch], Tensor]


METHODS: dict[str, Method] = {
    "sft": Method(examples=render_examples, collate=collate, loss=next_token_loss),
}
