"""Kahneman-Tversky optimization: good answers become likelier, bad ones less likely."""

from __future__ import annotations

import random
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from tunewright.core.errors import DataError
from tunewright.core.messages import Row, RowKind
from tunewright.training.batches import (
    Example,
    PackedBatch,
    Progress,
    Renderer,
    collate,
    packed,
    render_examples,
)
from tunewright.training.losses import document_sums, kto_loss, token_log_probs
from tunewright.training.methods.base import Mean, Method, Outcome, Rate, few_per_batch
from tunewright.training.methods.pairs import refuse_empty, render_pairs
from tunewright.training.methods.sft import answer_alone


@dataclass(frozen=True)
class RatedGroup:
    """Two rows (three at the end of an odd number) that stay together.

    Each question is also laid before the answer of the row before it in the group: from such
    mismatched pairs the method estimates how far the model has moved. As groups are never
    divided, every batch holds at least one, and since they do not change, what the starting model
    says of them is computed only once.

    Attributes:
        answers: the rows' own documents.
        mismatched: their questions before each other's answers.
        desirable: whether each answer is good.
        reference: what the starting model says of ``answers``, then of ``mismatched``.
    """

    answers: tuple[Example, ...]
    mismatched: tuple[Example, ...]
    desirable: tuple[bool, ...]
    reference: tuple[float, ...] = ()

    def __len__(self) -> int:
        return sum(map(len, self.answers))

    @property
    def rows(self) -> tuple[int, ...]:
        """The rows."""
        return tuple(example.row for example in self.answers)

    @property
    def documents(self) -> tuple[Example, ...]:
        """Own documents, then mismatched ones."""
        return (*self.answers, *self.mismatched)

    @property
    def learnt(self) -> int:
        """Tokens of the rows' own answers."""
        return sum(example.learnt for example in self.answers)

    @property
    def marks(self) -> bytes:
        """The ratings."""
        return bytes(self.desirable)


@dataclass(frozen=True)
class RatedBatch(PackedBatch):
    """Rated answers end to end, and mismatched pairs beside them.

    Attributes:
        mismatched: the mismatched pairs of the same rows.
        desirable: ``(documents,)`` bool.
        good: how many of them are.
        reference: ``(documents,)`` of the starting model.
        mismatched_reference: ``(documents,)`` of the starting model.
    """

    mismatched: PackedBatch
    desirable: Tensor
    good: int
    reference: Tensor
    mismatched_reference: Tensor


class KtoMethod(Method[RatedGroup, RatedBatch]):
    """KTO, from rated answers, or from pairs, whose answers count as one good and one bad.

    Every answer's loss depends on the divergence that all mismatched pairs of the step show
    together: a step's batch cannot be divided.
    """

    kinds: ClassVar[frozenset[RowKind]] = frozenset({"rating", "preference"})
    refers: ClassVar[bool] = True
    fewest: ClassVar[int] = 2
    epochs: ClassVar[float] = 1.0
    epochs_reason: ClassVar[str] = "ratings are overfitted sooner than answers"
    rate: ClassVar[Rate] = Rate(
        small=(1 / 60, "measured on the bundled base"),
        large=(1 / 60, "10 times what full tuning takes at 7B, 5e-7"),
    )

    def examples(
        self, rows: Sequence[Row], renderer: Renderer, progress: Progress
    ) -> list[RatedGroup]:
        """Groups of two or three rows, drawn by the seed."""
        rated = _rated(rows, renderer, progress)
        random.Random(self.config.seed).shuffle(rated)
        return [_group(part, renderer.context_length) for part in _grouped(rated)]

    def collate(self, units: Sequence[RatedGroup]) -> RatedBatch:
        """Own documents in one packed batch, mismatched ones in another."""
        answers = [document for group in units for document in group.answers]
        mismatched = [document for group in units for document in group.mismatched]
        desirable = [good for group in units for good in group.desirable]
        sizes = [len(group.answers) for group in units]
        own = [v for group, n in zip(units, sizes, strict=True) for v in group.reference[:n]]
        other = [v for group, n in zip(units, sizes, strict=True) for v in group.reference[n:]]
        return RatedBatch(
            **packed(answers),
            mismatched=collate(mismatched),
            desirable=torch.tensor(desirable, dtype=torch.bool),
            good=sum(desirable),
            reference=torch.tensor(own),
            mismatched_reference=torch.tensor(other),
        )

    def loss(self, model: Any, batch: RatedBatch) -> Outcome:
        """Mean of the answers' weighted losses.

        Metrics: the rewards β·(log π − log π_reference) of good (``chosen``) and of bad answers,
        and the estimated divergence ``kl`` in nats.
        """
        config = self.config.kto
        kl = _divergence(model, batch)
        ratios = document_sums(token_log_probs(model, batch), batch) - batch.reference
        losses = kto_loss(ratios, batch.desirable, kl, config.beta)
        weights = torch.where(batch.desirable, config.desirable_weight, config.undesirable_weight)
        rewards = config.beta * ratios.detach()
        bad = batch.count - batch.good
        metrics = {
            "rewards/chosen": Mean(rewards[batch.desirable].sum(), batch.good),
            "rewards/rejected": Mean(rewards[~batch.desirable].sum(), bad),
            "kl": Mean(kl * batch.count, batch.count),
        }
        return Outcome((Mean((weights * losses).sum(), batch.count),), metrics)

    def refer(
        self, units: Sequence[RatedGroup], log_probs: Sequence[Sequence[float]]
    ) -> list[RatedGroup]:
        """The groups with the reference's log-probabilities."""
        return [
            replace(group, reference=tuple(values))
            for group, values in zip(units, log_probs, strict=True)
        ]

    def notes(self, units: Sequence[RatedGroup]) -> tuple[str, ...]:
        """How to weigh good and bad answers, and whether a step sees enough of them."""
        config = self.config.kto
        good = sum(sum(group.desirable) for group in units)
        bad = sum(len(group.desirable) for group in units) - good
        return (
            *_balance(good, bad, config.desirable_weight, config.undesirable_weight),
            *few_per_batch(units, self.config.batch_tokens, 2, "answers"),
        )


