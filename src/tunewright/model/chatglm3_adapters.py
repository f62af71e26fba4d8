"""LoRA adapters of ChatGLM3's own layers as adapters of GLM's, exactly.

The update of the fused projection is B·A. Its rows are those of queries, keys and values, one
after the other, so each of the three gets the same A and its own rows of B; a magnitude per row
(DoRA) is divided likewise. No value changes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tunewright.core.errors import ModelError
from tunewright.model.chatglm3.layout import layer_parts
from tunewright.model.tuners.peft_format import PREFIX
from tunewright.model.weights import StoredTensor

_MODEL = "transformer."
_BY_ROW = ("lora_B", "lora_magnitude_vector")


def is_original(tensors: Mapping[str, StoredTensor]) -> bool:
    """Whether the tensors are for layers as ChatGLM3's own code names them."""
    return any(name.startswith(f"{PREFIX}{_MODEL}") for name in tensors)


def native_adapter(
    tensors: Mapping[str, StoredTensor], config: Mapping[str, Any]
) -> dict[str, StoredTensor]:
    """The same adapter under GLM's names.

    Args:
        tensors: in PEFT's format, for ChatGLM3's layers.
        config: of GLM.

    Raises:
        ModelError: another base, a layer that ChatGLM3 does not have, or one of another size.
    """
    if config.get("model_type") != "glm":
        raise ModelError(
            f"the adapter was trained on ChatGLM3; the base is a {config.get('model_type')} model",
            "Name ChatGLM3-6B as its base.",
        )
    found: dict[str, StoredTensor] = {}
    for name, tensor in tensors.items():
        stem = name.removeprefix(PREFIX).removesuffix(".weight")
        path, _, kind = stem.rpartition(".")
        parts = layer_parts(path, config)
        if parts is None:
            raise ModelError(
                f"{tensor.file}: {name!r} is for a layer that this base does not have",
                "LoRA adapters of ChatGLM3-6B are taken over; prefixes (P-tuning) are not.",
            )
        rows = sum(count for _, count in parts)
        if rows and kind in _BY_ROW and tensor.shape[:1] != (rows,):
            raise ModelError(
                f"{tensor.file}: {name!r} has the shape {list(tensor.shape)}; the base's layer has"
                f" {rows} rows",
                "It was made for another base.",
            )
        first = 0
        for part, count in parts:
            whole = not count or kind not in _BY_ROW
            piece = tensor if whole else tensor.rows(first, first + count)
            found[f"{PREFIX}{part}{name.removeprefix(PREFIX + path)}"] = piece
            first += count
    return found
