"""Several LoRA adapters in one forward pass: each token goes by its own.

The A and B matrices of the adapters at work are laid side by side, so that a layer costs two
products however many adapters there are: all tokens meet all A's, what is not theirs is put to
zero, and the rest goes through the B's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tunewright.model.tuners.lora import LoraPart
from tunewright.model.tuners.slots import (
    LinearPart,
    Slot,
    add_part,
    slots,
    unwrap_idle,
)

MIXED = "*mixed*"
"""The name that the mixture goes by among the adapters of a model."""


class Mixture:
    """Which adapter each token of a forward pass goes by.

    Args:
        model: a base with any adapters; call ``refresh`` whenever they change.
    """

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._mixable: set[str] = set()
        self.working: tuple[str, ...] = ()
        self._numbers: Tensor | None = None
        self._masks: dict[tuple[str, ...], Tensor] = {}

    @property
    def active(self) -> str | None:
        """The adapter to make active for a mixed pass; None where there is nothing to mix."""
        return MIXED if self._mixable else None

    def mixable(self, name: str) -> bool:
        """Whether an adapter is plain LoRA, which can share a pass with others."""
        return name in self._mixable

    def refresh(self) -> None:
        """Look at the model's adapters again."""
        places = list(slots(self._model))
        for path, slot in places:
            if MIXED in slot.parts:
                del slot.parts[MIXED]
                unwrap_idle(self._model, path, slot)
        kinds: dict[str, bool] = {}
        for _, slot in places:
            for name, part in slot.parts.items():
                kinds[name] = kinds.get(name, True) and type(part) is LoraPart
        self._mixable = {name for name, plain in kinds.items() if plain}
        self.working, self._numbers, self._masks = (), None, {}
        for path, slot in places:
            if self._mixable.intersection(slot.parts):
                add_part(self._model, path, MIXED, MixedPart(slot, self))

    def choose(self, owners: Sequence[str | None], device: torch.device) -> None:
        """Tell whose each token of the next pass is; None is the bare base's."""
        needed = set(owners) - {None}
        if not needed:
            self._numbers = None
            return
        if not needed <= set(self.working):
            # Few kinds of requests alternate: keeping their adapters laid out saves doing it anew.
            kept = needed | set(self.working) if len(self.working) < _MOST_KEPT else needed
            self.working = tuple(sorted(cast(set[str], kept)))
        order = {name: number for number, name in enumerate(self.working)}
        numbers = [-1 if owner is None else order[owner] for owner in owners]
        self._numbers = torch.tensor(numbers).to(device)
        self._masks = {}

    def mask(self, columns: tuple[str, ...], like: Tensor) -> Tensor | None:
        """1 where a token's own columns are, (tokens, columns); None when no token has any.

        Args:
            columns: for each column, the adapter that it belongs to.
            like: gives the type.
        """
        if self._numbers is None or not columns:
            return None
        if columns not in self._masks:
            order = {name: number for number, name in enumerate(self.working)}
            owners = torch.tensor([order[name] for name in columns]).to(self._numbers.device)
            self._masks[columns] = (self._numbers[:, None] == owners).to(like.dtype)
        return self._masks[columns]


_MOST_KEPT = 8


class SideBySide:
    """What all plain LoRA adapters of layers that share an input do, as two products."""

    def __init__(self) -> None:
        self._laid: tuple[tuple[str, ...], Tensor, Tensor, tuple[str, ...]] | None = None

    def add(
        self,
        output: Tensor,
        x: Tensor,
        slots: Sequence[Slot | None],
        widths: Sequence[int],
        mixture: Mixture,
    ) -> None:
        """Add every token's own s·x·Aᵀ·Bᵀ to the layers' outputs, in place.

        Args:
            output: of all layers, side by side, (tokens, sum of widths).
            x: their input, (tokens, in).
            slots: the layers'; None for one without adapters. The same in every call.
            widths: of their outputs.
            mixture: knows which adapters are at work.
        """
        if not mixture.working:
            return
        # Chosen anew, the tuple is another one, even where the adapters bear the same names.
        if self._laid is None or self._laid[0] is not mixture.working:
            self._laid = (mixture.working, *_lay_out(mixture.working, x, slots, widths))
        _, a, b, columns = self._laid
        mask = mixture.mask(columns, x)
        if mask is not None:
            output.addmm_(F.linear(x, a).mul_(mask), b)


def _lay_out(
    working: Sequence[str], like: Tensor, slots: Sequence[Slot | None], widths: Sequence[int]
) -> tuple[Tensor, Tensor, tuple[str, ...]]:
    """A's (columns, in), scaled B's (columns, all out), and whose each column is.

    B is zero where a column's layer has no output.
    """
    a: list[Tensor] = []
    b: list[Tensor] = []
    columns: list[str] = []
    first, total = 0, sum(widths)
    for slot, width in zip(slots, widths, strict=True):
        for name in working:
            if slot is None or name not in slot.parts:
                continue
            part = cast(LoraPart, slot.parts[name])
            after = total - first - width
            a.append(part.a.detach())
            b.append(F.pad(part.scale * part.b.detach().t(), (first, after)))
            columns += [name] * part.a.shape[0]
        first += width
    empty = like.new_empty(0, 0)
    joined = [torch.cat(one).to(like.dtype) if one else empty for one in (a, b)]
    return joined[0], joined[1], tuple(columns)


class MixedPart(LinearPart):
    """What all plain LoRA adapters of one linear layer do together.

    Args:
        slot: where they hang.
        mixture: knows which of them are at work.
    """

    def __init__(self, slot: Slot, mixture: Mixture) -> None:
        super().__init__()
        # In a tuple, for a module that is an attribute would become a child.
        self._slot = (slot,)
        self.mixture = mixture
        self._beside = SideBySide()

    def linear(self, base: nn.Linear, x: Tensor) -> Tensor:
        """x·Wᵀ + bias, and every token's own s·x·Aᵀ·Bᵀ: (1, tokens, in) → (1, tokens, out)."""
        output: Tensor = base(x)
        width = output.shape[-1]
        flat = output.view(-1, width)
        self._beside.add(flat, x.reshape(-1, x.shape[-1]), self._slot, (width,), self.mixture)
        return output

    def tensors(self, path: str) -> dict[str, nn.Parameter]:
        """None: they are the adapters'."""
        return {}
