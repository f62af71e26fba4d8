"""Few sizes of tensors where every new one costs."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

SIZE_STEP = 32
"""Multiple that sizes are rounded up to."""


def rounds_sizes(model: Any, tensor: Tensor) -> bool:
    """Whether a model's inputs should come in few sizes: where a processor computes in bfloat16.

    oneDNN compiles code for every new size and keeps about a megabyte of it each time. With the
    lengths of real documents that took 7 % of the time and 40 MB more in every step, up to a
    gigabyte (29M-parameter model, steps of 1,024 tokens).

    Args:
        model: a transformers model; ``computes_in`` is its type where its weights have another.
        tensor: an input, on the model's device.
    """
    return _slow(tensor.device, getattr(model, "computes_in", model.dtype))


def rounds_length(tensor: Tensor) -> bool:
    """The same of a tensor inside a pass."""
    return _slow(tensor.device, tensor.dtype)


def _slow(device: torch.device, dtype: torch.dtype) -> bool:
    return device.type == "cpu" and dtype == torch.bfloat16
