"""Places in a model where named adapters hang and take turns.

An adapter is a set of parts, one per place, under one name. A place is a slot: a linear layer's
wrapper, or a child of an attention layer. At most one adapter of a slot is active; parts that
were made fixed always work, below the active one.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from typing import cast

from torch import Tensor, nn

from tunewright.core.errors import ConfigError


class Part(nn.Module):
    """What one adapter does in one slot."""

    def extra_repr(self) -> str:
        return ", ".join(f"{name} {tuple(p.shape)}" for name, p in self.named_parameters())

    @abstractmethod
    def tensors(self, path: str) -> dict[str, nn.Parameter]:
        """What is trained, by its name on disk; ``path`` is the slot's place in the model."""

    def fold(self, slot: Slot) -> bool:
        """Write the part into the slot's own weights; False when it cannot be."""
        return False


class LinearPart(Part):
    """A part at a linear layer: works inside it, on its output, or both."""

    def linear(self, base: nn.Linear, x: Tensor) -> Tensor:
        """What stands for ``base(x)``: (…, in) → (…, out)."""
        output: Tensor = base(x)
        return output

    def after(self, y: Tensor) -> Tensor:
        """What becomes of the layer's output (…, out)."""
        return y


class Slot(nn.Module):
    """A place for parts of several adapters.

    Attributes:
        parts: by the adapter's name.
        fixed: parts that always work, oldest first.
        active: name of the adapter that works now; an adapter without a part here changes nothing.
    """

    def __init__(self) -> None:
        super().__init__()
        self.parts = nn.ModuleDict()
        self.fixed = nn.ModuleList()
        self.active: str | None = None

    @property
    def part(self) -> Part | None:
        """The active adapter's part."""
        if self.active is None or self.active not in self.parts:
            return None
        return cast(Part, self.parts[self.active])


class AdaptedLinear(Slot):
    """A linear layer with adapters beside it."""

    def __init__(self, base: nn.Linear) -> None:
        super().__init__()
        self.base = base

    def forward(self, x: Tensor) -> Tensor:
        """(…, in) → (…, out)."""
        part = cast("LinearPart | None", self.part)
        y: Tensor = self.base(x) if part is None else part.linear(self.base, x)
        for fixed in self.fixed:
            y = cast(LinearPart, fixed).after(y)
        return y if part is None else part.after(y)


def slots(model: nn.Module) -> Iterator[tuple[str, Slot]]:
    """Every slot with its full name, in the model's order."""
    for path, module in model.named_modules():
        if isinstance(module, Slot):
            yield path, module


def adapter_layers(model: nn.Module) -> Iterator[tuple[str, AdaptedLinear]]:
    """Every adapted linear layer with its full name, in the model's order."""
    for path, slot in slots(model):
        if isinstance(slot, AdaptedLinear):
            yield path, slot


def add_part(model: nn.Module, path: str, name: str, part: LinearPart) -> None:
    """Hang a part on the linear layer at ``path``, wrapping the layer if it is plain."""
    layer = model.get_submodule(path)
    if not isinstance(layer, AdaptedLinear):
        layer = AdaptedLinear(cast(nn.Linear, layer)).train(layer.training)
        replace_module(model, path, layer)
    layer.parts[name] = part.train(layer.training)


def replace_module(model: nn.Module, path: str, module: nn.Module) -> None:
    """Put another module at a path."""
    parent, _, child = path.rpartition(".")
    setattr(model.get_submodule(parent), child, module)


def plain_linear(layer: nn.Module) -> nn.Linear:
    """The linear layer itself, without its slot."""
    return layer.base if isinstance(layer, AdaptedLinear) else cast(nn.Linear, layer)


def adapter_tensors(model: nn.Module, name: str) -> dict[str, nn.Parameter]:
    """An adapter's trained tensors by their names on disk, in the model's order."""
    found: dict[str, nn.Parameter] = {}
    for path, slot in slots(model):
        if name in slot.parts:
            found |= cast(Part, slot.parts[name]).tensors(path)
    return found


def base_parameters(model: nn.Module) -> dict[str, nn.Parameter]:
    """The model's own weights by their original names, adapters left out."""
    names: dict[nn.Module, str] = {}
    parts: set[nn.Module] = set()
    for path, module in model.named_modules():
        names[module] = path
        if isinstance(module, Part):
            parts.update(module.modules())
    for path, layer in adapter_layers(model):
        names[layer.base] = path
    found: dict[str, nn.Parameter] = {}
    seen: set[nn.Parameter] = set()
    for module, path in names.items():
        if module in parts:
            continue
        for key, parameter in module.named_parameters(recurse=False):
            if parameter not in seen:
                seen.add(parameter)
                found[f"{path}.{key}" if path else key] = parameter
    return found


def activate(model: nn.Module, name: str | None) -> None:
    """Let the named adapter answer; None is the bare base.

    Raises:
        ConfigError: no such adapter.
    """
    places = [slot for _, slot in slots(model)]
    if name is not None and not any(name in slot.parts for slot in places):
        raise ConfigError(f"adapter {name!r} is not loaded")
    for slot in places:
        slot.active = name


def fold_adapter(model: nn.Module, name: str) -> None:
    """Make an adapter a lasting part of the model, which then answers so without it.

    Parts that can be are written into the weights; the others stay as fixed parts.
    """
    for path, slot in list(slots(model)):
        if name in slot.parts:
            part = cast(Part, slot.parts.pop(name))
            part.requires_grad_(False)
            if not part.fold(slot):
                slot.fixed.append(part)
        if slot.active == name:
            slot.active = None
        unwrap_idle(model, path, slot)


def unwrap_idle(model: nn.Module, path: str, slot: Slot) -> None:
    """Put the plain layer back where no part is left."""
    if isinstance(slot, AdaptedLinear) and not len(slot.parts) and not len(slot.fixed):
        replace_module(model, path, slot.base)
