"""``--to compressed-tensors``: whole numbers of 4 or 8 bits, which vLLM and SGLang read natively.

Written and read here without the package of that name, as ``pack-quantized``: symmetric, with a
scale for each group of inputs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from tunewright.config.export import ExportConfig
from tunewright.core.errors import ConfigError, ModelError
from tunewright.core.store import Store
from tunewright.export.calibration import BlockWalk, calibration_ids, packed
from tunewright.export.formats import Plan
from tunewright.export.gptq import gptq
from tunewright.export.merged import vllm_line
from tunewright.export.packing import Grid
from tunewright.export.quantised import Job, Layout, Parts, Produce, plan_quantised
from tunewright.export.safetensors_files import Planned
from tunewright.export.skeleton import TensorFolder, hollow_network
from tunewright.model.loading import pick_device
from tunewright.model.references import Resolved
from tunewright.model.rendering import Renderer
from tunewright.training.machine import free_memory

_GROUPS = (128, 64, 32)
_COPIES = 5
"""Of the largest matrix, or of its inputs' moments, that are there at once while it is rounded."""


def plan(found: Resolved, config: ExportConfig, renderer: Renderer, store: Store) -> Plan:
    """An export to compressed-tensors.

    Raises:
        ModelError: a tuner that cannot be merged, or a base whose layers cannot be rounded.
        ConfigError: no rows to calibrate on.
    """
    job, grid = _fitting(Job.of(found, config, renderer))
    layout = Layout(
        precision=f"w{grid.bits}a16",
        parts=lambda layer: _parts(job, grid, layer),
        decode=decode,
        settings=_settings(grid),
        left_out="ignore",
    )
    producer, how = _METHODS[config.quantize.method](job, grid, store)
    name, length = found.name, renderer.context_length
    runs = {
        "vllm": vllm_line(found, renderer),
        "sglang": "python -m sglang.launch_server --model-path ."
        f" --served-model-name {name} --context-length {length}",
    }
    needed = "transformers reads this folder where the package compressed-tensors is installed."
    return plan_quantised(job, layout, producer, runs, (how, needed))


def _fitting(job: Job) -> tuple[Job, Grid]:
    """The largest group that divides the rows of as many layers as any does; the rest is left.

    Programs fuse layers with the same input, so that one group serves the whole network.

    Raises:
        ModelError: none divides any.
    """
    inputs = {layer: job.shape(layer)[1] for layer in job.matrices.rounded}
    allowed = [group for group in _GROUPS if group <= job.config.quantize.group]
    group = max(allowed, key=lambda g: (sum(width % g == 0 for width in inputs.values()), g))
    matrices = job.matrices.without(lambda layer: inputs[layer] % group != 0)
    if not matrices.rounded:
        raise ModelError(
            f"the layers of {job.found.base.name} have {sorted(set(inputs.values()))} inputs, which"
            f" no group of {', '.join(map(str, allowed))} divides",
            "Use --to bitsandbytes.",
        )
    return replace(job, matrices=matrices), Grid(job.config.quantize.bits, group)


