"""Linear layers whose weights lie as the processor's matrix products like them best.

On CPU, oneDNN brings a plain weight into its own layout at every product. For the few rows of a
decoding step that takes a good part of the time; done once, it costs the weight's memory again.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tunewright.model.tuners.slots import replace_module

_TYPES = (torch.float32, torch.bfloat16)
_ROWS = 32
"""Rows that the layout is chosen for; others work as well."""


class PackedWeight:
    """A weight in oneDNN's layout, and the product with it.

    Args:
        weight: (out, in); what is packed is a copy.
        bias: (out,).
    """

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        ops: Any = torch.ops.mkldnn
        self._product = ops._linear_pointwise
        self._packed = ops._reorder_linear_weight(weight.detach(), _ROWS)
        self._bias = bias

    def __call__(self, x: Tensor) -> Tensor:
        """(…, in) → (…, out)."""
        output: Tensor = self._product(x, self._packed, self._bias, "none", [], "")
        return output


class PackedLinear(nn.Linear):
    """A frozen linear layer with a second copy of its weight in oneDNN's layout.

    Args:
        plain: the layer that it stands for; the weight is shared with it.
    """

    def __init__(self, plain: nn.Linear) -> None:
        nn.Module.__init__(self)
        self.in_features, self.out_features = plain.in_features, plain.out_features
        self.weight, self.bias = plain.weight, plain.bias
        # No buffer: it is no part of the model's state.
        self._product = PackedWeight(plain.weight, plain.bias)
        self.train(plain.training)

    def forward(self, x: Tensor) -> Tensor:
        """(…, in) → (…, out)."""
        return self._product(x)


class Group(Protocol):
    """Layers that are packed together."""

    def pack(self) -> list[nn.Linear]:
        """Pack them; returns those that need no packed copy of their own."""


@torch.inference_mode()
def pack_linears(model: nn.Module, memory: int, groups: Sequence[Group] = ()) -> int:
    """Pack a frozen model's linear layers, where that is possible and the copies fit.

    Args:
        model: adapters may hang on it, or come later.
        memory: bytes that the copies may take.
        groups: layers that are to be packed together.

    Returns:
        How many layers were packed.
    """
    # A slot's own layer is among them, so that adapters may come and go around it.
    plain = {path: m for path, m in model.named_modules() if type(m) is nn.Linear}
    if sum(layer.weight.nbytes for layer in plain.values()) > memory or not _works(plain.values()):
        return 0
    together = {layer for group in groups for layer in group.pack()}
    for path, layer in plain.items():
        if layer not in together:
            replace_module(model, path, PackedLinear(layer))
    return len(plain)


def _works(layers: Collection[nn.Linear]) -> bool:
    """Whether the operation is there and gives what the plain one gives."""
    fit = all(
        layer.weight.device.type == "cpu" and layer.weight.dtype in _TYPES for layer in layers
    )
    return fit and all(_agrees(layer) for layer in list(layers)[:1])


def _agrees(layer: nn.Linear) -> bool:
    sample = torch.ones(2, layer.in_features, dtype=layer.weight.dtype)
    try:
        found = PackedLinear(layer)(sample)
    except (RuntimeError, AttributeError):
        return False
    expected = F.linear(sample, layer.weight, layer.bias)
    return torch.allclose(found.float(), expected.float(), rtol=1e-2, atol=1e-2)
