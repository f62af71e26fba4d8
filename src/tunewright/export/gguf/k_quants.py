"""k-quants: ggml's block formats of 2 to 6 bits, written for whole tensors.

The bits lie as ``gguf.quants`` and llama.cpp read them (ggml's ``block_q4_K`` and its siblings);
which integers stand for the weights is found in ``super_blocks``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from types import MappingProxyType

import torch
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType
from torch import Tensor

from tunewright.export.gguf.super_blocks import Layout, SuperBlocks, search

SUPER_BLOCK = 256
"""Weights of a super-block; rows are multiples of it."""
_AT_ONCE = 512
"""Super-blocks searched together: their numbers stay in the processor's cache."""


@dataclass(frozen=True)
class _Format:
    """One block format: what its integers may be, and how they lie in bytes."""

    layout: Layout
    bytes: Callable[[SuperBlocks], tuple[Tensor, ...]]


def quantize_k(tensor: Tensor, kind: GGMLQuantizationType) -> Tensor:
    """A tensor as bytes of a k-quant, (..., columns) → (..., columns / 256 · bytes of a block).

    Args:
        tensor: finite, within float16's range, its rows multiples of 256.
        kind: one of ``K_QUANTS``.
    """
    known = _FORMATS[kind]
    size = known.layout.size
    blocks = tensor.float().reshape(-1, SUPER_BLOCK // size, size)
    packed = torch.empty(
        tensor.numel() // SUPER_BLOCK, GGML_QUANT_SIZES[kind][1], dtype=torch.uint8
    )

    def fill(some: Tensor, place: Tensor) -> None:
        place.copy_(torch.cat(known.bytes(search(some, known.layout)), dim=-1))

    with _workers() as pool:
        for _ in pool.map(fill, torch.split(blocks, _AT_ONCE), torch.split(packed, _AT_ONCE)):
            pass
    return packed.reshape(*tensor.shape[:-1], -1)


@contextmanager
def _workers() -> Iterator[ThreadPoolExecutor]:
    """As many threads as torch has, each with a computation of its own.

    Torch would share each small step among its threads, which then mostly wait for each other.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with ThreadPoolExecutor(threads) as pool:
            yield pool
    finally:
        torch.set_num_threads(threads)


def _q2(found: SuperBlocks) -> tuple[Tensor, ...]:
    scales = torch.stack((found.scales, found.minima), dim=-2)
    return (
        _packed(scales, 2, 16, 4),
        _packed(found.levels, 4, 32, 2),
        _float16(found.unit),
        _float16(found.minimum_unit),
    )


def _q3(found: SuperBlocks) -> tuple[Tensor, ...]:
    levels, scales = found.levels + 4, found.scales + 32
    return (
        _packed(_high(levels, 2), 8, 32, 1),
        _packed(_low(levels, 2), 4, 32, 2),
        _packed(_low(scales, 4), 2, 8, 4),
        _packed(_high(scales, 4), 4, 4, 2),
        _float16(found.unit),
    )


def _q4(found: SuperBlocks) -> tuple[Tensor, ...]:
    return (*_heads(found), _packed(found.levels, 2, 32, 4))


def _q5(found: SuperBlocks) -> tuple[Tensor, ...]:
    return (
        *_heads(found),
        _packed(_high(found.levels, 4), 8, 32, 1),
        _packed(_low(found.levels, 4), 2, 32, 4),
    )


def _q6(found: SuperBlocks) -> tuple[Tensor, ...]:
    levels = found.levels + 32
    return (
        _packed(_low(levels, 4), 2, 64, 4),
        _packed(_high(levels, 4), 4, 32, 2),
        found.scales.to(torch.int8).view(torch.uint8),
        _float16(found.unit),
    )


def _heads(found: SuperBlocks) -> tuple[Tensor, ...]:
    """Units, and the 16 numbers of 6 bits: eight scales and eight minima in twelve bytes.

    The last four of each are cut: their high bits fill up the bytes of the first four.
    """
    ends = torch.stack((found.scales[:, 4:], found.minima[:, 4:]), dim=1)
    firsts = torch.stack((found.scales[:, :4], found.minima[:, :4]), dim=1)
    return (
        _float16(found.unit),
        _float16(found.minimum_unit),
        (firsts + _high(ends, 4) * 64).flatten(1).to(torch.uint8),
        _packed(_low(ends, 4), 2, 4, 4),
    )


def _packed(numbers: Tensor, parts: int, width: int, bits: int) -> Tensor:
    """Bytes that each hold a number of every part; the first part lies in the lowest bits.

    Args:
        numbers: (n, …) of ``groups · parts · width`` numbers each, non-negative.
    """
    apart = numbers.reshape(len(numbers), -1, parts, width)
    values = 2 ** (bits * torch.arange(parts, dtype=apart.dtype))
    # A byte is at most 255, which float32 holds exactly.
    return (apart * values[:, None]).sum(-2).flatten(1).to(torch.uint8)


def _low(numbers: Tensor, bits: int) -> Tensor:
    return torch.remainder(numbers, 2**bits)


def _high(numbers: Tensor, bits: int) -> Tensor:
    return torch.floor(numbers / 2**bits)


def _float16(values: Tensor) -> Tensor:
    """(n, 1) → (n, 2) bytes."""
    return values.half().view(torch.uint8)


_FORMATS: Mapping[GGMLQuantizationType, _Format] = MappingProxyType(
    {
        GGMLQuantizationType.Q2_K: _Format(Layout(16, (0, 3), (0, 15), minima=True), _q2),
        GGMLQuantizationType.Q3_K: _Format(Layout(16, (-4, 3), (-32, 31), minima=False), _q3),
        GGMLQuantizationType.Q4_K: _Format(Layout(32, (0, 15), (0, 63), minima=True), _q4),
        GGMLQuantizationType.Q5_K: _Format(Layout(32, (0, 31), (0, 63), minima=True), _q5),
        GGMLQuantizationType.Q6_K: _Format(Layout(16, (-32, 31), (-128, 127), minima=False), _q6),
    }
)
K_QUANTS = frozenset(_FORMATS)
"""The formats that are written here."""
