"""Levels of few bits: what they stand for, and how they lie in words."""

from __future__ import annotations

import pytest
import torch

from tunewright.export.packing import Grid


@pytest.mark.parametrize(("bits", "columns"), [(4, 8), (4, 21), (8, 4), (8, 7)])
def test_what_is_packed_comes_back(bits: int, columns: int) -> None:
    grid = Grid(bits, 32)
    generator = torch.Generator().manual_seed(0)
    shape = (5, columns)
    levels = torch.randint(grid.lowest, grid.highest + 1, shape, generator=generator)
    levels[0, 0], levels[-1, -1] = grid.lowest, grid.highest
    words = grid.pack(levels)
    assert words.dtype == torch.int32
    assert words.shape == (5, -(-columns * bits // 32))
    assert torch.equal(grid.unpack(words, columns), levels.to(torch.int8))


def test_the_first_level_has_the_lowest_bits() -> None:
    """The order that compressed-tensors defines: nibbles 0 to 7 are the levels -8 to -1."""
    levels = torch.arange(-8, 0)[None]
    assert Grid(4, 32).pack(levels).item() == 0x76543210
    assert Grid(8, 32).pack(torch.tensor([[-128, -127, -126, -125]])).item() == 0x03020100


def test_rounding_to_the_nearest_is_off_by_half_a_step_at_most() -> None:
    grid = Grid(4, 32)
    weight = torch.randn(6, 96, generator=torch.Generator().manual_seed(1))
    scales = grid.scales(weight, torch.float32)
    assert scales.shape == (6, 3)
    levels = grid.nearest(weight, scales.repeat_interleave(32, dim=1))
    step = scales.repeat_interleave(32, dim=1)
    assert ((grid.dense(levels, scales) - weight).abs() <= step / 2 + 1e-6).all()


def test_the_best_scales_give_up_what_does_not_count() -> None:
    grid = Grid(4, 32)
    weight = torch.randn(4, 64, generator=torch.Generator().manual_seed(2))
    weight[:, 5] = 8.0
    importance = torch.ones(64)
    importance[5] = 1e-6

    def loss(scales: torch.Tensor) -> float:
        spread = scales.repeat_interleave(32, dim=1)
        error = grid.nearest(weight, spread) * spread - weight
        return float((error.square() * importance).sum())

    plain = grid.scales(weight, torch.float32)
    best = grid.best_scales(weight, torch.float32, importance)
    assert loss(best) < 0.7 * loss(plain)
    assert (best[:, 0] < plain[:, 0]).all()


def test_scales_are_those_of_the_file_and_zeros_stay_zero() -> None:
    grid = Grid(4, 32)
    weight = torch.randn(3, 32, generator=torch.Generator().manual_seed(3))
    weight[1] = 0
    scales = grid.scales(weight, torch.bfloat16)
    assert torch.equal(scales, scales.bfloat16().float())
    assert grid.dense(grid.nearest(weight, scales), scales)[1].abs().max() == 0
