"""Where prefixes hang: one slot in every attention layer, which the attention function reads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol, cast

import torch
from torch import Tensor, nn

from tunewright.core.errors import ConfigError
from tunewright.model.tuners.slots import Part, Slot
from tunewright.model.tuners.targets import blocks

_CHILD = "prefix_slot"


@dataclass(frozen=True)
class KeyValueShape:
    """What the keys of a base look like.

    Attributes:
        layers: attention layers.
        heads: key-value heads per layer.
        channels: heads · head_dim.
    """

    layers: int
    heads: int
    channels: int

    @property
    def width(self) -> int:
        """Channels of all layers' keys and values of one token."""
        return 2 * self.layers * self.channels


class Encoder(Protocol):
    """Makes a prefix, in PEFT's order of columns: layer by layer, keys before values."""

    def columns(self, start: int, end: int) -> Tensor:
        """(tokens, end - start)."""
        ...

    def tensors(self) -> dict[str, nn.Parameter]:
        """What is trained, by name."""
        ...


class PrefixPart(Part):
    """One layer's share of a prefix; the encoder is the same in all layers.

    Args:
        encoder: makes the prefix; a module.
        shape: of the base's keys.
        layer: which layer this is.
    """

    def __init__(self, encoder: Encoder, shape: KeyValueShape, layer: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.shape = shape
        self.layer = layer

    def keys_values(self) -> tuple[Tensor, Tensor]:
        """Keys and values, each (1, kv_heads, tokens, head_dim), float32."""
        channels = self.shape.channels
        start = 2 * self.layer * channels
        both = self.encoder.columns(start, start + 2 * channels)
        split = both.view(both.shape[0], 2, self.shape.heads, -1).permute(1, 2, 0, 3)
        return split[:1], split[1:]

    def tensors(self, path: str) -> dict[str, nn.Parameter]:
        """The whole prefix's tensors, whichever layer is asked."""
        return self.encoder.tensors()


class PrefixSlot(Slot):
    """A child of an attention layer; the attention function asks it for what comes first."""

    def __init__(self) -> None:
        super().__init__()
        self.reads = 0
        """How often attention asked; a base whose attention never does cannot have a prefix."""

    def working(self) -> list[PrefixPart]:
        """The parts that are seen now, the first in front."""
        part = self.part
        return [cast(PrefixPart, p) for p in (*self.fixed, *([] if part is None else [part]))]

    def tokens(self) -> int:
        """Length of what is seen now."""
        return sum(part.encoder.columns(0, 0).shape[0] for part in self.working())


def prefix_of(attention: nn.Module, like: Tensor) -> tuple[Tensor, Tensor] | None:
    """Keys and values (1, kv_heads, tokens, head_dim) that an attention layer sees before its own.

    Args:
        attention: the layer.
        like: gives type and device.
    """
    slot = attention._modules.get(_CHILD)
    if not isinstance(slot, PrefixSlot):
        return None
    slot.reads += 1
    pairs = [part.keys_values() for part in slot.working()]
    if not pairs:
        return None
    keys, values = (torch.cat([pair[side] for pair in pairs], dim=2) for side in (0, 1))
    return keys.to(like), values.to(like)


def tokens_before(attention: nn.Module) -> int:
    """Length of the prefix that an attention layer sees: positions of a text begin behind it."""
    slot = attention._modules.get(_CHILD)
    return slot.tokens() if isinstance(slot, PrefixSlot) else 0


def key_value_shape(model: Any) -> KeyValueShape:
    """The shape of a base's keys.

    Raises:
        ConfigError: when a prefix cannot be computed exactly on this base.
    """
    config = model.config.get_text_config()
    if hasattr(config, "kv_lora_rank"):
        raise _unfit(model, "its keys are wider than its values")
    if slides(config):
        raise _unfit(model, "some of its layers see a sliding window, which the prefix would leave")
    if not any("Rotary" in type(module).__name__ for module in model.modules()):
        raise _unfit(model, "its positions are not rotary and would run out")
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return KeyValueShape(len(_attentions(model)), heads, heads * size)


def slides(config: Any) -> bool:
    """Whether any layer has a sliding window; a config that lists no layers means all of them."""
    kinds = getattr(config, "layer_types", None)
    if kinds:
        return any(kind != "full_attention" for kind in kinds)
    return getattr(config, "sliding_window", None) is not None


def prefix_slots(model: nn.Module) -> list[PrefixSlot]:
    """The slots of all layers, made where there are none yet."""
    attentions = _attentions(model)
    if _CHILD not in attentions[0]._modules:
        for attention in attentions:
            attention.add_module(_CHILD, PrefixSlot().train(attention.training))
        _shift_positions(model, cast(PrefixSlot, attentions[0]._modules[_CHILD]))
    return [cast(PrefixSlot, attention._modules[_CHILD]) for attention in attentions]


@torch.no_grad()
def check_reads(model: Any) -> None:
    """Make sure that every layer's attention looks at its prefix.

    Raises:
        ConfigError: one does not, so that the prefix would silently do nothing there.
    """
    places = prefix_slots(model)
    before = [slot.reads for slot in places]
    training = model.training
    model.eval()
    model(input_ids=torch.zeros(1, 1, dtype=torch.long, device=model.device), use_cache=False)
    model.train(training)
    if any(slot.reads == count for slot, count in zip(places, before, strict=True)):
        raise _unfit(model, "its attention goes past the common attention function")


def _attentions(model: Any) -> list[nn.Module]:
    """The attention layer of every block."""
    found = []
    for _, block in blocks(model):
        inside = [
            module
            for module in block.modules()
            if hasattr(module, "layer_idx") and "Attention" in type(module).__name__
        ]
        if len(inside) != 1:
            raise _unfit(model, f"a block has {len(inside)} attention layers")
        found += inside
    return found


def _shift_positions(model: Any, first: PrefixSlot) -> None:
    """Let the text's positions begin after the prefix's, in every forward pass."""

    def shift(
        decoder: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        tokens = first.tokens()
        if not tokens:
            return None
        positions = kwargs.get("position_ids")
        if positions is None:
            positions = _counted(args, kwargs)
        return args, {**kwargs, "position_ids": positions + tokens}

    model.get_decoder().register_forward_pre_hook(shift, with_kwargs=True)


def _counted(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
    """Positions as the decoder itself would count them: (1, seq)."""
    given = [kwargs.get("input_ids"), kwargs.get("inputs_embeds"), *args[:1]]
    inputs = next(value for value in given if value is not None)
    cache = kwargs.get("past_key_values")
    seen = 0 if cache is None else int(cache.get_seq_length())
    return torch.arange(seen, seen + inputs.shape[1], device=inputs.device)[None]


def _unfit(model: Any, why: str) -> ConfigError:
    return ConfigError(
        f"tuner 'prefix' does not fit this base ({model.config.model_type}): {why}",
        "Use tuner=lora.",
    )
