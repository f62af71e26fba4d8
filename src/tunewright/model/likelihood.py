"""How likely a model holds given answers to be."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from tunewright.model.rendering import Rendered

_BATCH_TOKENS = 4096
_LOGITS = 1 << 25
"""Logits held at once, in numbers: 128 MB in float32."""


class Likelihood(NamedTuple):
    """What a model makes of one answer.

    Attributes:
        log_probability: of its counted tokens, summed, in nats.
        tokens: how many those are.
    """

    log_probability: float
    tokens: int


@torch.inference_mode()
def likelihoods(
    model: Any, rows: Sequence[Rendered], left_out: Collection[int] = ()
) -> list[Likelihood]:
    """The likelihood of the tokens that each row's loss mask counts, given those before them.

    Args:
        model: a causal language model whose attention keeps packed documents apart.
        rows: rendered conversations; the first token of a row follows nothing and never counts.
        left_out: tokens that do not count, whatever the mask says.

    Returns:
        One for each row, in order.
    """
    found: list[Likelihood] = []
    for batch in _batches(rows):
        found += _of_batch(model, batch, left_out)
    return found


def _batches(rows: Sequence[Rendered]) -> Iterator[list[Rendered]]:
    batch: list[Rendered] = []
    for row in rows:
        if batch and sum(len(one.ids) for one in batch) + len(row.ids) > _BATCH_TOKENS:
            yield batch
            batch = []
        batch.append(row)
    if batch:
        yield batch


def _of_batch(model: Any, rows: list[Rendered], left_out: Collection[int]) -> list[Likelihood]:
    ids = torch.tensor([token for row in rows for token in row.ids])
    counted = torch.tensor(
        [
            bool(mask) and place > 0 and token not in left_out
            for row in rows
            for place, (token, mask) in enumerate(zip(row.ids, row.mask, strict=True))
        ]
    )
    document = torch.repeat_interleave(
        torch.arange(len(rows)), torch.tensor([len(row.ids) for row in rows])
    )
    places = counted.nonzero().squeeze(-1)
    sums = torch.zeros(len(rows), dtype=torch.float64)
    if len(places):
        values = _log_probabilities(model, rows, ids, places)
        sums.index_add_(0, document[places], values)
    tokens = torch.bincount(document[places], minlength=len(rows))
    return [Likelihood(*pair) for pair in zip(sums.tolist(), tokens.tolist(), strict=True)]


def _log_probabilities(model: Any, rows: list[Rendered], ids: Tensor, places: Tensor) -> Tensor:
    """Log-probability of the token at each place, (places,), float64 on the CPU."""
    device = model.device
    positions = torch.cat([torch.arange(len(row.ids)) for row in rows])
    ends = torch.tensor([0, *(len(row.ids) for row in rows)]).cumsum(0).int()
    vocabulary = int(model.config.get_text_config().vocab_size)
    parts = []
    # What predicts a token stands before it. Mostly one part: answers are short.
    for part in torch.split(places, max(1, _LOGITS // vocabulary)):
        logits = model(
            input_ids=ids[None].to(device),
            position_ids=positions[None].to(device),
            cu_seqlens=ends,
            use_cache=False,
            logits_to_keep=(part - 1).to(device),
        ).logits[0]
        wanted = ids[part].to(device)
        parts.append(-F.cross_entropy(logits.float(), wanted, reduction="none").double().cpu())
    return torch.cat(parts)
