"""Training methods by name; a new one is one entry here and its loss."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from tunewright.core.errors import DataError
from tunewright.core.messages import Row, RowKind
from tunewright.core.records import Dataset
from tunewright.core.row_kinds import AS_CONVERSATIONS, HOLDS
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
        kinds: the kinds of rows that it learns from.
    """

    examples: Callable[[Sequence[Row], Renderer, Progress], list[Example]]
    collate: Callable[[Sequence[Example]], PackedBatch]
    loss: Callable[[Any, PackedBatch], Tensor]
    kinds: frozenset[RowKind]


METHODS: dict[str, Method] = {
    "sft": Method(
        examples=render_examples,
        collate=collate,
        loss=next_token_loss,
        kinds=frozenset({"conversation"}),
    ),
}


def require_rows_for(method: str, dataset: Dataset) -> None:
    """Refuse rows that a method cannot learn from.

    Raises:
        DataError: saying what the dataset holds, which methods can learn from it, and how to make
            rows of it that this method can.
    """
    chosen, content = METHODS[method], dataset.content
    if content in chosen.kinds:
        return
    able = [name for name, other in METHODS.items() if content in other.kinds]
    others = f"only {', '.join(able)} can" if able else "no method of this version can yet"
    learns = " or ".join(HOLDS[kind] for kind in sorted(chosen.kinds))
    raise DataError(
        f"dataset {dataset.name} holds {HOLDS[content]}; method {method} learns from {learns}"
        f" and cannot learn from it: {others}",
        AS_CONVERSATIONS[content],
    )
