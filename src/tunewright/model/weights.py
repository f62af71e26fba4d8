"""Weights on disk: only safetensors whose header is consistent with the file are accepted."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO, TypeGuard

from tunewright.core.errors import ModelError
from tunewright.model.folders import read_json

_LARGEST_HEADER = 100 * 2**20
_CHUNK = 16 * 2**20
_INDEX = "model.safetensors.index.json"
_BITS = {
    "BOOL": 8, "U8": 8, "I8": 8, "F8_E5M2": 8, "F8_E4M3": 8, "F8_E8M0": 8,
    "U16": 16, "I16": 16, "F16": 16, "BF16": 16,
    "U32": 32, "I32": 32, "F32": 32, "U64": 64, "I64": 64, "F64": 64,
}  # fmt: skip
_PICKLED = (".bin", ".pt", ".pth", ".ckpt", ".pkl")


def weight_files(folder: Path) -> list[Path]:
    """The folder's weight files, checked.

    Raises:
        ModelError: there are none, only pickled ones, or one is damaged.
    """
    index = folder / _INDEX
    if index.is_file():
        names = sorted(_shards(index))
    elif (folder / "model.safetensors").is_file():
        names = ["model.safetensors"]
    else:
        names = sorted(path.name for path in folder.glob("*.safetensors"))
    if not names:
        _refuse_missing(folder)
    for name in names:
        check_safetensors(folder / name)
    return [folder / name for name in names]


@dataclass(frozen=True)
class StoredTensor:
    """Where a tensor lies on disk: little-endian, contiguous, in rows.

    Attributes:
        file: that holds it.
        dtype: as safetensors names it, e.g. ``F16``.
        shape: its sizes.
        begin: first byte in the file.
    """

    file: Path
    dtype: str
    shape: tuple[int, ...]
    begin: int

    @property
    def size(self) -> int:
        """Bytes."""
        return math.prod(self.shape) * _BITS[self.dtype] // 8

    def rows(self, first: int, last: int) -> StoredTensor:
        """Rows ``first`` to ``last`` (exclusive)."""
        row = self.size // self.shape[0]
        return replace(self, shape=(last - first, *self.shape[1:]), begin=self.begin + first * row)


def check_safetensors(path: Path) -> None:
    """Compare a safetensors header with its file (format: 8-byte length, JSON, data).

    Raises:
        ModelError: when sizes, offsets or shapes do not add up; reading on could go astray.
    """
    _checked_header(path)


def stored_tensors(path: Path) -> dict[str, StoredTensor]:
    """Every tensor of a safetensors file by its name, once the file was checked.

    Raises:
        ModelError: as for ``check_safetensors``.
    """
    start, header = _checked_header(path)
    return {
        name: StoredTensor(
            path, entry["dtype"], tuple(entry["shape"]), start + entry["data_offsets"][0]
        )
        for name, entry in header.items()
    }


def write_stored(tensors: Mapping[str, StoredTensor], path: Path) -> None:
    """A new safetensors file whose tensors are copied, piece by piece, from where they lie.

    Raises:
        ModelError: a source is shorter than it was.
        OSError: the disk refuses.
    """
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    place = 0
    for name, tensor in tensors.items():
        offsets = [place, place + tensor.size]
        header[name] = {"dtype": tensor.dtype, "shape": tensor.shape, "data_offsets": offsets}
        place = offsets[1]
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "xb") as target:
        target.write(struct.pack("<Q", len(text)) + text)
        for tensor in tensors.values():
            with open(tensor.file, "rb") as source:
                source.seek(tensor.begin)
                _copy(source, tensor, target)


def _copy(source: BinaryIO, tensor: StoredTensor, target: BinaryIO) -> None:
    left = tensor.size
    while left:
        piece = source.read(min(left, _CHUNK))
        if not piece:
            raise ModelError(f"{tensor.file} ended while it was read", "Fetch it again.")
        target.write(piece)
        left -= len(piece)


def _checked_header(path: Path) -> tuple[int, dict[str, Any]]:
    """Where the tensors' bytes begin, and the header's entries."""
    try:
        # A pipe would be waited for, for ever.
        if not path.is_file():
            raise ModelError(f"{path} is no file", "Fetch it again.")
        size = path.stat().st_size
        with open(path, "rb") as file:
            start = file.read(8)
            length = struct.unpack("<Q", start)[0] if len(start) == 8 else -1
            if not 2 <= length <= min(_LARGEST_HEADER, size - 8):
                raise ModelError(f"{path} is no safetensors file: its header length is {length}")
            header = json.loads(file.read(length), object_pairs_hook=_unique)
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(f"{path} is no readable safetensors file: {error}") from None
    if not isinstance(header, dict):
        raise ModelError(f"{path} is no safetensors file: its header is not an object")
    header.pop("__metadata__", None)
    spans = sorted(_span(path, name, entry) for name, entry in header.items())
    place = 0
    for begin, end, name in spans:
        if begin != place:
            raise ModelError(f"{path}: tensor {name!r} begins at byte {begin}, not {place}")
        place = end
    if place != size - 8 - length:
        raise ModelError(
            f"{path} holds {size - 8 - length} bytes of tensors, its header describes {place}",
            "The file is damaged or was not downloaded completely.",
        )
    return 8 + length, header


def _span(path: Path, name: str, entry: Any) -> tuple[int, int, str]:
    fields = entry if isinstance(entry, dict) else {}
    bits = _BITS.get(str(fields.get("dtype")))
    shape, offsets = fields.get("shape"), fields.get("data_offsets")
    if bits is None or not (_naturals(shape) and _naturals(offsets) and len(offsets) == 2):
        raise ModelError(f"{path}: tensor {name!r} is not described as safetensors describes one")
    begin, end = offsets
    if (end - begin) * 8 != bits * math.prod(shape):
        raise ModelError(
            f"{path}: tensor {name!r} of shape {shape} cannot take {end - begin} bytes"
        )
    return begin, end, name


def _naturals(values: Any) -> TypeGuard[list[int]]:
    return isinstance(values, list) and all(type(v) is int and v >= 0 for v in values)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) != len(pairs):
        raise ValueError("a name occurs twice in the header")
    return values


def _shards(index: Path) -> set[str]:
    weight_map = read_json(index).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise ModelError(f"{index} has no weight_map")
    names = {str(name) for name in weight_map.values()}
    for name in names:
        if Path(name).name != name or not name.endswith(".safetensors"):
            raise ModelError(f"{index}: {name!r} is not a safetensors file of this folder")
        if not (index.parent / name).is_file():
            raise ModelError(f"{index.parent} lacks {name}", "Download the missing part.")
    return names


def _refuse_missing(folder: Path) -> None:
    pickled = sorted(path.name for path in folder.iterdir() if path.suffix in _PICKLED)
    if pickled:
        raise ModelError(
            f"{folder} holds only pickled weights ({pickled[0]}), which can run code when read",
            "Convert them to safetensors first; most models are published in that format too.",
        )
    raise ModelError(
        f"{folder} has no weights", "A base is a folder with config.json, tokenizer.json and"
        " *.safetensors."
    )  # fmt: skip
