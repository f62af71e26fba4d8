"""Linear layers that read the same input, as one product."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from tunewright.model.mixed_lora import MixedPart, SideBySide
from tunewright.model.packed_linear import PackedWeight
from tunewright.model.tuners.slots import AdaptedLinear, plain_linear


class Joint:
    """Layers that a module has under some names, whose outputs are wanted side by side.

    Their adapters may come and go. Plain LoRA adapters of all the layers cost two products; those
    of other kinds work layer by layer.

    Args:
        parent: the module.
        names: of the layers.

    Attributes:
        widths: of their outputs.
    """

    def __init__(self, parent: nn.Module, names: Sequence[str]) -> None:
        self._parent = parent
        self._names = tuple(names)
        self.widths = tuple(plain.out_features for plain in map(plain_linear, self._layers()))
        self._packed: PackedWeight | None = None
        self._beside = SideBySide()

    def pack(self) -> list[nn.Linear]:
        """Keep a copy of the layers' weights as one packed weight; they must not change any more.

        Returns:
            The plain layers that need no packed copy of their own; none where there is one only.
        """
        layers = [plain_linear(layer) for layer in self._layers()]
        if len(layers) == 1:
            return []
        weight = torch.cat([layer.weight.detach() for layer in layers])
        self._packed = PackedWeight(weight, _joined_bias(layers))
        return layers

    def __call__(self, x: Tensor) -> Tensor:
        """(tokens, in) → (tokens, sum of widths), fresh."""
        layers = self._layers()
        slots = [layer if isinstance(layer, AdaptedLinear) else None for layer in layers]
        parts = [None if slot is None else slot.part for slot in slots]
        mixed = next((part for part in parts if isinstance(part, MixedPart)), None)
        if any(slot is not None and len(slot.fixed) for slot in slots) or any(
            part is not None and not isinstance(part, MixedPart) for part in parts
        ):
            return _side_by_side([layer(x) for layer in layers])
        if self._packed is not None:
            output = self._packed(x)
        else:
            output = _side_by_side([plain_linear(layer)(x) for layer in layers])
        if mixed is not None:
            self._beside.add(output, x, slots, self.widths, mixed.mixture)
        return output

    def _layers(self) -> list[nn.Module]:
        # Looked up each time: an adapter that comes or goes puts another module in the place.
        return [getattr(self._parent, name) for name in self._names]


def _side_by_side(outputs: list[Tensor]) -> Tensor:
    return outputs[0] if len(outputs) == 1 else torch.cat(outputs, dim=-1)


def _joined_bias(layers: Sequence[nn.Linear]) -> Tensor | None:
    if all(layer.bias is None for layer in layers):
        return None
    return torch.cat(
        [
            layer.weight.new_zeros(layer.out_features) if layer.bias is None else layer.bias
            for layer in layers
        ]
    )
