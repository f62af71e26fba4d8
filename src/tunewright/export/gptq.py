"""GPTQ: rounding a layer's weights so that its outputs, not the weights, stay close.

Frantar et al. 2022, arXiv 2210.17323. The inputs are rounded one after the other, the ones that
matter most first; what rounding one does to the outputs is made up for by those that are left. How
much they can is in the inverse of the Hessian of the squared error, the inputs' second moments.
"""

from __future__ import annotations

import torch
from torch import Tensor

from tunewright.core.errors import ModelError
from tunewright.export.packing import Grid

_COLUMNS = 128
_TRIES = 6


class SecondMoments:
    """Mean of x xᵀ over a layer's inputs x.

    Attributes:
        total: their sum (in, in), float32.
        count: how many there were.
    """

    def __init__(self, width: int, device: torch.device) -> None:
        self.total = torch.zeros(width, width, device=device)
        self.count = 0

    def add(self, inputs: Tensor) -> None:
        """Inputs (…, in)."""
        flat = inputs.reshape(-1, inputs.shape[-1]).float()
        self.total.addmm_(flat.T, flat)
        self.count += len(flat)

    def mean(self) -> Tensor:
        """(in, in)."""
        return self.total / max(1, self.count)


def gptq(weight: Tensor, moments: Tensor, scales: Tensor, grid: Grid, damping: float) -> Tensor:
    """Levels of a matrix.

    The scales are those of the groups in the matrix's own order, whatever the order in which its
    columns are rounded, so that nothing has to be reordered when it is read.

    Args:
        weight: (out, in), float32.
        moments: of the layer's inputs, (in, in).
        scales: (out, in / group).
        grid: of the levels.
        damping: share of the mean moment that is added to each.

    Returns:
        (out, in), int8.

    Raises:
        ModelError: the moments hold numbers that are none.
    """
    order = torch.argsort(moments.diagonal(), descending=True, stable=True)
    left = weight[:, order].clone()
    spread = scales[:, order // grid.group]
    inverse = _inverse_root(moments[order[:, None], order], damping)
    levels = torch.empty_like(left)
    for first in range(0, left.shape[1], _COLUMNS):
        last = min(first + _COLUMNS, left.shape[1])
        part, root = left[:, first:last].clone(), inverse[first:last, first:last]
        errors = torch.empty_like(part)
        for column in range(last - first):
            scale = spread[:, first + column]
            level = grid.nearest(part[:, column], scale)
            levels[:, first + column] = level
            error = (part[:, column] - level * scale) / root[column, column]
            part[:, column:] -= torch.outer(error, root[column, column:])
            errors[:, column] = error
        left[:, last:] -= errors @ inverse[first:last, last:]
    placed = torch.empty_like(levels)
    placed[:, order] = levels
    return placed.to(torch.int8)


def _inverse_root(moments: Tensor, damping: float) -> Tensor:
    """Upper Cholesky factor of the inverse of moments, which are damped until they have one."""
    mean = moments.diagonal().mean().clamp_min(1e-12)
    if not bool(torch.isfinite(mean)):
        raise ModelError("the calibration rows give numbers that are not finite")
    for _ in range(_TRIES):
        moments.diagonal().add_(damping * mean)
        lower, failed = torch.linalg.cholesky_ex(moments)
        if not failed:
            upper: Tensor
            upper, failed = torch.linalg.cholesky_ex(torch.cholesky_inverse(lower), upper=True)
            if not failed:
                return upper
        damping *= 10
    raise ModelError("the calibration rows' moments cannot be inverted", "Use more rows.")
