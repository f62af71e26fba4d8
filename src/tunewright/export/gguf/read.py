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
from gguf import GGUFReader, TokenType
from gguf.quants import dequantize
from torch import Tensor

from tunewright.core.errors import ModelError
from tunewright.core.files import write_json_atomic, write_text_atomic
from tunewright.export.formats import Arithmetic
from tunewright.export.gguf.architecture import (
    ARCHITECTURES,
    ROPE_FACTORS,
    base_name,
    read_sizes,
    restored,
)
from tunewright.export.gguf.vocabulary import pre_tokenizer_of
from tunewright.model.catalog import Base
from tunewright.model.generation import Shared, TextModel
from tunewright.model.packed_attention import register
from tunewright.model.rendering import Renderer

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Fields = Mapping[str, Any]


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
    config = read_sizes(fields, {tensor.name for tensor in opened.tensors})
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        _write_folder(fields, config, folder)
        renderer = Renderer(folder)
        network = _empty(folder, arithmetic.dtype)
    _fill(network, opened, config)
    base = Base(name, path.parent, "")
    return TextModel(name, Shared(network.to(arithmetic.device), renderer, base))


def _empty(folder: Path, dtype: torch.dtype) -> PreTrainedModel:
    """The model that a ``config.json`` describes; its weights are yet to come."""
    from transformers import AutoConfig, AutoModelForCausalLM
    from transformers.initialization import no_init_weights

    config = AutoConfig.from_pretrained(folder)
    with no_init_weights():
        network: PreTrainedModel = AutoModelForCausalLM.from_config(
            config, dtype=dtype, attn_implementation=register()
        )
    network.tie_weights()
    network.requires_grad_(False)
    return network.eval()


def _fill(network: PreTrainedModel, opened: GGUFReader, config: Mapping[str, Any]) -> None:
    architecture = ARCHITECTURES[config["model_type"]]
    own = dict(network.named_parameters())
    for tensor in opened.tensors:
        values = torch.from_numpy(dequantize(tensor.data, tensor.tensor_type).copy())
        if tensor.name == ROPE_FACTORS:
            rotary = network.get_submodule("model.rotary_emb")
            rotary.inv_freq = rotary.inv_freq / values
            continue
        name = base_name(tensor.name)
        weight = own.pop(name, None)
        if weight is None or weight.numel() != values.numel():
            raise ModelError(f"tensor {tensor.name} of the GGUF file fits no weight of the model")
        shaped: Tensor = values.reshape(weight.shape)
        weight.data.copy_(restored(architecture, config, name, shaped))
    if own:
        raise ModelError(f"the GGUF file lacks {next(iter(own))}")


def _write_folder(fields: Fields, config: dict[str, Any], folder: Path) -> None:
    """A model folder without weights, as the file describes it."""

    def get(key: str) -> Any:
        return fields.get(f"tokenizer.ggml.{key}")

    tokens, types = get("tokens"), get("token_type")
    added = [
        {"id": number, "content": text, "special": types[number] == TokenType.CONTROL,
         "single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
        for number, text in enumerate(tokens)
        if types[number] in (TokenType.CONTROL, TokenType.USER_DEFINED)
    ]  # fmt: skip
    pre_tokenizer, whole = pre_tokenizer_of(get("pre"))
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True,
                  "use_regex": False}  # fmt: skip
    start = tokens[get("bos_token_id")]
    framed = {"type": "TemplateProcessing", "single": [
        {"SpecialToken": {"id": start, "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
        "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {start: {"id": start, "ids": [get("bos_token_id")],
                                   "tokens": [start]}}}  # fmt: skip
    model = {
        "type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
        "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False,
        "ignore_merges": whole,
        "vocab": {t: n for n, t in enumerate(tokens) if types[n] != TokenType.UNUSED},
        "merges": get("merges"),
    }  # fmt: skip
    write_json_atomic(
        folder / "tokenizer.json",
        {"version": "1.0", "truncation": None, "padding": None, "added_tokens": added,
         "normalizer": None, "pre_tokenizer": pre_tokenizer,
         "post_processor": framed if get("add_bos_token") else None,
         "decoder": byte_level, "model": model},
    )  # fmt: skip
    ends = [fields[k] for k in _ENDS if k in fields]
    write_json_atomic(folder / "config.json", {**config, "eos_token_id": ends})
    names = {"bos_token": start, "eos_token": tokens[ends[0]],
             "pad_token": tokens[get("padding_token_id")]}  # fmt: skip
    write_json_atomic(folder / "tokenizer_config.json", names)
    write_text_atomic(folder / "chat_template.jinja", fields["tokenizer.chat_template"])


_ENDS = tuple(f"tokenizer.ggml.{name}_token_id" for name in ("eos", "eot", "eom"))
