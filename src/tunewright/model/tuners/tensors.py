"""Trained tensors on disk: safetensors, float32, in shards when they are large."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from tunewright.core.errors import ModelError
from tunewright.model.tuners.files import PEFT_TENSORS, WEIGHTS_SETTINGS, read_settings
from tunewright.model.weights import check_safetensors

SHARD_BYTES = 4 * 2**30


def write_tensors(tensors: Mapping[str, Tensor], path: Path) -> None:
    """One safetensors file in float32, marked as PyTorch's as PEFT and transformers want it."""
    save_file(
        {name: _plain(tensor) for name, tensor in tensors.items()}, path, metadata={"format": "pt"}
    )


def write_shards(tensors: Mapping[str, Tensor], folder: Path, limit: int) -> None:
    """``weights-00001-of-00003.safetensors`` and so on, each of at most ``limit`` bytes.

    A tensor that is larger has a file of its own. Only one shard is copied at a time.
    """
    groups: list[dict[str, Tensor]] = [{}]
    room = limit
    for name, tensor in tensors.items():
        size = 4 * tensor.numel()
        if size > room and groups[-1]:
            groups.append({})
            room = limit
        groups[-1][name] = tensor
        room -= size
    for number, group in enumerate(groups, start=1):
        write_tensors(group, folder / f"weights-{number:05d}-of-{len(groups):05d}.safetensors")


def read_tensors(path: Path) -> dict[str, Tensor]:
    """A safetensors file, checked.

    Raises:
        ModelError: missing or damaged.
    """
    if not path.is_file():
        pickled = path.with_suffix(".bin").is_file()
        raise ModelError(
            f"{path.parent} has no {path.name}",
            f"{path.stem}.bin is a pickle and is never read; save it as safetensors."
            if pickled
            else "",
        )
    check_safetensors(path)
    try:
        return dict(load_file(path))
    except (SafetensorError, OSError) as error:
        raise ModelError(f"{path} cannot be read: {error}") from None


def tensor_files(folder: Path) -> list[Path]:
    """All files of trained tensors in a tuned model's folder.

    Raises:
        ModelError: a shard is missing.
    """
    if not (folder / WEIGHTS_SETTINGS).is_file():
        first = folder / PEFT_TENSORS
        return [first, *(path for path in sorted(folder.glob("*.safetensors")) if path != first)]
    settings = read_settings(folder, WEIGHTS_SETTINGS)
    files = sorted(folder.glob("weights-*-of-*.safetensors"))
    if not files or any(not path.stem.endswith(f"-of-{len(files):05d}") for path in files):
        raise ModelError(
            f"{folder} holds {len(files)} weight files, which is not what a {settings['tuner']}"
            " model was saved as",
            "Copy the whole folder.",
        )
    return files


def read_trained(folder: Path) -> dict[str, Tensor]:
    """Every trained tensor of a tuned model's folder by its name on disk, checked.

    Raises:
        ModelError: missing or damaged.
    """
    found: dict[str, Tensor] = {}
    for path in tensor_files(folder):
        found |= read_tensors(path)
    return found


def trained_shapes(folder: Path) -> dict[str, tuple[int, ...]]:
    """Shapes of every trained tensor by its name on disk, without reading the values.

    Raises:
        ModelError: missing or damaged.
    """
    found: dict[str, tuple[int, ...]] = {}
    for path in tensor_files(folder):
        check_safetensors(path)
        with safe_open(path, framework="pt") as file:
            for name in file.keys():  # noqa: SIM118 - the handle is not a mapping
                found[name] = tuple(file.get_slice(name).get_shape())
    return found


def _plain(tensor: Tensor) -> Tensor:
    return tensor.detach().to("cpu", torch.float32).contiguous()
