"""``--to merged``: one model in the base's own layout, which every program loads as the base."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch

from tunewright.config.export import ExportConfig
from tunewright.core.errors import ModelError
from tunewright.export.companions import companion_bytes, copy_companions
from tunewright.export.formats import DTYPES, Arithmetic, Plan
from tunewright.export.merging import MergedWeights
from tunewright.export.safetensors_files import Planned, Progress, write_weights
from tunewright.model.catalog import Base
from tunewright.model.folders import ModelFolder
from tunewright.model.generation import Shared, TextModel
from tunewright.model.loading import load_model
from tunewright.model.references import Resolved
from tunewright.model.rendering import Renderer
from tunewright.model.segments import ENCODING, SEGMENTS
from tunewright.model.weights import weight_files

"""Types that weights are written in, by their names."""
SEGMENTED_NOTE = (
    "This base encodes each message by itself, which other programs do not do for its chat format:"
    " give them token ids, or serve it with `tunewright serve`."
)
"""For bases that ``is_segmented`` tells."""


def plan(found: Resolved, config: ExportConfig, renderer: Renderer) -> Plan:
    """An export to merged safetensors.

    Raises:
        ModelError: a tuner whose work no weight can hold.
    """
    weights = MergedWeights(found)
    asked = DTYPES.get(config.dtype)
    planned = {n: Planned(weights.shape(n), asked or weights.dtype(n)) for n in weights.stored}
    coarsest = min((p.dtype for p in planned.values()), key=_bits)
    dtype = None if asked is None else config.dtype

    def write(folder: Path, progress: Progress) -> None:
        limit = int(config.shard_gb * 1e9)
        write_weights(planned, weights.read, folder, limit, progress)
        copy_companions(found, renderer, folder, dtype)

    segmented = is_segmented(found)
    return Plan(
        bytes=sum(p.size for p in planned.values()) + companion_bytes(found),
        precision=str(coarsest).removeprefix("torch."),
        parameters=weights.parameters,
        write=write,
        read=_reader(found),
        runs={} if segmented else {"vllm": vllm_line(found, renderer)},
        notes=(SEGMENTED_NOTE,) if segmented else (),
    )


def is_segmented(found: Resolved) -> bool:
    """Whether the base's messages are encoded one by one."""
    return ModelFolder.read(found.base.folder).tokenizer.get(ENCODING) == SEGMENTS


def vllm_line(found: Resolved, renderer: Renderer) -> str:
    """What serves a folder with vLLM."""
    name, length = found.name, renderer.context_length
    return f"vllm serve . --served-model-name {name} --max-model-len {length}"


def _bits(dtype: torch.dtype) -> float:
    """How finely a type tells numbers apart."""
    return -torch.finfo(dtype).eps


def _reader(found: Resolved) -> Callable[[Path, Arithmetic], TextModel]:
    def read(folder: Path, arithmetic: Arithmetic) -> TextModel:
        ModelFolder.read(folder)
        if not weight_files(folder):
            raise ModelError(f"{folder} has no weights")
        base = Base(found.name, folder, "")
        network = load_model(base, arithmetic.device, arithmetic.dtype)
        return TextModel(found.name, Shared(network, Renderer(folder), base))

    return read
