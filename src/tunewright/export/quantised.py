"""What exports with rounded matrices share: which are rounded, the folder, and reading it back.

Rounded are the linear layers of the network's blocks. Embeddings, the head, norms and biases keep
their type: they are a small part of the weights, and rounding them shows the most.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tunewright.config.export import ExportConfig
from tunewright.core.errors import ModelError
from tunewright.core.files import write_json_atomic
from tunewright.export.companions import companion_bytes, copy_companions
from tunewright.export.formats import DTYPES, Arithmetic, Plan
from tunewright.export.merged import SEGMENTED_NOTE, is_segmented
from tunewright.export.merging import MergedWeights
from tunewright.export.safetensors_files import Planned, Progress, write_weights
from tunewright.export.skeleton import TensorFolder, fill, hollow_network
from tunewright.model.catalog import Base
from tunewright.model.folders import ModelFolder, read_json
from tunewright.model.generation import Shared, TextModel
from tunewright.model.references import Resolved
from tunewright.model.rendering import Renderer
from tunewright.model.tuners.targets import blocks

Parts = Mapping[str, Planned]
Decode = Callable[[Mapping[str, Any], str, TensorFolder], Tensor]
"""``quantization_config``, a layer's name, the folder's tensors → its weight, float32."""
Produce = Callable[[str], dict[str, Tensor]]
"""A layer's name → the tensors of it, and maybe of layers that come later."""


@dataclass(frozen=True)
class Matrices:
    """A network's linear layers.

    Attributes:
        blocks: names of those that are rounded, by block.
        left: names of the others.
    """

    blocks: tuple[tuple[str, ...], ...]
    left: tuple[str, ...]

    @property
    def rounded(self) -> tuple[str, ...]:
        """Names of all that are rounded, first to last."""
        return tuple(name for block in self.blocks for name in block)

    def without(self, unfit: Callable[[str], bool]) -> Matrices:
        """The same, but layers that do not fit are left as they are."""
        kept = tuple(tuple(n for n in block if not unfit(n)) for block in self.blocks)
        return Matrices(kept, (*self.left, *filter(unfit, self.rounded)))


@dataclass(frozen=True)
class Layout:
    """How a format stores rounded layers.

    Attributes:
        precision: what they are rounded to; decides the tolerances.
        parts: of a layer: the names of its tensors, with their sizes.
        decode: makes its weight of them again.
        settings: ``quantization_config`` without the layers that are left out.
        left_out: the key of those, there.
    """

    precision: str
    parts: Callable[[str], Parts]
    decode: Decode
    settings: Mapping[str, Any]
    left_out: str


@dataclass(frozen=True)
class Job:
    """What is exported.

    Attributes:
        found: the model.
        config: of the export.
        renderer: of its base.
        weights: merged.
        matrices: which of them are rounded.
    """

    found: Resolved
    config: ExportConfig
    renderer: Renderer
    weights: MergedWeights
    matrices: Matrices

    @classmethod
    def of(cls, found: Resolved, config: ExportConfig, renderer: Renderer) -> Job:
        """With every linear layer of the blocks.

        Raises:
            ModelError: a tuner that cannot be merged, a base whose files hold other tensors than
                its network, as those of experts do, or one without linear layers.
        """
        weights = MergedWeights(found)
        network = hollow_network(found.base.folder, torch.float32)
        names = {name for name, _ in network.named_parameters()}
        # Files of older bases also hold vectors that are computed by now.
        held = {name for name, tensor in weights.stored.items() if len(tensor.shape) > 1}
        strange = sorted((names - weights.stored.keys()) | (held - names))
        if strange:
            raise ModelError(
                f"{found.base.name} ({network.config.model_type}) holds its weights in files"
                f" otherwise than in memory, the first is {strange[0]}",
                "Use --to merged, which vLLM can quantise when it loads it (--quantization fp8).",
            )
        linear = [name for name, module in network.named_modules() if type(module) is nn.Linear]
        inside = tuple(
            tuple(name for name in linear if name.startswith(f"{path}."))
            for path, _ in blocks(network)
        )
        rounded = {name for block in inside for name in block}
        if not rounded:
            raise ModelError(
                f"the blocks of {found.base.name} ({network.config.model_type}) have no linear"
                " layers",
                "Use --to merged.",
            )
        left = tuple(name for name in linear if name not in rounded)
        return cls(found, config, renderer, weights, Matrices(inside, left))

    def read(self, tensor: str) -> Tensor:
        """A merged tensor in float32.

        Raises:
            ModelError: it holds numbers that are none, which rounding would hide.
        """
        weight = self.weights.read(tensor)
        if not bool(torch.isfinite(weight).all()):
            raise ModelError(f"{tensor} is not finite", "Tune again with a lower learning rate.")
        return weight

    def dtype(self, tensor: str) -> torch.dtype:
        """The type of what is not rounded, and of what a rounded tensor is made to again."""
        return DTYPES.get(self.config.dtype) or self.weights.dtype(tensor)

    def shape(self, layer: str) -> tuple[int, int]:
        """Outputs and inputs of a layer."""
        outputs, inputs = self.weights.shape(f"{layer}.weight")
        return outputs, inputs


