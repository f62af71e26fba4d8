"""Reading a GGUF file back: config, tokenizer and weights out of nothing but the file itself.

The weights are dequantised and put into a transformers model, so that its logits can be compared
with those of the tuned model. llama.cpp's own arithmetic on quantised weights rounds activations
too and comes out slightly different.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from gguf import GGUFReader
from gguf.quants import dequantize
from torch import Tensor

from tunewright.core.errors import ModelError
from tunewright.core.files import write_json_atomic
from tunewright.export.formats import Arithmetic
from tunewright.export.gguf.architecture import (
    Architecture,
    architecture_read,
    base_name,
    restored,
)
from tunewright.export.gguf.read_tokenizer import write_tokenizer
from tunewright.export.gguf.rotary import LONG_FACTORS, ROPE_FACTORS
from tunewright.export.gguf.sizes import read_sizes
from tunewright.export.skeleton import unfilled_network
from tunewright.model.catalog import Base
from tunewright.model.generation import Shared, TextModel
from tunewright.model.rendering import Renderer

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def reader(name: str, file: str) -> Callable[[Path, Arithmetic], TextModel]:
    """What loads an export's file, under the model's name."""

    def read(folder: Path, arithmetic: Arithmetic) -> TextModel:
        return read_gguf(folder / file, name, arithmetic)

    return read


def read_gguf(path: Path, name: str, arithmetic: Arithmetic) -> TextModel:
    """A GGUF file as a model that answers.

    Raises:
        ModelError: not a file that we would write.
    """
    try:
        opened = GGUFReader(path)
    except (ValueError, OSError, IndexError) as error:
        raise ModelError(f"{path} is no readable GGUF file: {error}") from None
    fields = {key: field.contents() for key, field in opened.fields.items()}
    config = read_sizes(fields, {tensor.name: tensor for tensor in opened.tensors})
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        ends = write_tokenizer(fields, folder)
        ids = {"eos_token_id": ends, "pad_token_id": fields["tokenizer.ggml.padding_token_id"]}
        write_json_atomic(folder / "config.json", {**config, **ids})
        renderer = Renderer(folder)
        network = unfilled_network(folder, arithmetic.dtype)
    _fill(network, opened, architecture_read(fields), config)
    base = Base(name, path.parent, "")
    return TextModel(name, Shared(network.to(arithmetic.device), renderer, base))


def _fill(
    network: PreTrainedModel,
    opened: GGUFReader,
    architecture: Architecture,
    config: Mapping[str, Any],
) -> None:
    own = _places(network)
    for tensor in opened.tensors:
        if tensor.name in LONG_FACTORS.values():
            continue  # part of the config
        values = torch.from_numpy(dequantize(tensor.data, tensor.tensor_type).copy())
        if tensor.name == ROPE_FACTORS:
            rotary = network.get_submodule("model.rotary_emb")
            rotary.inv_freq = rotary.inv_freq / values
            continue
        name = base_name(architecture, tensor.name)
        weight = own.pop(name, None)
        if weight is None or weight.numel() != values.numel():
            raise ModelError(f"tensor {tensor.name} of the GGUF file fits no weight of the model")
        shaped: Tensor = values.reshape(weight.shape)
        weight.copy_(restored(architecture, config, name, shaped))
    if own:
        raise ModelError(f"the GGUF file lacks {next(iter(own))}")


def _places(network: PreTrainedModel) -> dict[str, Tensor]:
    """Where each tensor goes; transformers keeps gates and ups of experts in one."""
    found: dict[str, Tensor] = {}
    for name, parameter in network.named_parameters():
        path, _, kind = name.rpartition(".")
        if kind == "gate_up_proj":
            gate, up = parameter.data.chunk(2, dim=1)
            found |= {f"{path}.gate_proj.weight": gate, f"{path}.up_proj.weight": up}
        else:
            found[f"{name}.weight" if kind == "down_proj" else name] = parameter.data
    return found
