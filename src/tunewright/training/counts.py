"""Weights that a recipe trains, counted from the base's sizes alone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

from tunewright.config.training import TrainConfig
from tunewright.model.shapes import Linear, Shape


def trained_weights(shape: Shape, config: TrainConfig) -> int:
    """Weights that a recipe trains, a reward model's head left out."""
    return _TRAINED[config.tuner](shape, config)


def adapted(shape: Shape, config: TrainConfig) -> list[Linear]:
    """A block's linear layers that LoRA works on; layers named by number count in every block."""
    return _chosen(shape.linears, config)


def _chosen(linears: Iterable[Linear], config: TrainConfig) -> list[Linear]:
    lora = config.lora
    return [
        linear
        for linear in linears
        if any(_names(linear, name) for name in lora.targets)
        and not any(_names(linear, name) for name in lora.exclude)
    ]


def _names(linear: Linear, name: str) -> bool:
    if name in ("all-linear", linear.role, linear.name):
        return True
    part = "self_attn" if linear.role == "attention" else "mlp"
    path = f"{part}.{linear.name}"
    return path.endswith(f".{name}") or name.endswith(path) or fnmatchcase(f"x.{path}", name)


def _lora(shape: Shape, config: TrainConfig) -> int:
    dense = _pairs(_chosen(shape.dense_linears, config), config)
    usual = _pairs(adapted(shape, config), config)
    return (shape.layers - shape.dense) * usual + shape.dense * dense


def _pairs(linears: Sequence[Linear], config: TrainConfig) -> int:
    """Weights of one block's pairs, and of their magnitudes."""
    lora = config.lora
    pairs = sum(lora.rank * (one.inputs + one.outputs) for one in linears)
    return pairs + (sum(one.outputs for one in linears) if lora.dora else 0)


def _full(shape: Shape, config: TrainConfig) -> int:
    return shape.parameters


def _freeze(shape: Shape, config: TrainConfig) -> int:
    return min(config.freeze.blocks, shape.layers) * shape.block


def _ia3(shape: Shape, config: TrainConfig) -> int:
    return shape.layers * (2 * shape.keys + shape.inner)


def _prefix(shape: Shape, config: TrainConfig) -> int:
    width, tokens, hidden = shape.layers * 2 * shape.keys, config.prefix.tokens, shape.keys
    inner = config.prefix.projection
    if not inner:
        return tokens * width
    return tokens * hidden + inner * (hidden + 1) + width * (inner + 1)


def _bottleneck(shape: Shape, config: TrainConfig) -> int:
    size, places = config.bottleneck.size, 2 if config.bottleneck.placement == "both" else 1
    return shape.layers * places * (2 * size * shape.hidden + size + shape.hidden)


_TRAINED = {
    "lora": _lora,
    "full": _full,
    "freeze": _freeze,
    "ia3": _ia3,
    "prefix": _prefix,
    "bottleneck": _bottleneck,
}


def trains_base(config: TrainConfig) -> bool:
    return config.tuner in ("full", "freeze")
