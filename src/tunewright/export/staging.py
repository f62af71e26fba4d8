"""An export's folder: made under a temporary name, and renamed once it is whole."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tunewright.core.errors import InputError, StorageError
from tunewright.core.files import disk_errors, fsync_folder, fsync_tree, make_folder
from tunewright.core.store import sweep_temporary

FAILED = ".failed"
"""What the name of an export ends with that is not equal to its model."""
_SPARE = 64 * 2**20
_UNSAFE = re.compile(r"[^\w.-]+")


@dataclass
class Staged:
    """An export that is being made.

    Attributes:
        folder: where its files go.
        failed: whether it differs too much from its model.
    """

    folder: Path
    failed: bool = False


def folder_name(model: str, suffix: str) -> str:
    """A model's name and an export's kind as the name of a folder."""
    return f"{_UNSAFE.sub('-', model).strip('-.')}-{suffix}"


def refuse_existing(target: Path, overwrite: bool) -> None:
    """Refuse a folder that is there, unless it may be replaced.

    Raises:
        InputError: it exists, or is no folder.
    """
    if target.is_symlink() or (target.exists() and not target.is_dir()):
        raise InputError(f"{target} exists and is no folder", "Choose another one with --output.")
    if not overwrite and target.exists():
        raise InputError(f"{target} exists", "Choose another --output, or give --overwrite.")
    home = target / "tunewright.db"
    if home.exists():
        raise InputError(f"{target} is a home folder", "Choose another one with --output.")


def refuse_full_disk(target: Path, needed: int) -> None:
    """Make sure that an export fits beside what is there.

    Raises:
        StorageError: too little is free; nothing is written.
    """
    place = next(folder for folder in (target, *target.parents) if folder.exists())
    free = shutil.disk_usage(place).free
    if free < needed + _SPARE:
        raise StorageError(
            f"the export takes {needed / 1e9:.2f} GB, {place} has {free / 1e9:.2f} GB free",
            "Free some space, or choose another place with --output.",
        )


@contextmanager
def staged(target: Path) -> Iterator[Staged]:
    """A temporary folder beside ``target`` that takes its name when the block ends well.

    A failed export takes the name with ``.failed`` at its end, and leaves ``target`` as it is.
    What a killed export left behind is removed by the next one in the same place.

    Raises:
        StorageError: when the disk refuses; nothing stays behind.
    """
    temporary = target.parent / f".tmp-{os.getpid()}-{target.name}"
    with disk_errors(target):
        make_folder(target.parent)
        sweep_temporary(target.parent)
        for failed in (False, True):
            _recover(with_name(target, failed))
        stage = Staged(temporary)
        try:
            temporary.mkdir()
            yield stage
            _open_to_readers(temporary)
            fsync_tree(temporary)
            _replace(temporary, with_name(target, stage.failed))
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def with_name(target: Path, failed: bool) -> Path:
    """The folder's final name."""
    return target.with_name(target.name + FAILED) if failed else target


def _open_to_readers(folder: Path) -> None:
    """Let the users that other programs run as read what is not secret."""
    for file in folder.rglob("*"):
        if file.is_file():
            file.chmod(0o644)


def _replace(temporary: Path, final: Path) -> None:
    """Put a whole folder in another's place; a kill in between leaves both, and ``_recover``."""
    old = _replaced(final)
    if final.exists():
        final.rename(old)
    temporary.rename(final)
    fsync_folder(final.parent)
    shutil.rmtree(old, ignore_errors=True)


def _recover(final: Path) -> None:
    """Undo a replacement that a kill cut short, or finish it."""
    old = _replaced(final)
    if old.exists() and not final.exists():
        old.rename(final)
    shutil.rmtree(old, ignore_errors=True)


def _replaced(final: Path) -> Path:
    return final.with_name(f".{final.name}.replaced")
