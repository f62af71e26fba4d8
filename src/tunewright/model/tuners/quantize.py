"""A frozen base in 4 or 8 bits per weight, which adapters are trained beside.

QLoRA (Dettmers et al. 2023, arXiv 2305.14314): the linear layers' weights are stored in NF4, 16
levels at the quantiles of a normal distribution, in blocks of 64 with scales that are quantised
again; or in 8 bits with one scale per row. Every pass makes a layer's weights anew in the type of
the arithmetic, and forgets them. The head and the embeddings stay as they are.
"""

from __future__ import annotations

import importlib.util
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tunewright.core.errors import ConfigError
from tunewright.model.tuners.slots import plain_linear, replace_module
from tunewright.model.tuners.targets import blocks, linear_layers

Quantization = Literal["none", "nf4", "int8"]


class QuantizedLinear(nn.Linear):
    """A frozen linear layer whose weight (out, in) is made when it is asked for."""

    def __init__(self, dense: nn.Linear) -> None:
        # Without nn.Linear's own set-up: it would make a full weight.
        nn.Module.__init__(self)
        self.in_features, self.out_features = dense.in_features, dense.out_features
        self.bias = dense.bias

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = _RemadeWeight.apply(x, self)  # type: ignore[no-untyped-call]
        return output if self.bias is None else output + self.bias


class Int8Linear(QuantizedLinear):
    """Weights as round(127 · w / max|row|): one scale per row."""

    def __init__(self, dense: nn.Linear, device: torch.device) -> None:
        super().__init__(dense)
        weight = dense.weight.detach().to(device)
        largest = weight.float().abs().amax(dim=1, keepdim=True).clamp_min(1e-30)
        levels = (weight.float() * (127 / largest)).round().to(torch.int8)
        self.register_buffer("levels", levels, persistent=False)
        self.register_buffer("scales", (largest / 127).to(weight.dtype), persistent=False)

    @property
    def weight(self) -> Tensor:  # type: ignore[override]
        """The weight (out, in) in the base's type."""
        scales = cast(Tensor, self.scales)
        return cast(Tensor, self.levels).to(scales.dtype).mul_(scales)


class Nf4Linear(QuantizedLinear):
    """Weights in bitsandbytes' NF4 with quantised scales: 4.13 bits each."""

    def __init__(self, dense: nn.Linear, device: torch.device) -> None:
        super().__init__(dense)
        self._kernels = bitsandbytes_functions()
        weight = dense.weight.detach().to(device)
        levels, self._state = self._kernels.quantize_4bit(
            weight, quant_type="nf4", compress_statistics=True
        )
        self.register_buffer("levels", levels, persistent=False)

    @property
    def weight(self) -> Tensor:  # type: ignore[override]
        """The weight (out, in) in the base's type."""
        made: Tensor = self._kernels.dequantize_4bit(self.levels, self._state)
        return made


class _RemadeWeight(torch.autograd.Function):
    """x·Wᵀ that keeps no weight for the backward pass but makes it again."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, layer: QuantizedLinear) -> Tensor:
        ctx.layer = layer
        return F.linear(x, layer.weight)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return gradients[0].matmul(ctx.layer.weight), None


_LAYERS: dict[str, Any] = {"int8": Int8Linear, "nf4": Nf4Linear}


def quantize_base(model: nn.Module, kind: Quantization, device: torch.device) -> None:
    """Replace the blocks' linear layers, one at a time, by quantised ones on a device.

    Raises:
        ConfigError: nf4 without bitsandbytes.
    """
    if kind == "none":
        return
    starts = tuple(f"{path}." for path, _ in blocks(model))
    for path, layer in linear_layers(model).items():
        if path.startswith(starts):
            dense = plain_linear(layer)
            quantized = _LAYERS[kind](dense, device).train(dense.training)
            replace_module(model, path if dense is layer else f"{path}.base", quantized)


def bitsandbytes_functions() -> Any:
    """``bitsandbytes.functional``.

    Raises:
        ConfigError: it is not installed.
    """
    if importlib.util.find_spec("bitsandbytes") is None:
        raise ConfigError(
            "option 'quantize': nf4 needs the package bitsandbytes, which is not installed",
            "pip install 'tunewright[quantized]', or use quantize=int8, which needs nothing.",
        )
    # It warns, on every import, that it did not download anything.
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    with _without("kernels"):
        from bitsandbytes import functional

    return functional


@contextmanager
def _without(package: str) -> Iterator[None]:
    """Hide a package from what is imported inside.

    On some processors bitsandbytes, when imported, downloads machine code and runs it if it finds
    the package ``kernels``; without it, it uses what it came with.
    """
    found = sys.modules.get(package)
    sys.modules[package] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules[package]
        if found is not None:
            sys.modules[package] = found
