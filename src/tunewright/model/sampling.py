"""Drawing the next token of each row from its logits."""

from __future__ import annotations

import random
from collections.abc import Sequence

import torch
from torch import Tensor

from tunewright.config.serving import GenerationConfig

# The likeliest tokens usually hold the share asked for; sorting a whole vocabulary takes long.
_FEW = 1024


def draw(logits: Tensor, config: GenerationConfig, chances: Sequence[random.Random]) -> list[int]:
    """One token per row, all drawn alike.

    Args:
        logits: (rows, vocab).
        config: temperature and top_p.
        chances: one source per row.
    """
    return draw_each(logits, [config] * logits.shape[0], chances)


def draw_each(
    logits: Tensor, configs: Sequence[GenerationConfig], chances: Sequence[random.Random]
) -> list[int]:
    """One token per row: the likeliest at temperature 0, else a draw, from a nucleus or from all.

    Nucleus sampling: Holtzman et al. 2020, arXiv 1904.09751. Each row has its own source of
    chance, so that a draw does not depend on which rows share the batch.

    Args:
        logits: (rows, vocab).
        configs: one temperature and top_p per row.
        chances: one source per row.
    """
    # Of bfloat16, max takes a quarter of argmax's time; both give the first of equals.
    drawn: list[int] = logits.max(dim=-1).indices.tolist()
    warm = [row for row, config in enumerate(configs) if config.temperature > 0]
    if not warm:
        return drawn
    heat = torch.tensor([configs[row].temperature for row in warm], device=logits.device)
    uniform = torch.tensor([chances[row].random() for row in warm], device=logits.device)
    all_shares = torch.softmax(logits[warm].float() / heat[:, None], dim=-1)
    whole = [place for place, row in enumerate(warm) if configs[row].top_p == 1]
    part = [place for place, row in enumerate(warm) if configs[row].top_p < 1]
    if whole:
        places = _landed(all_shares[whole], uniform[whole])[:, 0].tolist()
        for place, token in zip(whole, places, strict=True):
            drawn[warm[place]] = token
    if part:
        top_p = torch.tensor([configs[warm[place]].top_p for place in part], device=logits.device)
        tokens = _nucleus(all_shares[part], top_p, uniform[part])
        for place, token in zip(part, tokens, strict=True):
            drawn[warm[place]] = token
    return drawn


def log_shares(logits: Tensor, tokens: Tensor, alternatives: int) -> tuple[Tensor, Tensor, Tensor]:
    """Log-probabilities of given tokens, and of the likeliest ones.

    Args:
        logits: (rows, vocab).
        tokens: (rows,).
        alternatives: how many of the likeliest.

    Returns:
        The tokens' (rows,), then the likeliest tokens' and their ids (rows, alternatives).
    """
    wide = logits.float()
    # Only the sum is needed: log-probabilities of a whole vocabulary would be as large again.
    total = wide.logsumexp(dim=-1)
    own = wide.gather(1, tokens[:, None])[:, 0] - total
    best, ids = wide.topk(min(alternatives, wide.shape[-1]), dim=-1)
    return own, best - total[:, None], ids


def _nucleus(shares: Tensor, top_p: Tensor, uniform: Tensor) -> list[int]:
    few = min(_FEW, shares.shape[-1])
    best, tokens = shares.topk(few, dim=-1)
    drawn = _from_nucleus(best, tokens, top_p, uniform)
    if few < shares.shape[-1]:
        for row in (best.sum(dim=-1) < top_p).nonzero()[:, 0].tolist():
            best, tokens = shares[row : row + 1].sort(descending=True, dim=-1)
            one = slice(row, row + 1)
            drawn[row] = _from_nucleus(best, tokens, top_p[one], uniform[one])[0]
    return drawn


def _from_nucleus(best: Tensor, tokens: Tensor, top_p: Tensor, uniform: Tensor) -> list[int]:
    """A draw per row from the shares (rows, choices), largest first, that reach ``top_p``."""
    reached = best.cumsum(dim=-1)
    # A token stays while those before it hold less than top_p: the first always does.
    best = best.masked_fill(reached - best >= top_p[:, None], 0.0)
    drawn: list[int] = tokens.gather(1, _landed(best, uniform))[:, 0].tolist()
    return drawn


def _landed(shares: Tensor, uniform: Tensor) -> Tensor:
    """Where draws (rows,) from 0 to 1 land among shares (rows, choices): (rows, 1)."""
    reached = shares.cumsum(dim=-1)
    place = torch.searchsorted(reached, uniform[:, None] * reached[:, -1:], right=True)
    # Rounding may put a draw past the last share; then that one is drawn.
    choices = torch.arange(shares.shape[-1], device=shares.device)
    last = torch.where(shares > 0, choices, 0).amax(dim=-1, keepdim=True)
    return torch.minimum(place, last)
