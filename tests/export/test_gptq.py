"""GPTQ against rounding each weight by itself."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tunewright.core.errors import ModelError
from tunewright.export.gptq import SecondMoments, gptq
from tunewright.export.packing import Grid

GRID = Grid(4, 32)


def drawn(rows: int, columns: int, seed: int) -> Tensor:
    """Normal numbers."""
    return torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed))


def moments_of(inputs: Tensor) -> Tensor:
    """Their mean x xᵀ, seen in two parts."""
    moments = SecondMoments(inputs.shape[1], inputs.device)
    moments.add(inputs[:100])
    moments.add(inputs[None, 100:])
    return moments.mean()


def nearest(weight: Tensor, scales: Tensor) -> Tensor:
    """The level next to each weight."""
    return GRID.nearest(weight, scales.repeat_interleave(32, dim=1))


def test_moments_are_those_of_all_inputs() -> None:
    inputs = drawn(300, 8, 0)
    torch.testing.assert_close(moments_of(inputs), inputs.T @ inputs / 300)


def test_inputs_that_share_nothing_are_rounded_to_the_nearest() -> None:
    weight = drawn(16, 160, 1)
    scales = GRID.scales(weight, torch.float32)
    moments = torch.diag(torch.linspace(2, 1, 160))
    levels = gptq(weight, moments, scales, GRID, 0.01)
    assert torch.equal(levels.float(), nearest(weight, scales))


def test_outputs_stay_closer_than_by_the_nearest() -> None:
    """Inputs that go together, as those of real layers do, on rows that GPTQ did not see."""
    mixing = drawn(24, 192, 2)
    inputs, unseen = (drawn(400, 24, seed) @ mixing + drawn(400, 192, seed) for seed in (3, 4))
    weight = drawn(32, 192, 5)
    scales = GRID.scales(weight, torch.float32)

    def error(levels: Tensor) -> float:
        return float((unseen @ (GRID.dense(levels, scales) - weight).T).square().mean())

    levels = gptq(weight, moments_of(inputs), scales, GRID, 0.01)
    assert levels.dtype == torch.int8
    assert error(levels) < 0.6 * error(nearest(weight, scales))


def test_inputs_that_no_row_has_do_no_harm() -> None:
    inputs = drawn(200, 64, 6)
    inputs[:, 10:40] = 0
    inputs[:, 50] = inputs[:, 51]
    weight = drawn(8, 64, 7)
    scales = GRID.scales(weight, torch.float32)
    levels = gptq(weight, moments_of(inputs), scales, GRID, 0.01)
    assert torch.equal(levels[:, 10:40].float(), nearest(weight, scales)[:, 10:40])


def test_numbers_that_are_none_are_refused() -> None:
    weight = drawn(4, 32, 8)
    with pytest.raises(ModelError, match="not finite"):
        gptq(weight, torch.full((32, 32), torch.nan), GRID.scales(weight, torch.float32), GRID, 0.1)
