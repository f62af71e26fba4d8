"""The LoRA layer (Hu et al. 2021, arXiv 2106.09685) and how it hangs on a model's linear layers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class LoraPair(nn.Module):
    """A (rank, in) and B (out, rank), kept in float32 whatever the base's type.

    Args:
        a: the tensor A.
        b: the tensor B.
        scale: what B·A is multiplied with, alpha / rank.
        dropout: share of the input to A that is zeroed while training.
    """

    def __init__(self, a: Tensor, b: Tensor, scale: float, dropout: float = 0.0) -> None:
        super().__init__()
        self.a = nn.Parameter(a.float())
        self.b = nn.Parameter(b.float())
        self.scale = scale
        self.dropout = dropout

    def add_to(self, output: Tensor, x: Tensor) -> Tensor:
        """``output`` (…, out) plus the adapter's answer to ``x`` (…, in)."""
        autocast = torch.is_autocast_enabled(x.device.type)
        a = self.a if autocast else self.a.to(x.dtype)
        b = self.b if autocast else self.b.to(x.dtype)
        # Scaling the (…, rank) tensor costs the least; addmm saves one pass over the output.
        low = F.linear(F.dropout(x, self.dropout, self.training), a) * self.scale
        flat = torch.addmm(output.flatten(0, -2), low.flatten(0, -2), b.t())
        return flat.view(output.shape)


class LoraLinear(nn.Module):
    """A frozen linear layer with named adapters beside it."""

    def __init__(self, base: nn.Linear) -> None:
        super().__init__()
        self.base = base
        self.pairs = nn.ModuleDict()
        self.active: str | None = None

    def forward(self, x: Tensor) -> Tensor:
        """(…, in) → (…, out)."""
        output: Tensor = self.base(x)
        if self.active is None or self.active not in self.pairs:
            return output
        return cast(LoraPair, self.pairs[self.active]).add_to(output, x)


def add_pair(model: nn.Module, path: str, name: str, pair: LoraPair) -> None:
    """Hang one pair on the layer at ``path``, wrapping the layer if it is plain."""
    layer = model.get_submodule(path)
    if not isinstance(layer, LoraLinear):
        layer = LoraLinear(cast(nn.Linear, layer)).train(layer.training)
        parent, _, child = path.rpartition(".")
        setattr(model.get_submodule(parent), child, layer)
    layer.pairs[name] = pair.to(layer.base.weight.device).train(layer.training)


def adapter_layers(model: nn.Module) -> Iterator[tuple[str, LoraLinear]]:
    """Every adapted layer with its full name, in the model's order."""
    for path, module in model.named_modules():
        if isinstance(module, LoraLinear):
            yield path, module


def linear_layers(model: nn.Module) -> dict[str, nn.Linear | LoraLinear]:
    """Every linear layer but the output head, adapted ones as their wrapper."""
    output = getattr(model, "get_output_embeddings", lambda: None)()
    wrapped = {f"{path}.base" for path, _ in adapter_layers(model)}
    return {
        path: module
        for path, module in model.named_modules()
        if isinstance(module, nn.Linear | LoraLinear)
        and module is not output
        and path not in wrapped
    }
