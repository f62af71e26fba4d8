"""Pairs of a better and a worse answer, and what the methods that learn from them share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from tunewright.core.errors import DataError
from tunewright.core.messages import Conversation, Message, Row, RowKind
from tunewright.training.batches import (
    Example,
    PackedBatch,
    Progress,
    Renderer,
    packed,
    render_rows,
)
from tunewright.training.methods.base import Mean, Method, few_per_batch
from tunewright.training.methods.sft import answer_alone


@dataclass(frozen=True)
class Pair:
    """A row's question with its better and with its worse answer.

    Attributes:
        better: the one document.
        worse: the other.
        reference: what the starting model says of both: summed log-probabilities.
    """

    better: Example
    worse: Example
    reference: tuple[float, float] | None = None

    def __len__(self) -> int:
        return len(self.better) + len(self.worse)

    @property
    def rows(self) -> tuple[int, ...]:
        """The row."""
        return self.better.rows

    @property
    def documents(self) -> tuple[Example, ...]:
        """Better, worse."""
        return (self.better, self.worse)

    @property
    def learnt(self) -> int:
        """Tokens of both answers."""
        return self.better.learnt + self.worse.learnt

    @property
    def marks(self) -> bytes:
        """Nothing."""
        return b""


@dataclass(frozen=True)
class PairBatch(PackedBatch):
    """Pairs end to end: the better answer of each, then its worse one.

    Attributes:
        reference: ``(documents,)`` what the starting model says, or None.
    """

    reference: Tensor | None

    @property
    def pairs(self) -> int:
        """Number of pairs."""
        return self.count // 2


class PairMethod(Method[Pair, PairBatch]):
    """A method that learns from pairs. A pair is never divided over two batches."""

    kinds: ClassVar[frozenset[RowKind]] = frozenset({"preference"})

    def examples(self, rows: Sequence[Row], renderer: Renderer, progress: Progress) -> list[Pair]:
        """One pair per row; those whose answers are the same tokens teach nothing."""
        return render_pairs(rows, renderer, progress)

    def collate(self, units: Sequence[Pair]) -> PairBatch:
        """Both documents of every pair, end to end."""
        documents = [document for pair in units for document in pair.documents]
        known = [pair.reference for pair in units if pair.reference is not None]
        reference = torch.tensor(known).flatten() if known else None
        return PairBatch(**packed(documents), reference=reference)

    def counts(self, batch: PairBatch) -> tuple[int, ...]:
        """Pairs."""
        return (batch.pairs,)

    def refer(self, units: Sequence[Pair], log_probs: Sequence[Sequence[float]]) -> list[Pair]:
        """The pairs with the reference's log-probabilities."""
        return [
            replace(pair, reference=(better, worse))
            for pair, (better, worse) in zip(units, log_probs, strict=True)
        ]

    def notes(self, units: Sequence[Pair]) -> tuple[str, ...]:
        """Whether a step sees enough pairs."""
        return few_per_batch(units, self.config.batch_tokens, 1, "pairs")


def render_pairs(rows: Sequence[Row], renderer: Renderer, progress: Progress) -> list[Pair]:
    """Rows of preferences → pairs; only the last answer of each conversation is learnt.

    Raises:
        DataError: an answer is empty, or a row does not fit the base's context; names the row.
    """
    for row in rows:
        refuse_empty(row, row.conversation.messages[-1:], "better")
        refuse_empty(row, row.rejected, "worse")
    double = 2 * len(rows)

    def rendered(offset: int, conversation: Callable[[Row], Conversation]) -> list[Example]:
        def watched(done: int, total: int) -> None:
            progress(offset + done, double)

        return list(render_rows(rows, renderer, watched, conversation))

    better = rendered(0, lambda row: answer_alone(row.conversation))
    worse = rendered(len(rows), worse_alone)
    return [
        Pair(one, other)
        for one, other in zip(better, worse, strict=True)
        if one.ids != other.ids and any(one.mask[1:]) and any(other.mask[1:])
    ]


def worse_alone(row: Row) -> Conversation:
    """A preference's question with the worse answer, earlier answers out of the loss."""
    *asked, better = row.conversation.messages
    alone = answer_alone(row.conversation.model_copy(update={"messages": (*asked, better)}))
    return alone.model_copy(update={"messages": (*alone.messages[:-1], *row.rejected)})


def refuse_empty(row: Row, answer: Sequence[Message], name: str) -> None:
    """Refuse a row whose answer says nothing.

    Raises:
        DataError: naming the row.
    """
    if not any(message.content.strip() or message.tool_calls for message in answer):
        raise DataError(
            f"{row.source.file}, row {row.source.row}: its {name} answer is empty",
            "Prepare the dataset again: tunewright prepare leaves such rows out.",
        )


def pair_metrics(better: Tensor, worse: Tensor) -> dict[str, Mean]:
    """Rewards of the answers, by how much the better one leads, and how often.

    Args:
        better: reward of each better answer, ``(pairs,)``.
        worse: the same of each worse answer.
    """
    better, worse = better.detach(), worse.detach()
    pairs = better.shape[0]
    return {
        "rewards/chosen": Mean(better.sum(), pairs),
        "rewards/rejected": Mean(worse.sum(), pairs),
        "margin": Mean((better - worse).sum(), pairs),
        "accuracy": Mean((better > worse).sum(), pairs),
    }


def of_better(batch: PackedBatch) -> Tensor:
    """``(supervised,)`` whether a learnt token belongs to the better document of its pair."""
    return batch.documents % 2 == 0


def halves(values: Tensor) -> tuple[Tensor, Tensor]:
    """Values of the documents of a ``PairBatch`` → those of the better, of the worse answers."""
    return values[0::2], values[1::2]
