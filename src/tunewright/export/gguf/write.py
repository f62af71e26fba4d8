"""``--to gguf``: one file for llama.cpp and Ollama."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, GGUFWriter
from gguf.constants import GGML_QUANT_VERSION
from gguf.quants import quant_shape_to_byte_shape, quantize

from tunewright.config.export import ExportConfig, GgufType
from tunewright.core.errors import ModelError
from tunewright.core.files import write_text_atomic
from tunewright.export.companions import chat_template
from tunewright.export.formats import Plan
from tunewright.export.gguf.architecture import Architecture, architecture_of, settings_of
from tunewright.export.gguf.k_quants import K_QUANTS, quantize_k
from tunewright.export.gguf.mixtures import MIXTURES
from tunewright.export.gguf.ollama import modelfile
from tunewright.export.gguf.read import reader
from tunewright.export.gguf.sizes import check_sizes, notes_on, reach, write_sizes
from tunewright.export.gguf.tensors import Tensors
from tunewright.export.gguf.vocabulary import Vocabulary, vocabulary_of
from tunewright.export.merging import MergedWeights
from tunewright.export.safetensors_files import Progress
from tunewright.export.staging import folder_name
from tunewright.model.folders import ModelFolder
from tunewright.model.references import Resolved
from tunewright.model.rendering import Renderer

_PRECISIONS = {"f32": "float32", "f16": "float16", "bf16": "bfloat16"}
_WIDE = (GGMLQuantizationType.F32, GGMLQuantizationType.BF16)
_LARGEST_F16 = 65504.0


@dataclass(frozen=True)
class _Job:
    """All that is written; ``kinds`` are the tensors' types, by llama.cpp's names."""

    found: Resolved
    tensors: Tensors
    architecture: Architecture
    config: Mapping[str, Any]
    vocabulary: Vocabulary
    stored_as: GgufType
    context: int
    kinds: Mapping[str, GGMLQuantizationType]


def plan(found: Resolved, config: ExportConfig, renderer: Renderer) -> Plan:
    """An export to GGUF.

    Raises:
        ModelError: an architecture, a tokenizer or a tuner that the format cannot hold.
    """
    settings = settings_of(found.base.folder)
    architecture = architecture_of(settings)
    check_sizes(architecture, settings)
    weights = MergedWeights(found)
    tensors = Tensors(weights, architecture, settings)
    context = reach(architecture, settings, renderer.context_length)
    kinds = MIXTURES[config.gguf].kinds(tensors.shapes)
    template = chat_template(found)
    files = ModelFolder.read(found.base.folder)
    vocabulary = vocabulary_of(renderer, files, template, settings["vocab_size"])
    job = _Job(found, tensors, architecture, settings, vocabulary, config.gguf, context, kinds)
    file = f"{folder_name(found.name, config.gguf)}.gguf"

    def write(folder: Path, progress: Progress) -> None:
        _write(job, folder / file, progress)
        write_text_atomic(folder / "Modelfile", modelfile(file, renderer, vocabulary, context))

    size = sum(_bytes(shape, kinds[name]) for name, shape in tensors.shapes.items())
    return Plan(
        bytes=size + 32 * len(vocabulary.tokens) + 64 * len(vocabulary.merges),
        precision=_PRECISIONS.get(config.gguf, config.gguf),
        parameters=weights.parameters,
        write=write,
        read=reader(found.name, file),
        runs={
            "llama.cpp": f"llama-server -m {file} --jinja --alias {found.name}",
            "ollama": f"ollama create {folder_name(found.name, config.gguf)} -f Modelfile",
        },
        notes=notes_on(settings, context, renderer.context_length),
    )


def _bytes(shape: tuple[int, ...], kind: GGMLQuantizationType) -> int:
    block, size = GGML_QUANT_SIZES[kind]
    return int(np.prod(shape)) // block * size


def _write(job: _Job, path: Path, progress: Progress) -> None:
    writer = GGUFWriter(path, job.architecture.name)
    writer.add_type("model")
    writer.add_name(job.vocabulary.named(job.found.name))
    writer.add_file_type(MIXTURES[job.stored_as].file)
    writer.add_quantization_version(GGML_QUANT_VERSION)
    write_sizes(writer, job.architecture, job.config, job.context)
    job.vocabulary.write(writer)
    for name, shape in job.tensors.shapes.items():
        kind = job.kinds[name]
        writer.add_tensor_info(
            name,
            quant_shape_to_byte_shape(shape, kind),
            np.dtype(np.uint8),
            _bytes(shape, kind),
            raw_dtype=kind,
        )
    try:
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        for done, name in enumerate(job.tensors.shapes, start=1):
            writer.write_tensor_data(_stored(job, name))
            progress(done, len(job.tensors.shapes))
    finally:
        writer.close()


def _stored(job: _Job, name: str) -> np.ndarray[Any, Any]:
    """A tensor as it lies in the file."""
    tensor = job.tensors.read(name)
    kind = job.kinds[name]
    if not bool(torch.isfinite(tensor).all()):
        raise ModelError(f"{name} is not finite", "Tune again with a lower learning rate.")
    if kind not in _WIDE and float(tensor.abs().max()) > _LARGEST_F16:
        raise ModelError(f"{name} holds numbers that float16 cannot", "Use --gguf bf16.")
    if kind in K_QUANTS:
        return quantize_k(tensor, kind).numpy()
    return quantize(tensor.contiguous().numpy(), kind)
