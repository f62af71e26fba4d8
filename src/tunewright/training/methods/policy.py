"""Learning from the model's own graded answers: what grpo and rloo share.

A step draws a group of answers to each of its questions, and makes likelier those that are worth
more than the others of their group.
"""

from __future__ import annotations

import json
from abc import abstractmethod
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from tunewright.core.dataset_io import read_rows
from tunewright.core.errors import DataError
from tunewright.core.messages import Conversation, Row, RowKind, Split
from tunewright.grading.table import fields_read
from tunewright.model.rendering import Renderer as FullRenderer
from tunewright.training.batches import (
    Example,
    PackedBatch,
    Progress,
    Renderer,
    Sampler,
    Unit,
    packed,
)
from tunewright.training.losses import log_probs_of, supervised_logits
from tunewright.training.methods.base import Mean, Method, Rate

FIELDS = ("messages", "question", "reference_answer", "slice", "system", "tools")
"""What graders can read of a row as ``item.…``; a row without one of them lacks the field."""
_CHUNK_ELEMENTS = 2**24
_EPSILON = 1e-4  # keeps advantages finite where rewards hardly differ; as in TRL


# Questions -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Prompt:
    """A row's question, and what graders may know of the row.

    Attributes:
        row: its 0-based place in the split.
        ids: the question's tokens, up to where the answer begins.
        conversation: the question.
        item: fields of the row, see ``FIELDS``.
    """

    row: int
    ids: array[int]
    conversation: Conversation
    item: dict[str, Any]

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def rows(self) -> tuple[int, ...]:
        """The row."""
        return (self.row,)

    @property
    def documents(self) -> tuple[Example, ...]:
        """The question, with nothing to learn."""
        return (Example(self.row, self.ids, array("b", bytes(len(self.ids)))),)

    @property
    def learnt(self) -> int:
        """Nothing: what is learnt is yet to be drawn."""
        return 0

    @property
    def marks(self) -> bytes:
        """What graders read."""
        return json.dumps(self.item, ensure_ascii=False, sort_keys=True).encode()


@dataclass(frozen=True)
class PromptBatch(PackedBatch):
    """The questions of a step.

    Attributes:
        prompts: the questions.
    """

    prompts: tuple[Prompt, ...]


# Answers ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Rollout:
    """An answer that the model drew, and how it compares with its group.

    Attributes:
        example: question and answer, the answer's tokens to be learnt.
        advantage: by how much it is better than the others.
        old: log-probabilities of its tokens when it was drawn, ``(learnt,)``; None while the
            model is still as it was then.
        reference: the same of the model that the run started from, where that is compared with.
    """

    example: Example
    advantage: float
    old: Tensor | None = None
    reference: Tensor | None = None

    def __len__(self) -> int:
        return len(self.example)


@dataclass(frozen=True)
class RolloutBatch(PackedBatch):
    """Some of a step's answers.

    Attributes:
        advantages: ``(documents,)``.
        old: ``(supervised,)``, or None.
        reference: ``(supervised,)``, or None.
        answers: answers of the whole step.
        answer_tokens: tokens of all of them.
    """

    advantages: Tensor
    old: Tensor | None
    reference: Tensor | None
    answers: int
    answer_tokens: int


def example_of(prompt: Prompt, tokens: Sequence[int]) -> Example:
    """A question and the tokens of an answer to it, which are to be learnt."""
    return Example(
        prompt.row,
        prompt.ids + array("q", tokens),
        array("b", bytes(len(prompt.ids))) + array("b", [1]) * len(tokens),
    )


def collate_rollouts(rollouts: Sequence[Rollout], answers: int, answer_tokens: int) -> RolloutBatch:
    """Answers end to end.

    Args:
        rollouts: some of the step's.
        answers: how many the step has.
        answer_tokens: tokens of all its answers.
    """
    return RolloutBatch(
        **packed([one.example for one in rollouts]),
        advantages=torch.tensor([one.advantage for one in rollouts]),
        old=_joined([one.old for one in rollouts]),
        reference=_joined([one.reference for one in rollouts]),
        answers=answers,
        answer_tokens=answer_tokens,
    )


def _joined(parts: Sequence[Tensor | None]) -> Tensor | None:
    known = [part for part in parts if part is not None]
    return torch.cat(known) if len(known) == len(parts) else None


# The method ------------------------------------------------------------------------------------


