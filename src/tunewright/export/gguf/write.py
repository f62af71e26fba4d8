"""``--to gguf``: one file for llama.cpp and Ollama."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, GGUFWriter, LlamaFileType
from gguf.constants import GGML_QUANT_VERSION
from gguf.quants import quant_shape_to_byte_shape, quantize

from tunewright.config.export import ExportConfig, GgufType
from tunewright.core.errors import ModelError
from tunewright.core.files import write_text_atomic
from tunewright.export.companions import chat_template
from tunewright.export.formats import Plan
from tunewright.export.gguf.architecture import Architecture, architecture_of, settings_of
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

_F16, _F32 = GGMLQuantizationType.F16, GGMLQuantizationType.F32
_FILE_TYPES: Mapping[GgufType, LlamaFileType] = MappingProxyType(
    {
        "f32": LlamaFileType.ALL_F32,
        "f16": LlamaFileType.MOSTLY_F16,
        "bf16": LlamaFileType.MOSTLY_BF16,
        "q8_0": LlamaFileType.MOSTLY_Q8_0,
        "q5_1": LlamaFileType.MOSTLY_Q5_1,
        "q5_0": LlamaFileType.MOSTLY_Q5_0,
        "q4_1": LlamaFileType.MOSTLY_Q4_1,
        "q4_0": LlamaFileType.MOSTLY_Q4_0,
    }
)
_PRECISIONS = {"f32": "float32", "f16": "float16", "bf16": "bfloat16"}
_LARGEST_F16 = 65504.0


@dataclass(frozen=True)
class _Job:
    """All that is written."""

    found: Resolved
    tensors: Tensors
    architecture: Architecture
    config: Mapping[str, Any]
    vocabulary: Vocabulary
    stored_as: GgufType
    context: int

    def type_of(self, name: str) -> GGMLQuantizationType:
        """How a tensor is stored: vectors in float32, rows that no blocks fill in float16."""
        shape = self.tensors.shapes[name]
        if len(shape) == 1:
            return _F32
        wanted = GGMLQuantizationType[self.stored_as.upper()]
        return wanted if shape[-1] % GGML_QUANT_SIZES[wanted][0] == 0 else _F16


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
    template = chat_template(found)
    files = ModelFolder.read(found.base.folder)
    vocabulary = vocabulary_of(renderer, files, template, settings["vocab_size"])
    job = _Job(found, tensors, architecture, settings, vocabulary, config.gguf, context)
    file = f"{folder_name(found.name, config.gguf)}.gguf"

    def write(folder: Path, progress: Progress) -> None:
        _write(job, folder / file, progress)
        write_text_atomic(folder / "Modelfile", modelfile(file, renderer, vocabulary))

    size = sum(_bytes(shape, job.type_of(name)) for name, shape in tensors.shapes.items())
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
        notes=(
            *notes_on(context, renderer.context_length),
            *((_k_quants(file, config.gguf),) if config.gguf in ("f32", "f16", "bf16") else ()),
        ),
    )


def _k_quants(file: str, stored_as: str) -> str:
    """k-quants (q4_k_m, q5_k_m, q6_k …) need a search that only llama.cpp's own tool does."""
    smaller = file.replace(f"-{stored_as}.gguf", "-q4_k_m.gguf")
    return (
        "For k-quants (q4_k_m, q5_k_m, q6_k) use llama.cpp's own tool:"
        f" llama-quantize {file} {smaller} q4_k_m; that file is then not compared."
    )


def _bytes(shape: tuple[int, ...], kind: GGMLQuantizationType) -> int:
    block, size = GGML_QUANT_SIZES[kind]
    return int(np.prod(shape)) // block * size


def _write(job: _Job, path: Path, progress: Progress) -> None:
    writer = GGUFWriter(path, job.architecture.name)
    writer.add_type("model")
    writer.add_name(job.vocabulary.named(job.found.name))
    writer.add_file_type(_FILE_TYPES[job.stored_as])
    writer.add_quantization_version(GGML_QUANT_VERSION)
    write_sizes(writer, job.architecture, job.config, job.context)
    job.vocabulary.write(writer)
    for name, shape in job.tensors.shapes.items():
        kind = job.type_of(name)
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
    kind = job.type_of(name)
    if not bool(torch.isfinite(tensor).all()):
        raise ModelError(f"{name} is not finite", "Tune again with a lower learning rate.")
    if kind != _F32 and job.stored_as != "bf16" and float(tensor.abs().max()) > _LARGEST_F16:
        raise ModelError(f"{name} holds numbers that float16 cannot", "Use --gguf bf16.")
    return quantize(tensor.contiguous().numpy(), kind)
