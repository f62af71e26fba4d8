"""Reward models: a base with an adapter and a head that gives every conversation one number.

The head is linear, without bias, over the last hidden state of the conversation's last token, as
in transformers' models for sequence classification. In a tuned model's folder it lies apart from
the adapter, so that the adapter stays what it is:

    reward/head.safetensors    ``score.weight`` (1, hidden), float32

Scores have no unit and no zero of their own: only differences between answers to the same
question mean something.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tunewright.core.errors import DataError, ModelError
from tunewright.core.files import disk_errors
from tunewright.core.messages import Conversation
from tunewright.model.adapters import load_adapter, load_foundation
from tunewright.model.references import Resolved
from tunewright.model.rendering import Renderer
from tunewright.model.tuners.files import head_file
from tunewright.model.tuners.tensors import read_tensors, write_tensors

_WEIGHT = "score.weight"
_BATCH_TOKENS = 8192


class RewardModel(nn.Module):
    """A causal language model with a scalar head.

    Args:
        model: what the head stands on.
        head: ``(1, hidden)``, see ``new_head``.
        renderer: of the base.
    """

    def __init__(self, model: Any, head: nn.Linear, renderer: Renderer) -> None:
        super().__init__()
        self.model = model
        self.head = head
        self.renderer = renderer

    def forward(self, input_ids: Tensor, position_ids: Tensor, cu_seqlens: Tensor) -> Tensor:
        """Scores of packed documents.

        Args:
            input_ids: ``(1, tokens)``.
            position_ids: ``(1, tokens)``, restarting at 0 with every document.
            cu_seqlens: where documents begin, and the end: ``(documents + 1,)``, on the CPU.

        Returns:
            ``(documents,)`` in float32.
        """
        ends = (cu_seqlens[1:] - 1).long().to(input_ids.device)
        with _hidden_states(self.model) as found:
            # Through the model's own forward, whatever is wrapped around it; one logit is least.
            self.model(
                input_ids=input_ids,
                position_ids=position_ids,
                cu_seqlens=cu_seqlens,
                logits_to_keep=1,
                use_cache=False,
            )
        last = found[0][0].index_select(0, ends)
        scores: Tensor = self.head(last.float()).squeeze(-1)
        return scores


@contextmanager
def _hidden_states(model: Any) -> Iterator[list[Tensor]]:
    """Collects the last hidden states ``(1, tokens, hidden)`` of the forward passes inside."""
    found: list[Tensor] = []

    def keep(module: nn.Module, inputs: Any, output: Any) -> None:
        found.append(output.last_hidden_state)

    handle = model.base_model.register_forward_hook(keep)
    try:
        yield found
    finally:
        handle.remove()


def new_head(width: int, seed: int) -> nn.Linear:
    """A head drawn from a normal distribution of standard deviation 1 / √(width + 1).

    Scores then begin near zero, whatever the width (Stiennon et al. 2020, arXiv 2009.01325).
    """
    generator = torch.Generator().manual_seed(seed)
    head = nn.Linear(width, 1, bias=False)
    with torch.no_grad():
        head.weight.normal_(0.0, 1 / math.sqrt(width + 1), generator=generator)
    return head


def save_head(head: nn.Linear, folder: Path) -> None:
    """Write a head into a tuned model's folder.

    Raises:
        StorageError: when the disk refuses.
    """
    path = head_file(folder)
    with disk_errors(folder):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_tensors({_WEIGHT: head.weight}, path)


def read_head(folder: Path, width: int) -> nn.Linear:
    """The head in a tuned model's folder.

    Raises:
        ModelError: the folder holds none, or one that is damaged or of another width.
    """
    if not head_file(folder).is_file():
        raise ModelError(
            f"{folder} is no reward model: it has no {head_file(folder).relative_to(folder)}",
            "Train one with method=reward on pairs of answers.",
        )
    weight = read_tensors(head_file(folder)).get(_WEIGHT)
    if weight is None or tuple(weight.shape) != (1, width):
        raise ModelError(f"{head_file(folder)} does not hold {_WEIGHT} of shape (1, {width})")
    head = nn.Linear(width, 1, bias=False)
    head.weight = nn.Parameter(weight.float())
    return head


def head_width(model: Any) -> int:
    """The width of the hidden states that a head on this model reads."""
    return int(model.config.get_text_config().hidden_size)


def load_reward_model(resolved: Resolved, device: torch.device, dtype: torch.dtype) -> RewardModel:
    """A tuned reward model, ready to score.

    Args:
        resolved: the tuned model, see ``references.resolve``.
        device: where to put it.
        dtype: of the base's weights.

    Raises:
        ModelError: not a reward model, or its files are damaged.
    """
    if not resolved.folders:
        raise ModelError(f"{resolved.name} is a base, not a reward model")
    foundation = resolved.foundation
    model = load_foundation(foundation, device, dtype)
    if resolved.adapter is not None:
        load_adapter(model, resolved.adapter)
    head = read_head(resolved.folders[-1], head_width(model)).to(device)
    reward = RewardModel(model, head, Renderer(foundation.base.folder))
    return reward.requires_grad_(False).eval()


@torch.no_grad()
def score(model: RewardModel, conversations: Sequence[Conversation]) -> Tensor:
    """How good the last answer of each conversation is.

    Args:
        model: see ``load_reward_model``; dropout is off while it scores.
        conversations: each ends with the answer to judge.

    Returns:
        ``(conversations,)`` in float32, on the CPU.

    Raises:
        DataError: a conversation has no answer, or is longer than the base reads.
    """
    rendered = [row.ids for row in model.renderer.render_many(conversations)]
    limit = model.renderer.context_length
    for number, (conversation, ids) in enumerate(zip(conversations, rendered, strict=True)):
        if conversation.answer is None:
            raise DataError(f"conversation {number} does not end with an answer")
        if len(ids) > limit:
            raise DataError(
                f"conversation {number} has {len(ids)} tokens, but the base reads at most {limit}"
            )
    training = model.training
    model.eval()
    try:
        parts = [_scores(model, batch) for batch in _batches(rendered)]
    finally:
        model.train(training)
    return torch.cat(parts) if parts else torch.zeros(0)


def _batches(documents: Sequence[list[int]]) -> Iterator[list[list[int]]]:
    """Documents in order, in batches of bounded size."""
    batch: list[list[int]] = []
    tokens = 0
    for ids in documents:
        if batch and tokens + len(ids) > _BATCH_TOKENS:
            yield batch
            batch, tokens = [], 0
        batch.append(ids)
        tokens += len(ids)
    if batch:
        yield batch


def _scores(model: RewardModel, documents: list[list[int]]) -> Tensor:
    device = model.head.weight.device
    lengths = torch.tensor([0, *map(len, documents)])
    scores: Tensor = model(
        torch.tensor([[token for ids in documents for token in ids]], device=device),
        torch.cat([torch.arange(len(ids)) for ids in documents])[None].to(device),
        lengths.cumsum(0).int(),
    )
    return scores.cpu()