class PolicyMethod(Method[Prompt, Any]):
    """A method that learns from graded answers of its own."""

    kinds: ClassVar[frozenset[RowKind]] = frozenset({"conversation", "preference"})
    draws: ClassVar[bool] = True
    epochs: ClassVar[float] = 1.0
    epochs_reason: ClassVar[str] = "every pass draws new answers; watch the reward"
    rate: ClassVar[Rate] = Rate(
        small=(1 / 3, "measured on the bundled base"),
        large=(1 / 30, "1e-5 with LoRA at 7B, as TRL's guide"),
    )

    def read(self, folder: Any, split: Split) -> tuple[Sequence[Row], int]:
        """Every row: each asks something, whether it knows the answer or not."""
        return read_rows(folder, split), 0

    def examples(self, rows: Sequence[Row], renderer: Renderer, progress: Progress) -> list[Prompt]:
        """One question per row.

        Raises:
            DataError: a question leaves no room for an answer, or a row lacks a field that the
                grader reads; names the row.
        """
        if not isinstance(renderer, FullRenderer):
            raise TypeError("answers are drawn with the base's own renderer")
        grader = self.config.rl.grader
        needed = fields_read(grader) if grader is not None else ()
        prompts = []
        for number, row in enumerate(rows):
            item = item_of(row)
            absent = [name for name in needed if name not in item]
            if absent:
                raise DataError(
                    f"{row.source.file}, row {row.source.row} has no {absent[0]}, which the grader"
                    " reads",
                    f"It has: {', '.join(sorted(item))}.",
                )
            asked = row.conversation.prompt()
            ids = renderer.prompt_ids(asked)
            if len(ids) >= renderer.context_length:
                raise DataError(
                    f"{row.source.file}, row {row.source.row}: its question of {len(ids)} tokens"
                    f" leaves no room for an answer; the base reads {renderer.context_length}"
                )
            prompts.append(Prompt(number, array("q", ids), asked, item))
            progress(number + 1, len(rows))
        return prompts

    def collate(self, units: Sequence[Prompt]) -> PromptBatch:
        """The questions of a step."""
        documents = [document for prompt in units for document in prompt.documents]
        return PromptBatch(**packed(documents), prompts=tuple(units))

    def sampler(self, units: Sequence[Prompt]) -> Sampler:
        """``rl.prompts`` questions per step, whatever their lengths."""
        return Sampler((1,) * len(units), self.config.rl.prompts, self.config.seed)

    @classmethod
    def divides(cls) -> bool:
        """Answers are learnt in parts: what their means are divided by is known of the step."""
        return True

    def workload(self, units: Sequence[Prompt]) -> list[Unit]:
        """The longest answers that could be drawn: what memory must hold."""
        most = self.config.rl.max_new_tokens
        return [example_of(prompt, [0] * most) for prompt in units]

    @abstractmethod
    def advantages(self, rewards: Tensor, divergence: Tensor | None) -> Tensor:
        """By how much each answer is better than the others of its group; 0 where unknown.

        Args:
            rewards: ``(prompts, group)``; NaN where there is none.
            divergence: summed log π − log π₀ of each answer, where ``divergence_in_reward``.
        """

    divergence_in_reward: ClassVar[bool] = False
    """Whether the divergence from the start lowers the rewards instead of joining the loss."""

    def log_probs(self, model: Any, batch: PackedBatch) -> tuple[Tensor, Tensor]:
        """Log-probabilities ``(supervised,)`` as drawn from, and the logits that they come from."""
        logits = supervised_logits(model, batch)
        if self.config.rl.temperature != 1:
            logits = logits / self.config.rl.temperature
        return log_probs_of(logits, batch.labels), logits

    def bounds(self) -> tuple[float, float]:
        """Between which a probability ratio is moved."""
        rl = self.config.rl
        return 1 - rl.clip, 1 + (rl.clip if rl.clip_high is None else rl.clip_high)


def item_of(row: Row) -> dict[str, Any]:
    """What graders may know of a row: those of ``FIELDS`` that it has."""
    asked = row.conversation.prompt()
    first = asked.messages[0]
    found: dict[str, Any] = {
        "messages": [message.model_dump(exclude_defaults=True) for message in asked.messages],
        "question": asked.question,
        "reference_answer": row.conversation.answer,
        "system": first.content if first.role == "system" else None,
        "slice": row.slice,
        "tools": list(asked.tools) or None,
    }
    return {name: value for name, value in found.items() if value is not None}


# Formulas --------------------------------------------------------------------------------------


def clipped_loss(ratios: Tensor, advantages: Tensor, low: float, high: float) -> Tensor:
    """−min(r·A, clip(r)·A) (Schulman et al. 2017, arXiv 1707.06347, eq. 7).

    Args:
        ratios: π / π when drawn.
        advantages: A, of the same shape.
        low: least ratio that is still moved on.
        high: largest.
    """
    return -torch.min(ratios * advantages, ratios.clamp(low, high) * advantages)


def outside(ratios: Tensor, advantages: Tensor, low: float, high: float) -> Tensor:
    """Where clipping takes the gradient away, bool."""
    return ((ratios < low) & (advantages < 0)) | ((ratios > high) & (advantages > 0))


def k3(log_probs: Tensor, reference: Tensor) -> Tensor:
    """An unbiased estimate of KL(π, π₀) per token that is never negative (Schulman 2020)."""
    away = reference - log_probs
    return away.exp() - away - 1


def standardised(values: Tensor, center: Tensor, spread: Tensor) -> Tensor:
    """(values − center) / (spread + ε), and 0 where there is no value."""
    return torch.nan_to_num((values - center) / (spread + _EPSILON), nan=0.0)


def nan_std(values: Tensor, dim: int | None = None) -> Tensor:
    """Standard deviation (n − 1) of the numbers among values, kept in shape; 0 of one number."""
    mean = values.nanmean() if dim is None else values.nanmean(dim, keepdim=True)
    known = ~values.isnan()
    squares = torch.where(known, (values - mean).square(), 0.0)
    total = squares.sum() if dim is None else squares.sum(dim, keepdim=True)
    count = known.sum() if dim is None else known.sum(dim, keepdim=True)
    return (total / (count - 1).clamp(min=1)).sqrt()


@torch.no_grad()
def entropy(logits: Tensor) -> Mean:
    """Mean entropy of the next token, in nats, over ``logits`` (tokens, vocab)."""
    size = max(1, _CHUNK_ELEMENTS // logits.shape[1])
    parts = [torch.log_softmax(part.float(), dim=1) for part in torch.split(logits.detach(), size)]
    total = torch.stack([-(part.exp() * part).sum() for part in parts]).sum()
    return Mean(total, logits.shape[0])
