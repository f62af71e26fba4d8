"""What a tuned model's folder holds; knows the formats by their files, and loads no torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tunewright.core.errors import ModelError
from tunewright.model.folders import read_json, refuse_code

PEFT_SETTINGS = "adapter_config.json"
PEFT_TENSORS = "adapter_model.safetensors"
BOTTLENECK_SETTINGS = "bottleneck.json"
WEIGHTS_SETTINGS = "weights.json"
PREFIX_ENCODER = "prefix_encoder.safetensors"
PREFIX_TABLE = "prompt_embeddings"
DERIVED = frozenset({PREFIX_TABLE})
"""Tensors that may lie in a folder besides what they were made from."""

_PEFT_TUNERS = {"LORA": "lora", "IA3": "ia3", "PREFIX_TUNING": "prefix"}


def replaces_weights(folder: Path) -> bool:
    """Whether the folder holds changed weights of the base itself, not an adapter beside it."""
    return (folder / WEIGHTS_SETTINGS).is_file()


def head_file(folder: Path) -> Path:
    """Where a tuned model's folder holds the head of a reward model, if it is one."""
    return folder / "reward" / "head.safetensors"


def tuner_of(folder: Path) -> str:
    """The name of the tuner that made a folder.

    Raises:
        ModelError: when it holds nothing that we load.
    """
    if (folder / PEFT_SETTINGS).is_file():
        kind = str(read_settings(folder, PEFT_SETTINGS).get("peft_type"))
        if kind not in _PEFT_TUNERS:
            raise ModelError(
                f"{folder / PEFT_SETTINGS} does not describe an adapter that is known here:"
                f" peft_type {kind!r}",
                f"Known: {', '.join(_PEFT_TUNERS)}.",
            )
        return _PEFT_TUNERS[kind]
    if (folder / BOTTLENECK_SETTINGS).is_file():
        return "bottleneck"
    if replaces_weights(folder):
        kind = str(read_settings(folder, WEIGHTS_SETTINGS).get("tuner"))
        if kind in ("full", "freeze"):
            return kind
        raise ModelError(f"{folder / WEIGHTS_SETTINGS}: tuner {kind!r} is neither full nor freeze")
    raise ModelError(f"{folder} is no adapter: {PEFT_SETTINGS} is missing")


def read_settings(folder: Path, name: str) -> dict[str, Any]:
    """A settings file, refused when it asks to run code.

    Raises:
        ModelError: missing, unreadable, or with keys that steer a loader.
    """
    path = folder / name
    if not path.is_file():
        raise ModelError(f"{folder} is no adapter: {name} is missing")
    settings = read_json(path)
    refuse_code(settings, path)
    return settings
