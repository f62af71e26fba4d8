"""The search for integers: what it finds, nothing next to it betters."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from tunewright.export.gguf.super_blocks import Layout, SuperBlocks, search

LAYOUTS = {
    "minima": Layout(32, (0, 15), (0, 63), minima=True),
    "few levels": Layout(16, (0, 3), (0, 15), minima=True),
    "centred": Layout(16, (-32, 31), (-128, 127), minima=False),
}


def drawn(layout: Layout, count: int = 40) -> Tensor:
    """Normal weights as super-blocks of a layout."""
    generator = torch.Generator().manual_seed(0)
    return torch.randn(count, 256 // layout.size, layout.size, generator=generator)


def value(found: SuperBlocks) -> Tensor:
    """The weights that the integers stand for."""
    least = (found.minimum_unit * found.minima)[..., None]
    return (found.unit * found.scales)[..., None] * found.levels - least


def errors(weights: Tensor, found: SuperBlocks) -> Tensor:
    """Square error of each sub-block."""
    return (value(found) - weights).double().square().sum(-1)


@pytest.mark.parametrize("name", LAYOUTS)
def test_integers_are_whole_and_within_the_layout(name: str) -> None:
    layout = LAYOUTS[name]
    found = search(drawn(layout), layout)
    for numbers, (least, most) in (
        (found.levels, layout.levels),
        (found.scales, layout.scales),
        (found.minima, (0, layout.scales[1] if layout.minima else 0)),
    ):
        assert torch.equal(numbers, numbers.round())
        assert numbers.min() >= least
        assert numbers.max() <= most
    for unit in (found.unit, found.minimum_unit):
        assert torch.equal(unit, unit.half().float())
    assert bool((found.minimum_unit >= 0).all())


@pytest.mark.parametrize("name", LAYOUTS)
def test_no_other_level_is_nearer(name: str) -> None:
    layout = LAYOUTS[name]
    weights = drawn(layout)
    found = search(weights, layout)
    here = (value(found) - weights).abs()
    for step in (-1, 1):
        levels = (found.levels + step).clamp(*layout.levels)
        assert bool((here <= (value(replace(found, levels=levels)) - weights).abs() + 1e-6).all())


@pytest.mark.parametrize("name", LAYOUTS)
def test_hardly_a_scale_next_to_it_is_better(name: str) -> None:
    layout = LAYOUTS[name]
    weights = drawn(layout)
    found = search(weights, layout)
    here = errors(weights, found)
    for step in (-1, 1):
        scales = (found.scales + step).clamp(*layout.scales)
        better = errors(weights, replace(found, scales=scales)) < here * (1 - 1e-5)
        # The neighbours of the neighbour that was taken are not tried again.
        assert better.double().mean() < 0.01


@pytest.mark.parametrize("name", LAYOUTS)
def test_weights_that_the_integers_can_say_come_back_almost_exactly(name: str) -> None:
    layout = LAYOUTS[name]
    draw = torch.Generator().manual_seed(1)

    def whole(least: int, most: int, *shape: int) -> Tensor:
        return torch.randint(least, most + 1, shape, generator=draw).float()

    blocks, size = 256 // layout.size, layout.size
    levels = whole(*layout.levels, 20, blocks, size)
    levels[..., 0], levels[..., 1] = layout.levels
    scales = whole(layout.scales[1] // 2, layout.scales[1], 20, blocks)
    minima = whole(1, layout.scales[1], 20, blocks) if layout.minima else torch.zeros(20, blocks)
    unit = torch.full((20, 1), 2.0**-6)
    weights = value(SuperBlocks(unit, unit, scales, minima, levels))
    found = search(weights, layout)
    assert errors(weights, found).mean() < 1e-3 * weights.double().square().sum(-1).mean()
