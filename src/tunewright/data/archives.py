"""Gzip and ZIP archives, unpacked into a private folder and never further than the limits."""

from __future__ import annotations

import gzip
import lzma
import re
import shutil
import stat
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import NamedTuple, Protocol

from tunewright.core.errors import DataError
from tunewright.data.inputs import ENDINGS, Skipped, printable
from tunewright.data.limits import MEMBERS, Budget, no_room

_CHUNK = 1 << 18
_DRIVE = re.compile(r"[A-Za-z]:")
_UTF8_FLAG, _ENCRYPTED_FLAG = 0x800, 0x1
_ARCHIVES = (".zip", ".gz")


class _Readable(Protocol):
    def read(self, size: int = -1, /) -> bytes: ...


class Room:
    """A private folder for what is unpacked, made when it is first needed."""

    def __init__(self) -> None:
        self._folder: Path | None = None
        self._count = 0

    def place(self) -> Path:
        """A path for one more file; its name says nothing, so no name can lead elsewhere.

        Raises:
            StorageError: there is no folder for temporary files.
        """
        if self._folder is None:
            try:
                self._folder = Path(tempfile.mkdtemp(prefix="tunewright-"))
            except OSError as error:
                raise no_room(Path(error.filename or tempfile.gettempdir()), error) from error
        self._count += 1
        return self._folder / f"{self._count:06}"

    def clear(self) -> None:
        """Remove the folder."""
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)


class Member(NamedTuple):
    """A file that was in an archive: its name there, and where it was unpacked."""

    name: str
    path: Path


def unpack_gzip(path: Path, label: str, room: Room) -> Path:
    """Unpack the one file that a gzip archive holds.

    Raises:
        DataError: damaged, cut off, or larger than the limits.
        StorageError: the disk refuses.
    """
    target, budget = room.place(), Budget(path.stat().st_size, label)
    with _damage(label, "gzip"), gzip.open(path) as packed:
        _copy(packed, target, budget)
    return target


def unpack_zip(path: Path, label: str, room: Room, skipped: Skipped) -> list[Member]:
    """Unpack the members of a ZIP archive that can be read, sorted by name.

    Raises:
        DataError: damaged, encrypted, a name that leads out of the archive, a link, two members
            of one name, nothing to read, or larger than the limits.
        StorageError: the disk refuses.
    """
    budget = Budget(path.stat().st_size, label)
    members: list[Member] = []
    passed = Skipped()
    with _damage(label, "ZIP"), zipfile.ZipFile(path) as archive:
        for name, info in sorted(_named(archive, label).items()):
            if not _wanted(name, passed):
                continue
            _check(info, f"{label}/{name}")
            target = room.place()
            with archive.open(info) as packed:
                _copy(packed, target, budget)
            members.append(Member(name, target))
    if not members:
        seen = f" (passed over: {passed.text()})" if passed.names else ""
        raise DataError(
            f"{label}: the archive holds no file that can be read{seen}",
            "An archive inside an archive is not opened; unpack it first."
            if "nested" in passed.names
            else "Pack tables, JSON, workbooks or texts.",
        )
    for reason, names in passed.names.items():
        skipped.names.setdefault(reason, []).extend(f"{path.name}/{name}" for name in names)
    return members


def _named(archive: zipfile.ZipFile, label: str) -> dict[str, zipfile.ZipInfo]:
    """Members that are files, by name; every name is checked, also of those not unpacked."""
    infos = [info for info in archive.infolist() if not info.is_dir()]
    if len(infos) > MEMBERS:
        raise DataError(f"{label}: more than {MEMBERS:,} files in one archive", "Pack fewer.")
    named: dict[str, zipfile.ZipInfo] = {}
    for info in infos:
        name = printable(_name(info))
        if name.startswith("/") or _DRIVE.match(name) or ".." in PurePosixPath(name).parts:
            raise DataError(
                f"{label}: the member {name!r} would lie outside the archive",
                "No honest program packs such names; do not trust this archive.",
            )
        if name in named:
            raise DataError(f"{label}: two members are called {name!r}", "Pack it again.")
        named[name] = info
    return named


def _name(info: zipfile.ZipInfo) -> str:
    """A member's name; without the UTF-8 flag Chinese programs wrote UTF-8 or GB18030 anyway."""
    name = info.filename
    if not info.flag_bits & _UTF8_FLAG and not name.isascii():
        raw = name.encode("cp437", "replace")
        for codec in ("utf-8", "gb18030"):
            try:
                name = raw.decode(codec)
                break
            except UnicodeDecodeError:
                continue
    return name.replace("\\", "/")


def _wanted(name: str, skipped: Skipped) -> bool:
    parts = PurePosixPath(name).parts
    ending = PurePosixPath(name).suffix.lower()
    if any(part.startswith(".") or part == "__MACOSX" for part in parts):
        skipped.add("hidden", name)
    elif ending in _ARCHIVES:
        skipped.add("nested", name)
    elif ending not in ENDINGS:
        skipped.add("kinds", name)
    else:
        return True
    return False


def _check(info: zipfile.ZipInfo, label: str) -> None:
    if info.flag_bits & _ENCRYPTED_FLAG:
        raise DataError(f"{label}: encrypted with a password", "Unpack it and name the files.")
    if stat.S_ISLNK(info.external_attr >> 16):
        raise DataError(f"{label}: a link, not a file", "Pack the file that it points to.")


def _copy(packed: _Readable, target: Path, budget: Budget) -> None:
    with _disk(target), open(target, "xb") as file:
        for chunk in _chunks(packed):
            budget.spend(len(chunk))
            file.write(chunk)


class _ReadingError(Exception):
    """An archive's own error, kept apart from those of the disk that it is unpacked to."""


def _chunks(packed: _Readable) -> Iterator[bytes]:
    while True:
        try:
            chunk = packed.read(_CHUNK)
        except OSError as error:
            raise _ReadingError(str(error)) from error
        if not chunk:
            return
        yield chunk


@contextmanager
def _disk(target: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise no_room(target, error) from error


@contextmanager
def _damage(label: str, kind: str) -> Iterator[None]:
    try:
        yield
    except EOFError:
        raise DataError(
            f"{label}: the {kind} archive is cut off", "The download did not finish; repeat it."
        ) from None
    except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, _ReadingError, ValueError) as error:
        raise DataError(
            f"{label}: the {kind} archive is damaged ({error})", "Make or download it again."
        ) from None
    except (NotImplementedError, RuntimeError) as error:
        raise DataError(
            f"{label}: packed in a way that is not read ({error})",
            "Unpack it with the program that made it, and name the files.",
        ) from None