def plan_quantised(
    job: Job,
    layout: Layout,
    producer: Callable[[], Produce],
    runs: Mapping[str, str],
    notes: Sequence[str],
) -> Plan:
    """A plan to write rounded layers, block by block, and everything else as it is merged.

    Args:
        job: what is exported.
        layout: how rounded layers are stored.
        producer: starts rounding; called when writing begins.
        runs: lines in which it is run; none are given where other programs read messages wrongly.
        notes: what a user should know.
    """
    origin: dict[str, str] = {}
    planned: dict[str, Planned] = {}
    rounded = {f"{layer}.weight": layer for layer in job.matrices.rounded}
    for name in _in_order(job):
        if name in rounded:
            parts = layout.parts(rounded[name])
            planned |= parts
            origin |= dict.fromkeys(parts, rounded[name])
        else:
            planned[name] = Planned(job.weights.shape(name), job.dtype(name))

    def write(folder: Path, progress: Progress) -> None:
        read = _Reading(job.weights, origin, producer()).read
        write_weights(planned, read, folder, int(job.config.shard_gb * 1e9), progress)
        dtype = None if job.config.dtype == "base" else job.config.dtype
        copy_companions(job.found, job.renderer, folder, dtype)
        left = {layout.left_out: list(job.matrices.left)}
        told = read_json(folder / "config.json")
        told["quantization_config"] = {**layout.settings, **left}
        write_json_atomic(folder / "config.json", told)

    segmented = is_segmented(job.found)
    return Plan(
        bytes=sum(p.size for p in planned.values()) + companion_bytes(job.found),
        precision=layout.precision,
        parameters=job.weights.parameters,
        write=write,
        read=lambda folder, how: _read(job.found.name, folder, layout.decode, how),
        runs={} if segmented else dict(runs),
        notes=(*notes, *((SEGMENTED_NOTE,) if segmented else ())),
    )


def _in_order(job: Job) -> list[str]:
    """Names of tensors: those that are not rounded, then the others block by block."""
    place = {f"{layer}.weight": n for n, layer in enumerate(job.matrices.rounded)}
    return sorted(job.weights.stored, key=lambda name: place.get(name, -1))


class _Reading:
    """Tensors by name, as ``write_weights`` asks for them; rounded ones are made when needed."""

    def __init__(self, weights: MergedWeights, origin: dict[str, str], produce: Produce) -> None:
        self._weights, self._origin, self._produce = weights, origin, produce
        self._ready: dict[str, Tensor] = {}

    def read(self, name: str) -> Tensor:
        layer = self._origin.get(name)
        if layer is None:
            return self._weights.read(name)
        if name not in self._ready:
            self._ready |= self._produce(layer)
        return self._ready.pop(name)


def _read(name: str, folder: Path, decode: Decode, arithmetic: Arithmetic) -> TextModel:
    """The export as a model that answers, from nothing but its folder."""
    settings = ModelFolder.read(folder).config["quantization_config"]
    tensors = TensorFolder(folder)
    network = hollow_network(folder, arithmetic.dtype)

    def read(parameter: str) -> Tensor:
        layer = parameter.removesuffix(".weight")
        stored = parameter in tensors and tensors.read(parameter)
        if isinstance(stored, Tensor) and stored.is_floating_point():
            return stored
        return decode(settings, layer, tensors)

    fill(network.named_parameters(), read, arithmetic.device)
    base = Base(name, folder, "")
    return TextModel(name, Shared(network.to(arithmetic.device), Renderer(folder), base))
