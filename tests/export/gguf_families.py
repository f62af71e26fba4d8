"""Tiny bases of the families that are written as GGUF."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.model.chatglm3.files import write_folder
from tests.model.family_bases import SPECIMENS, write_base

# llama.cpp sees the whole text where these have a window; within it both are the same.
_CHANGED: Mapping[str, Mapping[str, Any]] = {
    "mistral": {"sliding_window": 512},
    "phi3": {"sliding_window": 512},
}
FAMILIES = (
    "llama2", "mistral", "mixtral", "qwen3_moe", "glm", "glm4", "chatglm3", "gemma", "gemma2",
    "gemma3", "phi3", "phi4",
)  # fmt: skip


def family_base(name: str, folder: Path) -> Path:
    """A folder with a random base in the form of a family."""
    if name == "chatglm3":
        write_folder(folder / name)
        return folder / name
    specimen = SPECIMENS[name]
    config = {**specimen.config, **_CHANGED.get(name, {})}
    return write_base(replace(specimen, config=config), folder / name)
