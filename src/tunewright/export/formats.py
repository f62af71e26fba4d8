"""What an export to one format is: its size, how it is written, and how it is read back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from tunewright.config.export import FormatName
from tunewright.core.errors import ModelError
from tunewright.export.safetensors_files import Progress
from tunewright.model.adapters import load_adapter, load_foundation
from tunewright.model.generation import Shared, TextModel
from tunewright.model.references import Foundation, Resolved
from tunewright.model.rendering import Renderer

if TYPE_CHECKING:
    from transformers import PreTrainedModel

DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
_ADAPTER = "tuned"
_OVERHEAD = 1.15  # of answering, beside the weights


@dataclass(frozen=True)
class Arithmetic:
    """Where and in what type both sides of a comparison are computed."""

    device: torch.device
    dtype: torch.dtype


def memory_of(parameters: int, dtype: torch.dtype) -> int:
    """Bytes that a model takes while it answers."""
    return int(parameters * dtype.itemsize * _OVERHEAD)


@dataclass(frozen=True)
class Plan:
    """An export that was checked and can be made.

    Attributes:
        bytes: that it will take.
        precision: what its numbers are rounded to; decides the tolerances.
        parameters: numbers that are in memory when it is read back.
        write: puts the weights, and whatever the format needs, into an empty folder.
        read: loads that folder as a program would that never saw the tuned model.
        runs: lines in which it is run, by the program's name.
        notes: what a user should know.
    """

    bytes: int
    precision: str
    parameters: int
    write: Callable[[Path, Progress], None]
    read: Callable[[Path, Arithmetic], TextModel]
    runs: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Exported:
    """What was made.

    Attributes:
        folder: where it is; its name ends with ``.failed`` when it is not equal to its model.
        format: as asked for.
        bytes: of all its files.
        parity: what ``parity.json`` holds, or None when it was not compared.
        plan: what it was made by.
        record: id of its record in the store.
    """

    folder: Path
    format: FormatName
    bytes: int
    parity: dict[str, Any] | None
    plan: Plan
    record: str = ""

    @property
    def passed(self) -> bool:
        """Whether nothing speaks against it."""
        return self.parity is None or bool(self.parity["passed"])


def checked_renderer(found: Resolved) -> Renderer:
    """The renderer of a model's base, which must be the one that it was tuned with.

    Raises:
        ModelError: it renders otherwise by now.
    """
    renderer = Renderer(found.base.folder)
    if found.renderer_hash not in (None, renderer.hash):
        raise ModelError(
            f"{found.name} was tuned with another rendering of conversations than"
            f" {found.base.name} has now",
            "Its answers would not be those that were evaluated; tune again.",
        )
    return renderer


def load_tuned(found: Resolved, arithmetic: Arithmetic) -> TextModel:
    """A model as the product itself answers with it."""
    network = load_foundation(found.foundation, arithmetic.device, arithmetic.dtype)
    return _standing(found, network, found.adapter)


def load_beside(found: Resolved, adapter: Path, arithmetic: Arithmetic) -> TextModel:
    """Another folder's adapter on the model's bare base."""
    network = load_foundation(Foundation(found.base), arithmetic.device, arithmetic.dtype)
    return _standing(found, network, adapter)


def _standing(found: Resolved, network: PreTrainedModel, adapter: Path | None) -> TextModel:
    shared = Shared(network, Renderer(found.base.folder), found.base)
    if adapter is None:
        return TextModel(found.name, shared)
    load_adapter(network, adapter, _ADAPTER)
    shared.active = _ADAPTER
    return TextModel(found.name, shared, _ADAPTER)
