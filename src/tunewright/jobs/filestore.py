"""Files of the API: bodies on disk, made visible by their row, gone when their time is up."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tunewright.core.files import disk_errors, make_folder
from tunewright.core.records import File, Record, Upload
from tunewright.core.store import Store, sweep_temporary

_CONTENT = "content"
_ABANDONED_SECONDS = 24 * 3600.0
_LONGEST_NAME = 255
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")


class Spool:
    """A body on its way to the disk: counted and hashed as it comes, in no memory.

    Attributes:
        path: where it is.
        size: bytes so far.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.size = 0
        self._digest = hashlib.sha256()
        self._file = open(path, "xb")  # noqa: SIM115 - closed by ``close``

    def write(self, data: bytes) -> None:
        """Add a piece."""
        with disk_errors(self.path):
            self._file.write(data)
        self._digest.update(data)
        self.size += len(data)

    def close(self) -> None:
        """Flush it to the disk."""
        if self._file.closed:
            return
        with disk_errors(self.path):
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()

    @property
    def sha256(self) -> str:
        """Of all that was written."""
        return self._digest.hexdigest()


@contextmanager
def spooling(store: Store, kind: type[Record]) -> Iterator[Spool]:
    """A spool beside where files of a kind live; whatever is left there at the end is removed.

    After a kill the next file of that kind sweeps it away: its folder bears our process's id.
    """
    folder = store.home / kind.folder / f".tmp-{os.getpid()}-{secrets.token_hex(6)}"
    with disk_errors(folder):
        make_folder(folder.parent)
        folder.mkdir()
        sweep_temporary(folder.parent)
        spool = Spool(folder / _CONTENT)
    try:
        yield spool
    finally:
        spool.close()
        shutil.rmtree(folder, ignore_errors=True)


def place(store: Store, file: File, spool: Spool) -> None:
    """Move a spooled body to where the file's is; until its row is added nobody sees it."""
    spool.close()
    with store.stage(File, file.id) as folder:
        os.replace(spool.path, folder / _CONTENT)


def content_path(store: Store, file: File) -> Path:
    """Where the body is."""
    return store.folder(File, file.id) / _CONTENT


def find_file(store: Store, file_id: str, project: str) -> File | None:
    """A project's file, unless its time is up."""
    file = store.by_id(File, file_id)
    return file if file is not None and file.project == project and is_live(file) else None


def is_live(file: File) -> bool:
    """Whether its time is not up."""
    return file.expires is None or file.expires > time.time()


def printable_name(name: str) -> str:
    """A client's name for a file, for showing: no path, nothing unprintable, not too long."""
    last = re.split(r"[/\\]", name)[-1]
    cleaned = _UNPRINTABLE.sub("", last).strip()
    while len(cleaned.encode()) > _LONGEST_NAME:
        cleaned = cleaned[1:]
    return cleaned if cleaned.strip(".") else "upload"


def sweep(store: Store) -> None:
    """Remove files and uploads whose time is up, and bodies that never got their row."""
    now = time.time()
    for file in store.list(File):
        if not is_live(file):
            store.delete(File, file.id)
    for upload in store.list(Upload):
        if upload.expires <= now:
            shutil.rmtree(store.folder(Upload, upload.id), ignore_errors=True)
    for kind in (File, Upload):
        for folder in _old(store.home / kind.folder, now):
            if store.by_id(kind, folder.name) is None:
                shutil.rmtree(folder, ignore_errors=True)


def _old(parent: Path, now: float) -> Iterator[Path]:
    """Folders of no living process that nothing was put into for a day."""
    if not parent.is_dir():
        return
    for folder in parent.iterdir():
        if not folder.name.startswith(".") and now - folder.stat().st_mtime > _ABANDONED_SECONDS:
            yield folder