def _parts(job: Job, grid: Grid, layer: str) -> Parts:
    outputs, inputs = job.shape(layer)
    words = -(-inputs // grid.per_word)
    scale = job.dtype(f"{layer}.weight")
    return {
        f"{layer}.weight_packed": Planned((outputs, words), torch.int32),
        f"{layer}.weight_scale": Planned((outputs, inputs // grid.group), scale),
        f"{layer}.weight_shape": Planned((2,), torch.int64),
    }


def _tensors(grid: Grid, layer: str, levels: Tensor, scales: Tensor) -> dict[str, Tensor]:
    return {
        f"{layer}.weight_packed": grid.pack(levels).cpu(),
        f"{layer}.weight_scale": scales.cpu(),
        f"{layer}.weight_shape": torch.tensor(levels.shape),
    }


def _settings(grid: Grid) -> dict[str, Any]:
    """``quantization_config``, as compressed-tensors 0.20 and vLLM read it."""
    weights = {
        "num_bits": grid.bits,
        "type": "int",
        "symmetric": True,
        "strategy": "group",
        "group_size": grid.group,
        "dynamic": False,
    }
    return {
        "quant_method": "compressed-tensors",
        "format": "pack-quantized",
        "quantization_status": "compressed",
        "config_groups": {"group_0": {"targets": ["Linear"], "weights": weights}},
    }


def decode(settings: Mapping[str, Any], layer: str, tensors: TensorFolder) -> Tensor:
    """A layer's weight (out, in) in float32."""
    told = settings["config_groups"]["group_0"]["weights"]
    grid = Grid(told["num_bits"], told["group_size"])
    columns = int(tensors.read(f"{layer}.weight_shape")[1])
    levels = grid.unpack(tensors.read(f"{layer}.weight_packed"), columns)
    return grid.dense(levels, tensors.read(f"{layer}.weight_scale"))


# Methods --------------------------------------------------------------------------------------

Method = Callable[[Job, Grid, Store], tuple[Callable[[], Produce], str]]


def _nearest(job: Job, grid: Grid, store: Store) -> tuple[Callable[[], Produce], str]:
    def produce(layer: str) -> dict[str, Tensor]:
        weight = job.read(f"{layer}.weight")
        scales = grid.scales(weight, job.dtype(f"{layer}.weight"))
        levels = grid.nearest(weight, scales.repeat_interleave(grid.group, dim=1))
        return _tensors(grid, layer, levels, scales)

    return lambda: produce, "Each weight was rounded by itself, without calibration."


def _calibrated(job: Job, grid: Grid, store: Store) -> tuple[Callable[[], Produce], str]:
    config = job.config.quantize
    rows, source = calibration_ids(job.found, config, job.renderer, store)
    device = pick_device(config.device)
    refuse_little_memory(job, sum(map(len, rows)), device)

    def producer() -> Produce:
        network = hollow_network(job.found.base.folder, torch.float32)
        batches = packed(rows, config.tokens)
        return _Calibrated(job, grid, BlockWalk(network, job.read, batches, device)).produce

    return producer, f"Calibrated with GPTQ on {source}."


def refuse_little_memory(job: Job, tokens: int, device: torch.device) -> None:
    """Refuse what does not fit: a block with its layers' moments, and every row's input to it.

    Raises:
        ConfigError: too little memory.
    """
    shapes = [[job.shape(layer) for layer in block] for block in job.matrices.blocks]
    block = max(sum(rows * width + width**2 for rows, width in inside) for inside in shapes)
    widths = {width for inside in shapes for _, width in inside}
    stored = (torch.Size(job.weights.shape(name)).numel() for name in job.weights.stored)
    largest = max(max(stored), max(widths) ** 2)
    needed = 4 * (block + _COPIES * largest)
    if device.type == "cpu":
        free, needed = free_memory(), needed + 2 * 4 * tokens * min(widths)
    else:
        free = torch.cuda.mem_get_info(device)[0]
    if needed > free:
        raise ConfigError(
            f"calibrating takes {needed / 1e9:.1f} GB of memory, {free / 1e9:.1f} GB are free",
            "Use fewer --quantize-rows, or --quantize-method nearest.",
        )


_METHODS: Mapping[str, Method] = {"gptq": _calibrated, "nearest": _nearest}


class _Calibrated:
    """GPTQ, block by block, as layers are asked for in the network's order."""

    def __init__(self, job: Job, grid: Grid, walk: BlockWalk) -> None:
        self._job, self._grid, self._walk = job, grid, walk
        self._blocks = iter(enumerate(job.matrices.blocks))
        self._made: dict[str, Tensor] = {}

    def produce(self, layer: str) -> dict[str, Tensor]:
        """The tensors of all layers of the next block, and of blocks before it."""
        self._made = {}
        for number, layers in self._blocks:
            self._walk.visit(number, layers, self._rounded)
            if layer in layers:
                break
        return self._made

    def _rounded(self, layer: str, weight: Tensor, moments: Tensor) -> Tensor:
        grid, config = self._grid, self._job.config.quantize
        dtype = self._job.dtype(f"{layer}.weight")
        scales = grid.best_scales(weight, dtype, moments.diagonal())
        levels = gptq(weight, moments, scales, grid, config.damping)
        self._made |= _tensors(grid, layer, levels, scales)
        return grid.dense(levels, scales)
