"""Binary tables are read by a process of their own, with little memory, into lines of JSON.

The libraries that read them are quick, but a damaged or hostile file can make them allocate
without bound, abort or worse. There such a file takes down nothing but its reader; here only
lines of JSON arrive.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tunewright.core.errors import DataError, StorageError, TunewrightError
from tunewright.data.labels import Fact
from tunewright.data.limits import Budget, EmptyFileError
from tunewright.data.lines import LineWriter, Order

# What the interpreter and the readers' libraries take before the first byte is read, and what
# reading takes per byte of the file. Measured: 120 to 250 MiB, and up to 5 bytes.
_MEMORY = {"xlsx": 256 << 20, "parquet": 384 << 20, "arrow": 384 << 20}
_MEMORY_PER_BYTE = 16
_SECONDS = 30
_BYTES_PER_SECOND = 1 << 19


@dataclass(frozen=True)
class Lines:
    """A binary table as lines of JSON; row n of the table is line n, so some lines are blank.

    Attributes:
        path: the lines.
        columns: names in order.
        rows: how many records there are.
        notes: remarks for the report.
    """

    path: Path
    columns: tuple[str, ...]
    rows: int
    notes: tuple[Fact, ...] = ()


Reader = Callable[[Order, LineWriter], Mapping[str, Any]]
"""Reads a file into lines and gives ``columns``, ``rows`` and ``notes``."""


def read_apart(order: Order, into: Path) -> Lines:
    """Have a file read by a process of its own.

    Args:
        order: what to read.
        into: where its lines go; must not exist.

    Raises:
        DataError: it cannot be read, or needs more memory or time than a good file would.
    """
    done = subprocess.run(
        [sys.executable, "-P", "-m", "tunewright.data.isolated", str(into)],
        input=json.dumps(order.__dict__).encode(),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        check=False,
    )
    said = _answer(done.stdout) if done.returncode == 0 else None
    if said is None:
        raise DataError(
            f"{order.label}: the {_WORDS[order.kind]} cannot be read: it is damaged, or needs far "
            "more memory than its size explains",
            "Make it again; if it opens elsewhere, save it as CSV or JSONL and name that.",
        )
    if "error" in said:
        raise _ERRORS[said["kind"]](said["error"], said["hint"])
    return Lines(into, tuple(said["columns"]), said["rows"], tuple(said["notes"]))


_ERRORS: dict[str, type[TunewrightError]] = {
    kind.__name__: kind for kind in (DataError, EmptyFileError, StorageError)
}
_WORDS = {"xlsx": "workbook", "parquet": "Parquet file", "arrow": "Arrow file"}


def _answer(output: bytes) -> dict[str, Any] | None:
    try:
        value = json.loads(output)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


# The process --------------------------------------------------------------------------------------


def main() -> None:
    """Read the order on stdin; write the lines, and on stdout what became of it."""
    order = Order(**json.load(sys.stdin))
    size = os.stat(order.path).st_size
    _limit(order.kind, size)
    try:
        with open(sys.argv[1], "xb") as file:
            said = _reader(order.kind)(order, LineWriter(file, Budget(size, order.label)))
    except tuple(_ERRORS.values()) as error:
        said = {"error": error.message, "hint": error.hint, "kind": type(error).__name__}
    json.dump(dict(said), sys.stdout)


def _reader(kind: str) -> Reader:
    if kind == "xlsx":
        from tunewright.data.workbooks import read_workbook

        return read_workbook
    from tunewright.data.columnar import read_columnar

    return read_columnar


def _limit(kind: str, size: int) -> None:
    """Bound memory and processor time; systems without such bounds do without them."""
    # Before polars is imported: each of its threads would take its share of the memory.
    os.putenv("POLARS_MAX_THREADS", "1")
    with suppress(ImportError, ValueError, OSError):
        import resource

        memory = _MEMORY[kind] + _MEMORY_PER_BYTE * size
        seconds = _SECONDS + size // _BYTES_PER_SECOND
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 5))
        resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))


if __name__ == "__main__":
    main()
