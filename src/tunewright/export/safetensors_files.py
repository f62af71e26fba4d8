"""Merged weights as safetensors files in the base's own layout, written tensor by tensor."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from tunewright.core.errors import ModelError
from tunewright.core.files import write_json_atomic

Progress = Callable[[int, int], None]
"""Hears how many tensors are written, and of how many."""
_NAMES = {
    torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16",
    torch.int64: "I64", torch.int32: "I32", torch.int8: "I8", torch.uint8: "U8",
}  # fmt: skip


@dataclass(frozen=True)
class Planned:
    """A tensor that is to be written.

    Attributes:
        shape: its sizes.
        dtype: its type in the file.
    """

    shape: tuple[int, ...]
    dtype: torch.dtype

    @property
    def size(self) -> int:
        """Bytes."""
        return torch.Size(self.shape).numel() * self.dtype.itemsize


def write_weights(
    planned: Mapping[str, Planned],
    read: Callable[[str], Tensor],
    folder: Path,
    limit: int,
    progress: Progress,
) -> None:
    """``model.safetensors``, or shards of at most ``limit`` bytes with their index.

    Args:
        planned: what to write, in order.
        read: a tensor by its name, in float32 or as it is written; asked for once each, in order.
        folder: an existing folder.
        limit: bytes of a file; a larger tensor has a file of its own.
        progress: hears of each tensor.

    Raises:
        ModelError: a number that the type cannot hold.
        OSError: the disk refuses.
    """
    shards = list(_shards(planned, limit))
    done = 0
    weight_map: dict[str, str] = {}
    for number, names in enumerate(shards, start=1):
        file = "model.safetensors"
        if len(shards) > 1:
            file = f"model-{number:05d}-of-{len(shards):05d}.safetensors"
        weight_map |= dict.fromkeys(names, file)
        with open(folder / file, "xb") as target:
            target.write(_header({name: planned[name] for name in names}))
            for name in names:
                target.write(_bytes(read(name), planned[name].dtype, name))
                done += 1
                progress(done, len(planned))
    if len(shards) > 1:
        total = sum(tensor.size for tensor in planned.values())
        index = {"metadata": {"total_size": total}, "weight_map": weight_map}
        write_json_atomic(folder / "model.safetensors.index.json", index)


def _shards(planned: Mapping[str, Planned], limit: int) -> Iterator[list[str]]:
    names: list[str] = []
    room = limit
    for name, tensor in planned.items():
        if names and tensor.size > room:
            yield names
            names, room = [], limit
        names.append(name)
        room -= tensor.size
    if names:
        yield names


def _header(tensors: Mapping[str, Planned]) -> bytes:
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    place = 0
    for name, tensor in tensors.items():
        header[name] = {
            "dtype": _NAMES[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [place, place + tensor.size],
        }
        place += tensor.size
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text


def _bytes(tensor: Tensor, dtype: torch.dtype, name: str) -> memoryview:
    narrow = tensor.to(dtype).contiguous()
    if not bool(torch.isfinite(narrow).all()):
        what = "is not finite" if not bool(torch.isfinite(tensor).all()) else f"overflows {dtype}"
        raise ModelError(
            f"{name} {what}",
            "Tune again with a lower learning rate." if "finite" in what else "Use dtype=bfloat16.",
        )
    return narrow.reshape(-1).view(torch.uint8).numpy().data
