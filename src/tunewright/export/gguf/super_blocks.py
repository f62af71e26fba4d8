"""The search behind k-quants: integers that stand for 256 weights with the least square error.

A super-block is cut into sub-blocks. Each has a small integer ``scale`` and, in some layouts,
a ``minimum``; two float16 numbers, ``unit`` and ``minimum_unit``, belong to the whole::

    weight ≈ unit · scale · level − minimum_unit · minimum

The search is least squares over a few candidates, for many super-blocks at once. (1) Each sub-block
tries several widths of a level, rounds to levels, and solves for the scale and minimum in real
numbers. (2) Those are rounded to integers of common units. (3) Each sub-block tries the neighbours
of its integers, each with the levels that are then nearest.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import product

import torch
from torch import Tensor

_WIDTHS = tuple(1.08 - 0.03 * step for step in range(9))
"""Widths of a level tried, relative to the one at which the levels just span the weights."""
_SCALE_STEPS = (0, 1, -1, 2, -2)
_NEAREST = (0, 1, -1)
_LARGEST_F16, _SMALLEST_F16 = 65504.0, 2.0**-24


@dataclass(frozen=True)
class Layout:
    """What integers a super-block holds.

    Attributes:
        size: weights of a sub-block.
        levels: least and greatest level.
        scales: least and greatest scale; minima lie between 0 and the greatest.
        minima: whether a minimum is taken off; levels are then not negative.
    """

    size: int
    levels: tuple[int, int]
    scales: tuple[int, int]
    minima: bool


@dataclass(frozen=True)
class SuperBlocks:
    """Weights as integers, in float32; ``n`` super-blocks of ``b`` sub-blocks of ``s`` weights.

    Attributes:
        unit, minimum_unit: (n, 1), exactly as float16 holds them.
        scales, minima: (n, b).
        levels: (n, b, s).
    """

    unit: Tensor
    minimum_unit: Tensor
    scales: Tensor
    minima: Tensor
    levels: Tensor


def search(weights: Tensor, layout: Layout) -> SuperBlocks:
    """The integers for weights of shape (n, b, s), finite and within float16's range."""
    scale, minimum = (_spanning if layout.minima else _centred)(weights, layout)
    found = _nearby(weights, layout, _rounded(weights, layout, scale, minimum))
    return replace(found, levels=_levels(weights, layout, found))


def _spanning(weights: Tensor, layout: Layout) -> tuple[Tensor, Tensor]:
    """Real scales and minima, each (n, b), of levels that begin at the least weight or zero."""
    count, top = layout.size, layout.levels[1]
    low = weights.amin(-1).clamp_max(0)
    above = weights - low[..., None]
    total, reach = above.sum(-1), above.amax(-1)
    best = _Best()
    for width in _WIDTHS:
        step = reach * (width / top)
        levels = (above * _inverse(step)[..., None]).round_().clamp_(0, top)
        ones, squares, match = levels.sum(-1), _squares(levels), (levels * above).sum(-1)
        determinant = count * squares - ones.square()
        scale = (count * match - total * ones) * _inverse(determinant)
        minimum = -low - (total - scale * ones) / count
        # A minimum cannot be negative: such a sub-block goes through zero instead.
        through_zero = minimum < 0
        scale = torch.where(through_zero, (match + low * ones) * _inverse(squares), scale)
        scale, minimum = scale.clamp_min(0), minimum.clamp_min(0)
        gap = -minimum - low
        error = (scale.square() * squares + count * gap.square()
                 + 2 * (scale * (gap * ones - match) - gap * total))  # fmt: skip
        best.offer(error, scale, minimum)
    scale, minimum = best.values
    return scale, minimum


