"""Prefix tuning: learnt keys and values before every text, in every layer, of a frozen base.

Li & Liang 2021 (arXiv 2101.00190); in every layer and without the MLP it is P-tuning v2 (Liu et al.
2022, arXiv 2110.07602), which ChatGLM's own scripts use. For each layer
softmax(q·[P_K; K]ᵀ / √d)·[P_V; V]: every token of a text sees the whole prefix.

The prefix is not part of the key-value cache: attention puts it before the keys it is given, for
each packed document apart (``packed_attention``). Positions of the text begin after the prefix's,
as they do in the PEFT library, whose format the folders have. A prefix that an MLP makes is stored
as made, and the MLP beside it in ``prefix_encoder.safetensors`` for training to go on.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, ClassVar, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tunewright.config.training import PrefixConfig, TrainConfig
from tunewright.core.errors import ConfigError, ModelError
from tunewright.model.catalog import Base
from tunewright.model.tuners.base import DEFAULT, Trained, Tuner
from tunewright.model.tuners.files import (
    PEFT_SETTINGS,
    PEFT_TENSORS,
    PREFIX_ENCODER,
    PREFIX_TABLE,
    read_settings,
)
from tunewright.model.tuners.peft_format import settings_head
from tunewright.model.tuners.prefix_slots import (
    KeyValueShape,
    PrefixPart,
    check_reads,
    key_value_shape,
    prefix_slots,
)
from tunewright.model.tuners.slots import activate, adapter_tensors
from tunewright.model.tuners.tensors import read_tensors, write_tensors

# An MLP's weights are much smaller numbers than the keys and values that it makes.
_MLP_RATE = 1 / 8
_MLP = ("embedding", "hidden.weight", "hidden.bias", "output.weight", "output.bias")


class TablePrefix(nn.Module):
    """The prefix itself as weights (tokens, layers · 2 · kv_heads · head_dim), float32."""

    def __init__(self, table: Tensor) -> None:
        super().__init__()
        self.table = nn.Parameter(table.float())

    def columns(self, start: int, end: int) -> Tensor:
        """(tokens, end - start)."""
        return self.table[:, start:end]

    def tensors(self) -> dict[str, nn.Parameter]:
        """What is trained, by name."""
        return {PREFIX_TABLE: self.table}


class ProjectedPrefix(nn.Module):
    """The prefix as made by an MLP with one tanh layer from an embedding per prefix token.

    Args:
        tokens: length of the prefix.
        inner: channels of the embedding.
        hidden: width of the MLP.
        width: layers · 2 · kv_heads · head_dim.
        generator: of the draw.
    """

    def __init__(
        self, tokens: int, inner: int, hidden: int, width: int, generator: torch.Generator
    ) -> None:
        super().__init__()

        def drawn(rows: int, columns: int) -> Tensor:
            bound = 1 / math.sqrt(columns)
            return torch.empty(rows, columns).uniform_(-bound, bound, generator=generator)

        embedding = torch.empty(tokens, inner).normal_(generator=generator)
        first, second = drawn(hidden, inner), drawn(width, hidden)
        tensors = (embedding, first, torch.zeros(hidden), second, torch.zeros(width))
        self.weights = nn.ParameterList([nn.Parameter(tensor) for tensor in tensors])

    def columns(self, start: int, end: int) -> Tensor:
        """(tokens, end - start): the last layer's other columns need not be computed."""
        embedding, first, first_bias, second, second_bias = self.weights
        inner = torch.tanh(F.linear(embedding, first, first_bias))
        return F.linear(inner, second[start:end], second_bias[start:end])

    def tensors(self) -> dict[str, nn.Parameter]:
        """What is trained, by name."""
        return dict(zip(_MLP, self.weights, strict=True))


