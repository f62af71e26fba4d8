"""Where the tensors lie in a torch file (``pytorch_model*.bin``), told by a process of its own.

Such a file is a zip of one pickle and of raw bytes. The pickle alone says which bytes are which
tensor, and a pickle can run code, so it is read apart from everything else, with only the names
that a tensor needs; none of them is torch's. What comes back is JSON, and is checked here.
"""

from __future__ import annotations

import json
import math
import pickle
import subprocess
import sys
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from tunewright.core.errors import ModelError
from tunewright.model.weights import StoredTensor

_DTYPES = {
    "HalfStorage": ("F16", 2),
    "BFloat16Storage": ("BF16", 2),
    "FloatStorage": ("F32", 4),
    "DoubleStorage": ("F64", 8),
    "LongStorage": ("I64", 8),
    "IntStorage": ("I32", 4),
    "ShortStorage": ("I16", 2),
    "CharStorage": ("I8", 1),
    "ByteStorage": ("U8", 1),
    "BoolStorage": ("BOOL", 1),
}
_LARGEST_PICKLE = 64 * 2**20
_MEMORY = 2 * 2**30
_SECONDS = 120


def pickled_tensors(path: Path) -> dict[str, StoredTensor]:
    """Every tensor of a torch file by its name; nothing in the file is executed.

    Raises:
        ModelError: it is damaged, of another kind, or asks for more than tensors.
    """
    done = subprocess.run(
        [sys.executable, "-P", "-m", "tunewright.model.chatglm3.pickled_index", str(path)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        check=False,
    )
    said = _answer(done.stdout) if done.returncode == 0 else {"error": "its reader gave up"}
    tensors = said.get("tensors")
    if not isinstance(tensors, dict):
        raise ModelError(
            f"{path} is not read: {said.get('error')}",
            "Only plain tensors are taken from a pickle. Fetch the model as safetensors.",
        )
    size = path.stat().st_size
    found: dict[str, StoredTensor] = {}
    for name, (dtype, shape, begin) in tensors.items():
        tensor = StoredTensor(path, dtype, tuple(shape), begin)
        if begin < 0 or begin + tensor.size > size:
            raise ModelError(f"{path}: tensor {name!r} lies outside the file")
        found[name] = tensor
    return found


def _answer(output: bytes) -> dict[str, Any]:
    try:
        value = json.loads(output)
    except ValueError:
        return {"error": "its reader gave no answer"}
    return value if isinstance(value, dict) else {"error": "its reader gave no answer"}


# The process --------------------------------------------------------------------------------------


class _Storage(NamedTuple):
    dtype: str
    item: int
    begin: int
    size: int


class _Tensor(NamedTuple):
    dtype: str
    shape: tuple[int, ...]
    begin: int


class _TensorsOnly(pickle.Unpickler):
    """Knows the handful of names that a saved dictionary of tensors is made of."""

    def __init__(self, archive: zipfile.ZipFile, root: str) -> None:
        super().__init__(archive.open(f"{root}/data.pkl"))
        self._archive = archive
        self._root = root
        self._begins: dict[str, _Storage] = {}

    def find_class(self, module: str, name: str) -> Any:
        """The allowed names; every other one ends the reading."""
        if module == "torch" and name in _DTYPES:
            return _DTYPES[name]
        allowed: dict[tuple[str, str], Callable[..., Any]] = {
            ("collections", "OrderedDict"): OrderedDict,
            ("torch._utils", "_rebuild_tensor_v2"): _tensor,
            ("torch._utils", "_rebuild_parameter"): _parameter,
        }
        if (module, name) not in allowed:
            raise ValueError(f"its pickle names {module}.{name}, which is no part of a tensor")
        return allowed[module, name]

    def persistent_load(self, pid: Any) -> _Storage:
        """A piece of raw bytes: ``("storage", type, key, device, number of items)``."""
        _, (dtype, item), key, _, count = pid
        name = f"{self._root}/data/{key}"
        if name not in self._begins:
            entry = self._archive.getinfo(name)
            if entry.compress_type != zipfile.ZIP_STORED or entry.file_size < count * item:
                raise ValueError(f"{name} is packed or too short")
            begin = _first_byte(self._archive, entry)
            self._begins[name] = _Storage(dtype, item, begin, entry.file_size)
        return self._begins[name]._replace(dtype=dtype, item=item)


def _tensor(
    storage: _Storage,
    offset: int,
    shape: tuple[int, ...],
    strides: tuple[int, ...],
    *_: object,
) -> _Tensor:
    expected: list[int] = []
    step = 1
    for size in reversed(shape):
        expected.insert(0, step)
        step *= size
    plain = all(n == 1 or a == b for n, a, b in zip(shape, strides, expected, strict=True))
    if not plain or min((offset, *shape)) < 0:
        raise ValueError("a tensor is not stored row by row")
    if (offset + math.prod(shape)) * storage.item > storage.size:
        raise ValueError("a tensor is larger than its bytes")
    return _Tensor(storage.dtype, tuple(shape), storage.begin + offset * storage.item)


def _parameter(tensor: _Tensor, *_: object) -> _Tensor:
    return tensor


def _first_byte(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> int:
    """Where a stored entry's bytes begin, after its local header (30 bytes, name, extra)."""
    file = archive.fp
    if file is None:
        raise ValueError("the archive is closed")
    place = file.tell()
    file.seek(entry.header_offset)
    header = file.read(30)
    file.seek(place)
    if header[:4] != b"PK\x03\x04":
        raise ValueError("the archive's table of contents is wrong")
    lengths = int.from_bytes(header[26:28], "little"), int.from_bytes(header[28:30], "little")
    return entry.header_offset + 30 + sum(lengths)


def _index(path: str) -> dict[str, _Tensor]:
    with zipfile.ZipFile(path) as archive:
        pickles = [i for i in archive.infolist() if i.filename.endswith("/data.pkl")]
        if len(pickles) != 1 or pickles[0].file_size > _LARGEST_PICKLE:
            raise ValueError("it holds no single dictionary of tensors")
        root = pickles[0].filename.removesuffix("/data.pkl")
        order = f"{root}/byteorder"
        if order in archive.namelist() and archive.read(order) != b"little":
            raise ValueError("it was written on a big-endian machine")
        values = _TensorsOnly(archive, root).load()
    if not isinstance(values, dict) or not all(
        isinstance(name, str) and isinstance(value, _Tensor) for name, value in values.items()
    ):
        raise ValueError("it holds more than named tensors")
    return values


def _limit() -> None:
    """Bound memory and processor time; systems without such bounds do without them."""
    with suppress(ImportError, ValueError, OSError):
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_CPU, (_SECONDS, _SECONDS + 5))
        resource.setrlimit(resource.RLIMIT_DATA, (_MEMORY, _MEMORY))


def main() -> None:
    """Print the tensors of the file that is named, or what is wrong with it, as JSON."""
    _limit()
    try:
        said: dict[str, Any] = {"tensors": _index(sys.argv[1])}
    except zipfile.BadZipFile:
        said = {"error": "it is no torch file of version 1.6 or later"}
    except Exception as error:  # noqa: BLE001 - a hostile pickle can fail in any way
        said = {"error": str(error) or type(error).__name__}
    json.dump(said, sys.stdout)


if __name__ == "__main__":
    main()
