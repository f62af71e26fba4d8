"""Supervised fine-tuning: learn the assistant's answers, token by token."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from tunewright.core.messages import Conversation, Row, RowKind
from tunewright.training.batches import (
    Example,
    PackedBatch,
    Progress,
    Renderer,
    collate,
    render_examples,
    render_rows,
)
from tunewright.training.losses import supervised_logits
from tunewright.training.methods.base import Mean, Method, Outcome


class TokenMethod(Method[Example, PackedBatch]):
    """A method that learns tokens, whichever document they are in."""

    def collate(self, units: Sequence[Example]) -> PackedBatch:
        """Documents end to end."""
        return collate(units)

    def loss(self, model: Any, batch: PackedBatch) -> Outcome:
        """Mean cross-entropy of the learnt tokens, in nats.

        Metrics: ``token_accuracy``, the share of tokens that the model would have chosen itself;
        not while training, where it would cost time in every step.
        """
        logits = supervised_logits(model, batch).float()
        total = functional.cross_entropy(logits, batch.labels, reduction="sum")
        (learnt,) = self.counts(batch)
        metrics = {} if torch.is_grad_enabled() else {"token_accuracy": _accuracy(logits, batch)}
        return Outcome((Mean(total, learnt),), metrics)

    def counts(self, batch: PackedBatch) -> tuple[int, ...]:
        """Learnt tokens."""
        return (batch.supervised,)


def _accuracy(logits: Tensor, batch: PackedBatch) -> Mean:
    right = logits.argmax(dim=1) == batch.labels
    return Mean(right.sum(), batch.supervised)


class SftMethod(TokenMethod):
    """Learn the answers of conversations."""

    kinds: ClassVar[frozenset[RowKind]] = frozenset({"conversation"})

    def examples(
        self, rows: Sequence[Row], renderer: Renderer, progress: Progress
    ) -> list[Example]:
        """One document per row, with what ``sft.loss_on`` names to be learnt."""
        return _LEARN[self.config.sft.loss_on](rows, renderer, progress)


def answer_alone(conversation: Conversation) -> Conversation:
    """The conversation with earlier answers out of the loss."""
    *before, last = conversation.messages
    if not any(message.role == "assistant" and message.weight for message in before):
        return conversation
    muted = [
        message.model_copy(update={"weight": 0}) if message.role == "assistant" else message
        for message in before
    ]
    return conversation.model_copy(update={"messages": (*muted, last)})


def _every_answer(rows: Sequence[Row], renderer: Renderer, progress: Progress) -> list[Example]:
    return render_examples(rows, renderer, progress)


def _last_answer(rows: Sequence[Row], renderer: Renderer, progress: Progress) -> list[Example]:
    return render_examples(rows, renderer, progress, lambda row: answer_alone(row.conversation))


def _everything(rows: Sequence[Row], renderer: Renderer, progress: Progress) -> list[Example]:
    return [
        replace(example, mask=array("b", [1]) * len(example))
        for example in render_rows(rows, renderer, progress)
    ]


_LEARN: dict[str, Callable[[Sequence[Row], Renderer, Progress], list[Example]]] = {
    "assistant": _every_answer,
    "last": _last_answer,
    "all": _everything,
}
