"""Where the tensors lie in a torch file (``pytorch_model*.bin``), told by a process of its own.

Such a file is a zip of one pickle and of raw bytes. The pickle alone says which bytes are which
tensor. A pickle is a program, and the usual reader would run it; here its instructions are only
followed as far as a dictionary of tensors needs them, without importing or calling anything. And
since a damaged or hostile file can ask for any amount of memory, a process of its own does it.
What comes back is JSON, and is checked.
"""

from __future__ import annotations

import json
import math
import subprocess
import sys
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from pickletools import genops
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


def torch_tensors(path: Path) -> dict[str, StoredTensor]:
    """Every tensor of a torch file by its name; nothing in the file is executed.

    Raises:
        ModelError: it is damaged, of another kind, or asks for more than tensors.
    """
    done = subprocess.run(
        [sys.executable, "-P", "-m", "tunewright.model.chatglm3.torch_file", str(path)],
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


class _Name(NamedTuple):
    module: str
    name: str


class _Program:
    """Follows the few instructions that a saved dictionary of tensors is made of.

    Nothing is imported and nothing is called: names stay names, and the three that may be
    applied to arguments have their meaning here.

    Args:
        archive: the file.
        root: its folder in the archive.
    """

    def __init__(self, archive: zipfile.ZipFile, root: str) -> None:
        self._archive = archive
        self._root = root
        self._stack: list[Any] = []
        self._marks: list[int] = []
        self._memo: dict[int, Any] = {}
        self._storages: dict[str, _Storage] = {}

    def run(self, program: bytes) -> Any:
        """What the instructions make.

        Raises:
            ValueError: an instruction or a name that no dictionary of tensors needs.
        """
        for code, argument, _ in genops(program):
            if code.name == "STOP":
                return self._stack.pop()
            if code.name in _CONSTANTS:
                self._stack.append(_CONSTANTS[code.name]())
            elif code.name in _LITERALS:
                self._stack.append(argument)
            elif code.name in _STEPS:
                _STEPS[code.name](self, argument)
            elif code.name not in _SILENT:
                raise ValueError(f"its pickle uses {code.name}, which no tensor needs")
        raise ValueError("its pickle has no end")

    def mark(self, _: Any) -> None:
        self._marks.append(len(self._stack))

    def tuple_of(self, count: int) -> None:
        parts = tuple(self._stack[len(self._stack) - count :])
        del self._stack[len(self._stack) - count :]
        self._stack.append(parts)

    def tuple_from_mark(self, _: Any) -> None:
        self._stack.append(tuple(self._since_mark()))

    def append_all(self, _: Any) -> None:
        items = self._since_mark()
        self._stack[-1].extend(items)

    def append_one(self, _: Any) -> None:
        item = self._stack.pop()
        self._stack[-1].append(item)

    def set_all(self, _: Any) -> None:
        items = self._since_mark()
        for key, value in zip(items[::2], items[1::2], strict=True):
            self._set(key, value)

    def set_one(self, _: Any) -> None:
        value, key = self._stack.pop(), self._stack.pop()
        self._set(key, value)

    def keep(self, place: Any) -> None:
        self._memo[len(self._memo) if place is None else int(place)] = self._stack[-1]

    def recall(self, place: Any) -> None:
        self._stack.append(self._memo[int(place)])

    def name(self, argument: Any) -> None:
        module, _, name = str(argument).partition(" ")
        self._stack.append(self._known(_Name(module, name)))

    def name_from_stack(self, _: Any) -> None:
        name, module = self._stack.pop(), self._stack.pop()
        self._stack.append(self._known(_Name(str(module), str(name))))

    def apply(self, _: Any) -> None:
        arguments, name = self._stack.pop(), self._stack.pop()
        if not isinstance(name, _Name) or name not in _MEANINGS:
            raise ValueError("its pickle calls what is no part of a tensor")
        self._stack.append(_MEANINGS[name](*arguments))

    def ignore_state(self, _: Any) -> None:
        # Notes on versions that torch keeps beside a dictionary.
        self._stack.pop()

    def storage(self, _: Any) -> None:
        """A piece of raw bytes: ``("storage", type, key, device, number of items)``."""
        _, kind, key, _, count = self._stack.pop()
        dtype, item = _DTYPES[kind.name]
        path = f"{self._root}/data/{key}"
        if path not in self._storages:
            entry = self._archive.getinfo(path)
            if entry.compress_type != zipfile.ZIP_STORED or entry.file_size < count * item:
                raise ValueError(f"{path} is packed or too short")
            begin = _first_byte(self._archive, entry)
            self._storages[path] = _Storage(dtype, item, begin, entry.file_size)
        self._stack.append(self._storages[path]._replace(dtype=dtype, item=item))

    def _since_mark(self) -> list[Any]:
        place = self._marks.pop()
        items = self._stack[place:]
        del self._stack[place:]
        return items

    def _set(self, key: Any, value: Any) -> None:
        if not isinstance(key, str) or not isinstance(self._stack[-1], dict):
            raise ValueError("it holds more than named tensors")
        self._stack[-1][key] = value

    def _known(self, name: _Name) -> _Name:
        if name not in _MEANINGS and not (name.module == "torch" and name.name in _DTYPES):
            raise ValueError(
                f"its pickle names {name.module}.{name.name}, which is no part of a tensor"
            )
        return name


def _tensor(
    storage: _Storage,
    offset: int,
    shape: tuple[int, ...],
    strides: tuple[int, ...],
    *_: object,
) -> _Tensor:
    if any(type(number) is not int for number in (offset, *shape)):
        raise ValueError("a tensor's sizes are no whole numbers")
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


_MEANINGS: dict[_Name, Callable[..., Any]] = {
    _Name("collections", "OrderedDict"): dict,
    _Name("torch._utils", "_rebuild_tensor_v2"): _tensor,
    _Name("torch._utils", "_rebuild_parameter"): _parameter,
}
_SILENT = frozenset({"PROTO", "FRAME"})
_CONSTANTS: dict[str, Callable[[], Any]] = {
    "EMPTY_DICT": dict,
    "EMPTY_LIST": list,
    "EMPTY_TUPLE": tuple,
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
}
_LITERALS = frozenset({"BINUNICODE", "SHORT_BINUNICODE", "BININT", "BININT1", "BININT2", "LONG1"})
_STEPS: dict[str, Callable[[_Program, Any], None]] = {
    "MARK": _Program.mark,
    "TUPLE": _Program.tuple_from_mark,
    "TUPLE1": lambda program, _: program.tuple_of(1),
    "TUPLE2": lambda program, _: program.tuple_of(2),
    "TUPLE3": lambda program, _: program.tuple_of(3),
    "APPENDS": _Program.append_all,
    "APPEND": _Program.append_one,
    "SETITEMS": _Program.set_all,
    "SETITEM": _Program.set_one,
    "BINPUT": _Program.keep,
    "LONG_BINPUT": _Program.keep,
    "MEMOIZE": _Program.keep,
    "BINGET": _Program.recall,
    "LONG_BINGET": _Program.recall,
    "GLOBAL": _Program.name,
    "STACK_GLOBAL": _Program.name_from_stack,
    "REDUCE": _Program.apply,
    "BUILD": _Program.ignore_state,
    "BINPERSID": _Program.storage,
}
"""Instruction → what it does; their meanings are in the standard library's ``pickletools``."""


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
        values = _Program(archive, root).run(archive.read(pickles[0]))
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
