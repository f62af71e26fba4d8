"""k-quants, read by the independent dequantisers of the ``gguf`` package."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from gguf import GGML_QUANT_SIZES
from gguf import GGMLQuantizationType as Kind
from gguf.quants import dequantize, quantize
from torch import Tensor

from tunewright.export.gguf.k_quants import K_QUANTS, SUPER_BLOCK, quantize_k

KINDS = sorted(K_QUANTS)
WORST = {Kind.Q2_K: 0.266, Kind.Q3_K: 0.145, Kind.Q4_K: 0.0708, Kind.Q5_K: 0.035, Kind.Q6_K: 0.0171}
"""Largest error on the normal distribution, relative to its deviation. llama.cpp's own: 0.297,
0.151, 0.0714, 0.0361, 0.0177."""


def back(tensor: Tensor, kind: Kind) -> Tensor:
    """A tensor as a reader of the file gets it."""
    stored = quantize_k(tensor, kind)
    block = GGML_QUANT_SIZES[kind][1]
    assert stored.dtype == torch.uint8
    assert stored.shape == (*tensor.shape[:-1], tensor.shape[-1] // SUPER_BLOCK * block)
    read = torch.from_numpy(dequantize(stored.numpy(), kind).copy())
    assert read.shape == tensor.shape
    assert bool(read.isfinite().all())
    return read


def error(tensor: Tensor, kind: Kind) -> float:
    """Root of the mean square error, relative to that of the weights themselves."""
    wrong = (back(tensor, kind) - tensor).double().square().mean()
    return float((wrong / tensor.double().square().mean()).sqrt())


def drawn(seed: int = 0, rows: int = 64, columns: int = 1024) -> Tensor:
    """Normal weights; more super-blocks than are searched at once."""
    return torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("kind", KINDS)
def test_normal_weights_come_back_closer_than_from_llama_cpp(kind: Kind) -> None:
    assert error(drawn(), kind) < WORST[kind]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("scale", [0.005, 0.02, 12_000.0])
def test_size_of_the_weights_does_not_matter(kind: Kind, scale: float) -> None:
    weights = (drawn(1) * scale).clamp(-65504, 65504)
    assert error(weights, kind) < 1.05 * WORST[kind]


BESIDE_Q4_0 = {Kind.Q2_K: 3.5, Kind.Q3_K: 1.8, Kind.Q4_K: 0.9, Kind.Q5_K: 0.5, Kind.Q6_K: 0.25}
"""Largest error, relative to that of the simplest format with four bits."""
OTHER: dict[str, Callable[[], Tensor]] = {
    "bfloat16": lambda: drawn(2).bfloat16().float(),
    "positive": lambda: drawn(3).abs() + 0.1,
    "negative": lambda: -drawn(4).abs() - 0.1,
    "heavy tails": lambda: drawn(5).pow(3),
    "different rows": lambda: drawn(6) * torch.logspace(-3, 3, 64)[:, None],
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", OTHER)
def test_weights_of_other_kinds(kind: Kind, name: str) -> None:
    weights = OTHER[name]()
    simple = dequantize(quantize(weights.numpy(), Kind.Q4_0), Kind.Q4_0)
    wrong = torch.from_numpy(simple).sub(weights).square().mean()
    assert error(weights, kind) < BESIDE_Q4_0[kind] * float(
        (wrong / weights.square().mean()).sqrt()
    )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("value", [0.3, -0.3, 1.0, -65504.0])
def test_constant_rows_come_back(kind: Kind, value: float) -> None:
    rows = torch.full((2, SUPER_BLOCK), value)
    torch.testing.assert_close(back(rows, kind), rows, rtol=1e-3, atol=0)


@pytest.mark.parametrize("kind", KINDS)
def test_zeros_stay_zeros_in_every_byte(kind: Kind) -> None:
    rows = torch.zeros(3, SUPER_BLOCK)
    assert not bool(back(rows, kind).any())
    stored = quantize_k(rows, kind)
    assert torch.equal(stored[0], stored[2])


@pytest.mark.parametrize("kind", KINDS)
def test_one_outlier_does_not_spoil_its_neighbours_sub_blocks(kind: Kind) -> None:
    rows = drawn(7, rows=32, columns=SUPER_BLOCK)
    rows[:, 5] = 40.0
    came = back(rows, kind)
    torch.testing.assert_close(came[:, 5], rows[:, 5], rtol=0.05, atol=0)
    beyond = (came - rows)[:, 32:].square().mean().sqrt()
    assert beyond < (1.0 if kind in (Kind.Q2_K, Kind.Q3_K) else 0.5)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("scale", [1e-6, 1e-12, 1e-30])
def test_weights_too_small_for_float16_are_lost_and_no_more(kind: Kind, scale: float) -> None:
    weights = drawn(8, rows=4) * scale
    assert float((back(weights, kind) - weights).abs().max()) < max(3e-6, 5 * scale)


@pytest.mark.parametrize("kind", KINDS)
def test_units_below_float16_are_the_smallest_there_is(kind: Kind) -> None:
    assert error(1e-6 * drawn(8), kind) < 0.3


@pytest.mark.parametrize("kind", KINDS)
def test_each_super_block_stands_alone(kind: Kind) -> None:
    weights = drawn(9, rows=8, columns=2 * SUPER_BLOCK)
    whole = quantize_k(weights, kind)
    half = GGML_QUANT_SIZES[kind][1]
    assert torch.equal(whole[3:5, half:], quantize_k(weights[3:5, SUPER_BLOCK:], kind))
    assert torch.equal(whole, quantize_k(weights, kind))


def test_stacked_matrices_and_other_types_of_numbers() -> None:
    weights = drawn(10, rows=6, columns=SUPER_BLOCK).bfloat16()
    stacked = quantize_k(weights.reshape(2, 3, SUPER_BLOCK), Kind.Q4_K)
    assert torch.equal(stacked.reshape(6, -1), quantize_k(weights.float(), Kind.Q4_K))


def test_torch_keeps_its_threads() -> None:
    before = torch.get_num_threads()
    quantize_k(drawn(11), Kind.Q6_K)
    assert torch.get_num_threads() == before


def test_every_bit_of_the_layout_is_used() -> None:
    for kind in KINDS:
        stored = quantize_k(drawn(12, rows=256), kind).reshape(-1, GGML_QUANT_SIZES[kind][1])
        held = np.bitwise_or.reduce(stored.numpy(), axis=0)
        unit = {Kind.Q4_K: [1, 3], Kind.Q5_K: [1, 3], Kind.Q2_K: [81, 83], Kind.Q3_K: [109]}
        exponents = unit.get(kind, [209])
        assert set(np.flatnonzero(held != 255)) <= set(exponents)
