"""Durable files: written under a temporary name, flushed to disk, then renamed into place."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tunewright.core.errors import StorageError

_DISK_ERRORS = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EROFS: "the disk is read-only",
    errno.EACCES: "no permission to write",
    errno.EPERM: "no permission to write",
    errno.EFBIG: "the file is larger than allowed here",
    errno.EIO: "the disk reported an error",
}


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn the operating system's refusals into a StorageError that names ``path``.

    Raises:
        StorageError: the disk is full, read-only, over quota or not ours to write.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in _DISK_ERRORS:
            raise
        raise StorageError(
            f"cannot write {error.filename or path}: {_DISK_ERRORS[error.errno]}",
            "Free some space or choose another folder with --home, then run the command again.",
        ) from error


def write_bytes_atomic(path: Path, data: bytes) -> None:
    """Replace ``path`` as a whole: a reader sees the old content or the new, never a part.

    Raises:
        StorageError: when the disk refuses; the old file is untouched.
    """
    with disk_errors(path):
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
        fsync_folder(path.parent)


def write_text_atomic(path: Path, text: str) -> None:
    """``write_bytes_atomic`` for UTF-8 text."""
    write_bytes_atomic(path, text.encode())


def write_json_atomic(path: Path, value: Any) -> None:
    """``write_bytes_atomic`` for a JSON document."""
    write_text_atomic(path, json.dumps(value, ensure_ascii=False, indent=1) + "\n")


def make_folder(path: Path) -> None:
    """Create a folder, and those it lies in, so that their names survive a power cut."""
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    for folder in reversed(missing):
        folder.mkdir(exist_ok=True)
        fsync_folder(folder.parent)


def fsync_folder(path: Path) -> None:
    """Make renames inside ``path`` survive a power cut."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def fsync_tree(folder: Path) -> None:
    """Flush every file and folder below ``folder``, the deepest first."""
    for root, _, names in os.walk(folder, topdown=False):
        for name in names:
            fsync_folder(Path(root, name))
        fsync_folder(Path(root))


def sha256_file(path: Path) -> str:
    """The file's SHA-256 as 64 hex digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest(value: Any) -> str:
    """SHA-256 of a JSON value in canonical form (sorted keys, no spaces, UTF-8)."""
    text = json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