class PrefixTuner(Tuner):
    """Learnt keys and values in every layer."""

    settings_file: ClassVar[str] = PEFT_SETTINGS
    compared: ClassVar[tuple[str, ...]] = ("num_virtual_tokens", "prefix_projection")

    # Keys and values are large numbers.
    rate: ClassVar[float] = 40.0

    def attach(self, model: nn.Module, config: TrainConfig, name: str = DEFAULT) -> Trained:
        """Hang a fresh prefix in every attention layer.

        Without the MLP it begins as the keys and values of random tokens, since a prefix that
        begins as noise takes long to become useful (Li & Liang 2021, §7.4).
        """
        shape = key_value_shape(model)
        model.requires_grad_(False)
        generator = torch.Generator().manual_seed(config.seed)
        if config.prefix.projection:
            encoder: TablePrefix | ProjectedPrefix = ProjectedPrefix(
                config.prefix.tokens,
                shape.channels,
                config.prefix.projection,
                shape.width,
                generator,
            )
        else:
            encoder = TablePrefix(_read_out(model, config.prefix, shape, generator))
        _hang(model, encoder, shape, name)
        parameters = adapter_tensors(model, name)
        if config.prefix.projection:
            return Trained(parameters, dict.fromkeys(parameters, _MLP_RATE))
        return Trained(parameters)

    def settings(self, model: nn.Module, config: TrainConfig, base: Base) -> dict[str, Any]:
        """PEFT's ``adapter_config.json``."""
        shape = key_value_shape(model)
        return {
            **settings_head("PREFIX_TUNING", base.name),
            "num_virtual_tokens": config.prefix.tokens,
            "token_dim": shape.channels,
            "num_attention_heads": shape.heads,
            "num_layers": shape.layers,
            "num_transformer_submodules": 1,
            "encoder_hidden_size": config.prefix.projection or shape.channels,
            "prefix_projection": bool(config.prefix.projection),
            "init_weights": None,
            "modules_to_save": None,
        }

    def write_tensors(self, model: nn.Module, folder: Path, name: str = DEFAULT) -> None:
        """PEFT's ``adapter_model.safetensors``, and the MLP beside it when there is one."""
        part = cast(PrefixPart, prefix_slots(model)[0].parts[name])
        with torch.no_grad():
            made = part.encoder.columns(0, part.shape.width)
        write_tensors({PREFIX_TABLE: made}, folder / PEFT_TENSORS)
        tensors = part.tensors("")
        if PREFIX_TABLE not in tensors:
            write_tensors(tensors, folder / PREFIX_ENCODER)

    def load(self, model: nn.Module, folder: Path, name: str = DEFAULT) -> None:
        """Hang a prefix from disk."""
        settings = read_settings(folder, PEFT_SETTINGS)
        tensors = read_tensors(folder / PEFT_TENSORS)
        shape = key_value_shape(model)
        table = tensors.get(PREFIX_TABLE)
        if table is None or set(tensors) != {PREFIX_TABLE}:
            raise ModelError(f"{folder} does not hold {PREFIX_TABLE!r} and nothing else")
        if table.ndim != 2 or table.shape[1] != shape.width:
            raise ModelError(
                f"adapter {folder}: the prefix is {tuple(table.shape)}, the base's layers take"
                f" {shape.width} channels per token",
                "It was made for another base.",
            )
        if settings.get("num_transformer_submodules") not in (1, None):
            raise ModelError(f"{folder / PEFT_SETTINGS} is for an encoder-decoder model")
        _hang(model, TablePrefix(table), shape, name)


def _hang(
    model: nn.Module, encoder: TablePrefix | ProjectedPrefix, shape: KeyValueShape, name: str
) -> None:
    device = next(model.parameters()).device
    encoder.to(device)
    for layer, slot in enumerate(prefix_slots(model)):
        slot.parts[name] = PrefixPart(encoder, shape, layer).train(slot.training)
    activate(model, name)
    check_reads(model)


@torch.no_grad()
def _read_out(
    model: Any, config: PrefixConfig, shape: KeyValueShape, generator: torch.Generator
) -> Tensor:
    """Keys and values of random tokens as a table (tokens, layers · 2 · channels)."""
    text = model.config.get_text_config()
    longest = getattr(text, "max_position_embeddings", None)
    if longest is not None and config.tokens >= longest:
        raise ConfigError(
            f"option 'prefix.tokens': a prefix of {config.tokens} tokens leaves no room in this"
            f" base's context of {longest}"
        )
    ids = torch.randint(0, text.vocab_size, (1, config.tokens), generator=generator)
    was_training = model.training
    model.eval()
    cache = model(input_ids=ids.to(model.device), use_cache=True).past_key_values
    model.train(was_training)
    rows = [
        states[0].transpose(0, 1).reshape(config.tokens, shape.channels).float()
        for layer in cache.layers
        for states in (layer.keys, layer.values)
    ]
    return torch.cat(rows, dim=1)