def _divergence(model: Any, batch: RatedBatch) -> Tensor:
    """max(0, mean over mismatched pairs of log π − log π_reference), a constant of the loss."""
    with torch.no_grad():
        sums = document_sums(token_log_probs(model, batch.mismatched), batch.mismatched)
        return (sums - batch.mismatched_reference).mean().clamp(min=0)


def _rated(
    rows: Sequence[Row], renderer: Renderer, progress: Progress
) -> list[tuple[Example, bool]]:
    """Every answer with whether it is good: of rows that judge one, or that hold a pair."""
    if any(row.rejected for row in rows):
        pairs = render_pairs(rows, renderer, progress)
        return [entry for pair in pairs for entry in ((pair.better, True), (pair.worse, False))]
    for row in rows:
        refuse_empty(row, row.conversation.messages[-1:], "judged")
        if row.desirable is None:
            raise DataError(f"{row.source.file}, row {row.source.row} does not judge its answer")
    examples = render_examples(rows, renderer, progress, lambda row: answer_alone(row.conversation))
    return [(example, bool(rows[example.row].desirable)) for example in examples]


def _grouped(rated: Sequence[tuple[Example, bool]]) -> Iterator[Sequence[tuple[Example, bool]]]:
    """Twos in order; one that is left over joins the last two."""
    starts = range(0, max(1, len(rated) - 1), 2) if rated else ()
    for start in starts:
        last = len(rated) - start <= 3
        yield rated[start:] if last else rated[start : start + 2]


def _group(rated: Sequence[tuple[Example, bool]], limit: int) -> RatedGroup:
    answers = tuple(example for example, _ in rated)
    mismatched = tuple(
        _crossed(answers[place], answers[place - 1], limit) for place in range(len(answers))
    )
    return RatedGroup(answers, mismatched, tuple(good for _, good in rated))


def _crossed(asked: Example, answered: Example, limit: int) -> Example:
    """One document's question before another's answer, cut to what the base reads."""
    question = asked.mask.index(1, 1)
    answer = answered.mask.index(1, 1)
    return Example(
        asked.row,
        (asked.ids[:question] + answered.ids[answer:])[:limit],
        (array("b", bytes(question)) + answered.mask[answer:])[:limit],
    )


def _balance(good: int, bad: int, good_weight: float, bad_weight: float) -> tuple[str, ...]:
    """The paper wants the weighted numbers as 1:1 to 4:3 (arXiv 2402.01306, section 4.2)."""
    if not (good and bad and good_weight and bad_weight):
        return (f"{good:,} good and {bad:,} bad answers: KTO learns best from both",)
    ratio = good * good_weight / (bad * bad_weight)
    if 1 <= ratio <= 4 / 3:
        return ()
    weight = (
        f"kto.desirable_weight={bad * bad_weight / good:.3g}"
        if ratio < 1
        else f"kto.undesirable_weight={good * good_weight / bad:.3g}"
    )
    return (f"{good:,} good and {bad:,} bad answers; {weight} would balance them",)
