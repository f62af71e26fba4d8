"""``--to chatglm3``: merged weights under ChatGLM3's own names, for tools that know no other."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from tunewright.config.export import ExportConfig
from tunewright.core.errors import ModelError
from tunewright.core.files import sha256_file
from tunewright.export.formats import DTYPES, Arithmetic, Plan
from tunewright.export.merging import MergedWeights
from tunewright.export.safetensors_files import Planned, Progress, write_weights
from tunewright.model.catalog import Base
from tunewright.model.chatglm3.convert import is_chatglm, native_folder
from tunewright.model.chatglm3.layout import layer_parts
from tunewright.model.folders import read_json
from tunewright.model.generation import Shared, TextModel
from tunewright.model.loading import load_model
from tunewright.model.references import Resolved
from tunewright.model.rendering import Renderer

_COPIED = ("*.json", "*.py", "tokenizer.model", "*LICENSE*")
_LAYER = ("input_layernorm", "self_attention.query_key_value", "self_attention.dense",
          "post_attention_layernorm", "mlp.dense_h_to_4h", "mlp.dense_4h_to_h")  # fmt: skip


def plan(found: Resolved, config: ExportConfig, renderer: Renderer) -> Plan:
    """An export in the layout that ChatGLM3 was published in.

    Raises:
        ModelError: another base, one that is no folder here, or a tuner that cannot be merged.
    """
    source = Path(found.base.lasting_name)
    if not (source.is_dir() and is_chatglm(source)):
        raise ModelError(
            f"{found.name} does not stand on a folder of ChatGLM3 in its original layout",
            "Use --to merged.",
        )
    if config.dtype != "base":
        raise ModelError("the original layout keeps the base's type", "Use --to merged.")
    weights = MergedWeights(found)
    parts = _parts(read_json(found.base.folder / "config.json"), set(weights.stored))
    planned = {name: _planned(weights, pieces) for name, pieces in parts.items()}

    def read(name: str) -> Tensor:
        return torch.cat([weights.read(piece) for piece in parts[name]])

    def write(folder: Path, progress: Progress) -> None:
        write_weights(planned, read, folder, int(config.shard_gb * 1e9), progress)
        for pattern in _COPIED:
            for file in source.glob(pattern):
                if file.is_file() and not file.name.endswith(".index.json"):
                    shutil.copyfile(file, folder / file.name)

    return Plan(
        # While it is read back a copy in the layout of GLM lies beside it.
        bytes=2 * sum(p.size for p in planned.values()),
        precision=next(k for k, v in DTYPES.items() if v == _coarsest(planned)),
        parameters=weights.parameters,
        write=write,
        read=lambda folder, arithmetic: _read(found, folder, arithmetic),
        notes=("The published modelling code runs on transformers up to 4.41 only.",),
    )


def _parts(config: Mapping[str, object], stored: set[str]) -> dict[str, list[str]]:
    """ChatGLM3's names → GLM's, one or the three that are fused."""
    layers = [f"encoder.layers.{n}.{inner}" for n in range(_layers(config)) for inner in _LAYER]
    paths = ["embedding.word_embeddings", *layers, "encoder.final_layernorm", "output_layer"]
    found: dict[str, list[str]] = {}
    for path in paths:
        pieces = [name for name, _ in layer_parts(path, config) or ()]
        for kind in ("weight", "bias"):
            names = [f"{piece}.{kind}" for piece in pieces]
            if stored.issuperset(names):
                found[f"transformer.{path}.{kind}"] = names
    return found


def _layers(config: Mapping[str, object]) -> int:
    return int(str(config["num_hidden_layers"]))


def _planned(weights: MergedWeights, pieces: list[str]) -> Planned:
    shapes = [weights.shape(piece) for piece in pieces]
    rows = sum(shape[0] for shape in shapes)
    return Planned((rows, *shapes[0][1:]), weights.dtype(pieces[0]))


def _coarsest(planned: Mapping[str, Planned]) -> torch.dtype:
    return max((p.dtype for p in planned.values()), key=lambda dtype: torch.finfo(dtype).eps)


def _read(found: Resolved, folder: Path, arithmetic: Arithmetic) -> TextModel:
    """As any folder of ChatGLM3 is read."""
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".chatglm3-") as scratch:
        native = native_folder(folder, Path(scratch), sha256_file)
        base = Base(found.name, native, "")
        network = load_model(base, arithmetic.device, arithmetic.dtype)
        return TextModel(found.name, Shared(network, Renderer(native), base))
