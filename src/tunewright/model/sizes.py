"""Sizes that a ``config.json`` claims, against those of the weights beside it.

Libraries build a model as its config says before they look at the weights: a lie about sizes would
fill the memory, or fail somewhere deep within.
"""

from __future__ import annotations

from typing import Any

from tunewright.core.errors import ModelError
from tunewright.model.catalog import Base
from tunewright.model.folders import read_json
from tunewright.model.weights import StoredTensor, stored_tensors, weight_files

_LARGEST = {
    "hidden_size": 2**20,
    "intermediate_size": 2**22,
    "num_hidden_layers": 10_000,
    "num_attention_heads": 2**14,
    "num_key_value_heads": 2**14,
    "head_dim": 2**14,
    "vocab_size": 2**26,
}
_EMBEDDING = "embed_tokens.weight"


def refuse_false_sizes(base: Base) -> None:
    """Refuse a config whose sizes are none, or not those of the weights.

    Raises:
        ModelError: naming the key, what it says, and what is right.
    """
    path = base.folder / "config.json"
    config = read_json(path)
    nested = config.get("text_config")
    sizes = {**nested, **config} if isinstance(nested, dict) else config
    for key, largest in _LARGEST.items():
        value = sizes.get(key)
        # Some families have a list here, one size for each layer.
        if value is None or isinstance(value, list):
            continue
        if type(value) is not int or not 0 < value <= largest:
            raise ModelError(
                f"{path}: {key} must be a whole number from 1 to {largest:,}, not {value!r}",
                "Its files do not belong together; fetch them again.",
            )
    _compare(sizes, _tensors(base), base)


def _tensors(base: Base) -> dict[str, StoredTensor]:
    return {
        name: tensor
        for file in weight_files(base.folder)
        for name, tensor in stored_tensors(file).items()
    }


def _compare(sizes: dict[str, Any], tensors: dict[str, StoredTensor], base: Base) -> None:
    layers = sizes.get("num_hidden_layers")
    if isinstance(layers, int) and layers > len(tensors):
        raise ModelError(
            f"base {base.name!r}: its config.json says {layers:,} layers; its weights hold"
            f" {len(tensors):,} tensors",
            "Its files do not belong together; fetch them again.",
        )
    wanted = sizes.get("vocab_size"), sizes.get("hidden_size")
    for name, tensor in tensors.items():
        if name.endswith(_EMBEDDING) and None not in wanted and tensor.shape != wanted:
            raise ModelError(
                f"base {base.name!r}: {name} has the shape {list(tensor.shape)}; its config.json"
                f" says {list(wanted)}",
                "Its files do not belong together; fetch them again.",
            )
