"""Weights as whole numbers of few bits with a scale per group, and how they lie in a file.

A row of a matrix (out, in) is cut into groups of neighbouring inputs, each with one scale; a weight
is its level times the scale of its group. The layout is ``pack-quantized`` of the format
compressed-tensors: levels are moved up so that they start at zero, and put into 32-bit words, the
first of them in the lowest bits.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

_WORD = 32
_SHRINKS = tuple(1 - step / 40 for step in range(16))
"""Shares of a group's largest weight that its scale is tried to reach."""


@dataclass(frozen=True)
class Grid:
    """Which numbers can be written.

    Attributes:
        bits: of a level; they divide 32.
        group: inputs that share a scale.
    """

    bits: int
    group: int

    @property
    def lowest(self) -> int:
        """Smallest level."""
        return -(1 << self.bits - 1)

    @property
    def highest(self) -> int:
        """Largest level."""
        return (1 << self.bits - 1) - 1

    @property
    def per_word(self) -> int:
        """Levels in a word."""
        return _WORD // self.bits

    def nearest(self, weight: Tensor, scales: Tensor) -> Tensor:
        """Levels (float) of weights, whose scales have a shape that goes with theirs."""
        return (weight / scales).round_().clamp_(self.lowest, self.highest)

    def scales(self, weight: Tensor, dtype: torch.dtype) -> Tensor:
        """Scales (out, in / group) that reach the largest weight of each group.

        Args:
            weight: (out, in), float32.
            dtype: that they are stored in; they come rounded to it, in float32.
        """
        return self._scales(self.grouped(weight).abs().amax(dim=2), dtype)

    def best_scales(self, weight: Tensor, dtype: torch.dtype, importance: Tensor) -> Tensor:
        """Scales with the least squared error, weighted by the importance (in,) of each input.

        A scale that leaves a few large weights out of reach is often the better one.
        """
        grouped = self.grouped(weight)
        counts = importance.reshape(1, -1, self.group)
        largest = grouped.abs().amax(dim=2)
        best = self._scales(largest, dtype)
        least = torch.full_like(best, torch.inf)
        for shrink in _SHRINKS:
            scales = self._scales(largest * shrink, dtype)
            spread = scales[:, :, None]
            error = grouped - self.nearest(grouped, spread) * spread
            loss = error.square_().mul_(counts).sum(dim=2)
            best = torch.where(loss < least, scales, best)
            least = torch.minimum(loss, least)
        return best

    def grouped(self, matrix: Tensor) -> Tensor:
        """(out, in) → (out, groups, group)."""
        return matrix.reshape(matrix.shape[0], -1, self.group)

    def dense(self, levels: Tensor, scales: Tensor) -> Tensor:
        """The weights (out, in) in float32 that levels (out, in) stand for."""
        spread = scales.float()[:, :, None]
        return (self.grouped(levels.float()) * spread).reshape(levels.shape)

    def pack(self, levels: Tensor) -> Tensor:
        """Levels (out, in) as words (out, in · bits / 32), the last filled up with zeros."""
        rows, columns = levels.shape
        raised = levels.to(torch.int64) - self.lowest
        raised = torch.nn.functional.pad(raised, (0, -columns % self.per_word))
        shifts = torch.arange(self.per_word, device=levels.device) * self.bits
        words = (raised.reshape(rows, -1, self.per_word) << shifts).sum(dim=2)
        return torch.where(words >= 2**31, words - 2**32, words).to(torch.int32)

    def unpack(self, words: Tensor, columns: int) -> Tensor:
        """Levels (out, in) as int8 from words."""
        shifts = torch.arange(self.per_word, device=words.device, dtype=torch.int32) * self.bits
        raised = (words[:, :, None] >> shifts) & ((1 << self.bits) - 1)
        return (raised.flatten(1)[:, :columns] + self.lowest).to(torch.int8)

    def _scales(self, largest: Tensor, dtype: torch.dtype) -> Tensor:
        scales: Tensor = (largest / (self.highest + 0.5)).to(dtype).float()
        # A group of zeros, or of numbers that the type rounds to zero, stays zero.
        return scales.masked_fill_(scales == 0, 1.0)
