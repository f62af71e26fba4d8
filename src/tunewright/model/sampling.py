"""Drawing the next token of each row from its logits."""

from __future__ import annotations

import random
from collections.abc import Sequence

import torch
from torch import Tensor

from tunewright.config.serving import GenerationConfig


def draw(logits: Tensor, config: GenerationConfig, chances: Sequence[random.Random]) -> list[int]:
    """One token per row: the likeliest at temperature 0, else a nucleus draw.

    Nucleus sampling: Holtzman et al. 2020, arXiv 1904.09751. Each row has its own source of
    chance, so that a draw does not depend on which rows share the batch.

    Args:
        logits: (rows, vocab).
        config: temperature and top_p.
        chances: one source per row.
    """
    if config.temperature == 0:
        greedy: list[int] = logits.argmax(dim=-1).tolist()
        return greedy
    shares, tokens = torch.softmax(logits / config.temperature, dim=-1).sort(descending=True)
    reached = shares.cumsum(dim=-1)
    # A token stays while those before it hold less than top_p: the first always does.
    shares = shares.masked_fill(reached - shares >= config.top_p, 0.0)
    reached = shares.cumsum(dim=-1)
    uniform = torch.tensor([chance.random() for chance in chances], device=logits.device)
    goal = uniform[:, None] * reached[:, -1:]
    # Rounding may put the goal past the last kept token; then that one is drawn.
    last = (shares > 0).sum(dim=-1, keepdim=True) - 1
    place = torch.minimum((reached <= goal).sum(dim=-1, keepdim=True), last)
    drawn: list[int] = tokens.gather(1, place)[:, 0].tolist()
    return drawn