def _centred(weights: Tensor, layout: Layout) -> tuple[Tensor, Tensor]:
    """Real scales, (n, b), of levels around zero; minima are zero.

    The weight furthest from zero gets the least level, of which there is one more on that side.
    """
    least, top = layout.levels
    furthest = weights.gather(-1, weights.abs().argmax(-1, keepdim=True))[..., 0]
    best = _Best()
    for width in _WIDTHS:
        step = furthest * (width / least)
        levels = (weights * _inverse(step)[..., None]).round_().clamp_(least, top)
        match = (levels * weights).sum(-1)
        scale = match * _inverse(_squares(levels))
        best.offer(-scale * match, scale)
    (scale,) = best.values
    return scale, torch.zeros_like(scale)


def _rounded(weights: Tensor, layout: Layout, scale: Tensor, minimum: Tensor) -> SuperBlocks:
    """Scales and minima as integers of units that the largest of them just fills."""
    least, top = layout.scales
    if layout.minima:
        unit = _half(scale.amax(-1, keepdim=True) / top)
    else:
        unit = _half(scale.gather(-1, scale.abs().argmax(-1, keepdim=True)) / least)
    minimum_unit = _half(minimum.amax(-1, keepdim=True) / top)
    return SuperBlocks(
        unit,
        minimum_unit,
        (scale * _inverse(unit)).round_().clamp_(least, top),
        (minimum * _inverse(minimum_unit)).round_().clamp_(0, top),
        weights,
    )


def _nearby(weights: Tensor, layout: Layout, found: SuperBlocks) -> SuperBlocks:
    """The best of the integers next to each sub-block's own."""
    least, top = layout.scales
    best = _Best()
    for scale_step, minimum_step in _neighbours(layout):
        scales = (found.scales + scale_step).clamp_(least, top)
        minima = (found.minima + minimum_step).clamp_(0, top) if layout.minima else found.minima
        tried = replace(found, scales=scales, minima=minima)
        tried = replace(tried, levels=_levels(weights, layout, tried))
        best.offer(_errors(weights, tried), scales, minima)
    scales, minima = best.values
    return replace(found, scales=scales, minima=minima)


def _neighbours(layout: Layout) -> Iterable[tuple[int, int]]:
    if layout.minima:
        return product(_NEAREST, _NEAREST)
    return ((step, 0) for step in _SCALE_STEPS)


def _levels(weights: Tensor, layout: Layout, found: SuperBlocks) -> Tensor:
    """Each weight's nearest level, (n, b, s)."""
    inverse = _inverse(found.unit * found.scales)[..., None]
    if layout.minima:
        weights = weights + (found.minimum_unit * found.minima)[..., None]
    return (weights * inverse).round_().clamp_(*layout.levels)


def _errors(weights: Tensor, found: SuperBlocks) -> Tensor:
    """Square error of each sub-block, (n, b)."""
    least = (found.minimum_unit * found.minima)[..., None]
    return _squares((found.unit * found.scales)[..., None] * found.levels - least - weights)


class _Best:
    """The candidate of least error, element by element; the first of equal ones."""

    def __init__(self) -> None:
        """Nothing was offered yet."""
        self._error: Tensor | None = None
        self.values: tuple[Tensor, ...] = ()

    def offer(self, error: Tensor, *values: Tensor) -> None:
        """Keep the values wherever their error is smaller than that of all before."""
        if self._error is None:
            self._error, self.values = error, values
            return
        smaller = error < self._error
        pairs = zip(values, self.values, strict=True)
        self.values = tuple(torch.where(smaller, new, old) for new, old in pairs)
        self._error = torch.where(smaller, error, self._error)


def _squares(values: Tensor) -> Tensor:
    return values.square().sum(-1)


def _inverse(values: Tensor) -> Tensor:
    """One divided by the values; zero for zero."""
    return torch.where(values == 0, 0, 1 / values)


def _half(values: Tensor) -> Tensor:
    """As float16 holds them; what is too small for it becomes its smallest number, not zero."""
    rounded = values.clamp(-_LARGEST_F16, _LARGEST_F16).half().float()
    lost = (rounded == 0) & (values != 0)
    return torch.where(lost, torch.copysign(torch.tensor(_SMALLEST_F16), values), rounded)
