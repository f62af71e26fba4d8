"""Activations that are made again in the backward pass instead of being kept.

Chen et al. 2016, arXiv 1604.06174. ``full`` keeps the input of every block; ``selective`` (as in
Korthikanti et al. 2022, arXiv 2205.05198, who choose what is large and cheap) keeps all but what
is inside the MLPs: that is half of the activations for a fifth more of the blocks' products, and
attention, whose cost grows with the length, is not repeated. Losses and gradients stay the same,
bit for bit; random numbers are drawn again as they were.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, Literal

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from tunewright.core.errors import ConfigError
from tunewright.model.tuners.targets import blocks, is_attention, linear_layers

Checkpointing = Literal["auto", "none", "selective", "full"]


def recompute(model: Any, what: Checkpointing) -> None:
    """Let a model make activations again while it trains; an evaluation is not changed.

    Args:
        model: a transformers model with what is trained attached.
        what: ``none`` changes nothing, nor does ``auto``, where nobody could decide.

    Raises:
        ConfigError: the base is not built from blocks; or selective, and they hold no MLPs.
    """
    if what in ("auto", "none"):
        return
    for path, block in blocks(model):
        module = block if what == "full" else _mlp(model, path, block)
        module.forward = _again(module.forward, module)


def _mlp(model: nn.Module, path: str, block: nn.Module) -> nn.Module:
    """The child of a block that holds its linear layers outside the attention."""
    inside = [
        name.removeprefix(f"{path}.")
        for name in linear_layers(model)
        if name.startswith(f"{path}.") and not is_attention(name)
    ]
    children = {name.partition(".")[0] for name in inside}
    if len(children) != 1 or children & set(inside):
        raise ConfigError(
            f"option 'memory.checkpointing': {path} of this base has no MLP of its own",
            "Use memory.checkpointing=full.",
        )
    return block.get_submodule(children.pop())


def _again(forward: Callable[..., Any], module: nn.Module) -> Callable[..., Any]:
    @wraps(forward)
    def recomputing(*inputs: Any, **options: Any) -> Any:
        if not (module.training and torch.is_grad_enabled()):
            return forward(*inputs, **options)
        return checkpoint(forward, *inputs, use_reentrant=False, **options)

    return recomputing
