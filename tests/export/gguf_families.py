"""Tiny bases of the families that are written as GGUF."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.model.chatglm3.files import write_folder
from tests.model.family_bases import SPECIMENS, write_base

_LONG = {
    "rope_type": "longrope", "rope_theta": 10000.0, "original_max_position_embeddings": 512,
    "short_factor": [1.0, 1.1, 1.3, 1.6], "long_factor": [1.0, 2.0, 5.0, 9.0],
}  # fmt: skip
# llama.cpp sees the whole text where these have a window; within it both are the same.
_CHANGED: Mapping[str, Mapping[str, Any]] = {
    "mistral": {"sliding_window": 512},
    "phi3": {"sliding_window": 512},
    "phi3_long": {"sliding_window": 512, "original_max_position_embeddings": 512,
                  "rope_parameters": _LONG},
}  # fmt: skip
FAMILIES = (
    "llama2", "mistral", "mixtral", "qwen3_moe", "glm", "glm4", "chatglm3", "gemma", "gemma2",
    "gemma3", "phi3", "phi3_long", "phi4",
)  # fmt: skip


def family_base(name: str, folder: Path) -> Path:
    """A folder with a random base in the form of a family."""
    if name == "chatglm3":
        write_folder(folder / name)
        return folder / name
    specimen = SPECIMENS[name.removesuffix("_long")]
    config = {**specimen.config, **_CHANGED.get(name, {})}
    return write_base(replace(specimen, config=config), folder / name)
