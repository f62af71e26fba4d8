"""What the user named → files: single files, folders with all they hold, and patterns."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

from tunewright.core.errors import DataError
from tunewright.data.labels import Fact

ENDINGS = frozenset(
    {".csv", ".tsv", ".tab", ".json", ".jsonl", ".ndjson", ".txt", ".text", ".md", ".markdown"}
    | {".xlsx", ".xlsm", ".parquet", ".pq", ".arrow", ".feather", ".ipc", ".gz", ".zip"}
)
"""Endings of the files that are looked for in folders and archives."""
FILES = 100_000
"""Files that one command reads at most."""
_MAGIC = re.compile(r"[*?[]")
_NAMED = 5


@dataclass(frozen=True)
class Input:
    """A file to read.

    Attributes:
        path: where it is.
        alone: whether it was named itself, not found in a folder or by a pattern.
    """

    path: Path
    alone: bool


@dataclass
class Skipped:
    """Files that were found and passed over: reason → their names, for a note on each reason."""

    names: dict[str, list[str]] = field(default_factory=dict)

    def add(self, reason: str, name: str) -> None:
        """Note a file; ``skipped <reason>`` is a kind of fact."""
        self.names.setdefault(reason, []).append(name)

    def facts(self) -> tuple[Fact, ...]:
        """One fact for each reason, naming the first files."""
        return tuple(
            {"kind": f"skipped {reason}", "count": len(names), "names": _some(names)}
            for reason, names in self.names.items()
        )

    def text(self) -> str:
        """All of it in one line, for an error message."""
        return "; ".join(f"{reason}: {_some(names)}" for reason, names in self.names.items())


def _some(names: Sequence[str]) -> str:
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" … (+{more})" if more > 0 else "")


def find_files(named: Iterable[str], skipped: Skipped) -> list[Input]:
    """The files that paths, folders and patterns stand for, each once, in a fixed order.

    A folder is searched with all folders in it; hidden files, links and files of other kinds
    are passed over. In a pattern ``**`` stands for any folders.

    Args:
        named: as the user gave them; what exists under that very name is never a pattern.
        skipped: told what was passed over.

    Raises:
        DataError: a folder or pattern that gives nothing, or far too many files.
    """
    found: dict[str, Input] = {}
    for name in named:
        for file in _of(name, skipped):
            place = name if "\0" in name else os.path.realpath(file.path)
            if place in found:
                skipped.add("twice", file.path.name)
            found.setdefault(place, file)
            if len(found) > FILES:
                raise DataError(
                    f"{name}: more than {FILES:,} files", "Join small files, or name fewer."
                )
    return list(found.values())


def _of(name: str, skipped: Skipped) -> list[Input]:
    path = Path(name)
    if "\0" in name or (os.path.lexists(path) and not path.is_dir()):
        return [Input(path, alone=True)]
    passed = Skipped()
    if path.is_dir():
        files = [file for file in _walk(path, passed) if _known(file, passed)]
        what = "the folder holds no file that can be read"
    elif _MAGIC.search(name):
        files = sorted(_matches(name))
        if not Path(name).suffix or _MAGIC.search(Path(name).suffix):
            files = [file for file in files if _known(file, passed)]
        what = "nothing here fits this pattern"
    else:
        return [Input(path, alone=True)]
    if not files:
        seen = f" (passed over: {passed.text()})" if passed.names else ""
        raise DataError(f"{name}: {what}{seen}", f"Files that can be read: {_endings()}.")
    for reason, names in passed.names.items():
        skipped.names.setdefault(reason, []).extend(names)
    return [Input(file, alone=False) for file in files]


def _endings() -> str:
    return " ".join(sorted(ENDINGS))


def _known(path: Path, skipped: Skipped) -> bool:
    if path.suffix.lower() in ENDINGS:
        return True
    skipped.add("kinds", path.name)
    return False


def _walk(folder: Path, skipped: Skipped) -> list[Path]:
    """Regular files below a folder that are not hidden; links are not followed."""
    found = []
    for root, folders, names in os.walk(folder, onerror=_refuse):
        entries = [Path(root, name) for name in (*folders, *names)]
        folders[:] = [f for f in folders if not _odd(Path(root, f))]
        for path in sorted(entries):
            reason = _odd(path)
            if reason:
                skipped.add(reason, str(path.relative_to(folder)))
            elif not path.is_dir():
                found.append(path)
        if len(found) > FILES:
            raise DataError(f"{folder}: more than {FILES:,} files", "Join small files.")
    return sorted(found)


def _odd(path: Path) -> str | None:
    """Why something in a folder is passed over whatever its ending, if so."""
    if path.is_symlink():
        return "links"
    if path.name.startswith("."):
        return "hidden"
    return None if path.is_dir() or path.is_file() else "pipes"


def _refuse(error: OSError) -> None:
    raise DataError(f"{error.filename}: the folder cannot be read ({error.strerror})") from None


def _matches(pattern: str) -> Iterator[Path]:
    """Regular files that fit a pattern; hidden ones only where it names their dot."""
    parts = Path(pattern).parts
    fixed = next(n for n, part in enumerate(parts) if _MAGIC.search(part))
    yield from set(_below(Path(*parts[:fixed]), parts[fixed:]))


def _below(folder: Path, parts: tuple[str, ...]) -> Iterator[Path]:
    part, rest = parts[0], parts[1:]
    if part == "**":
        yield from _below(folder, rest or ("*",))
    for entry in _entries(folder):
        hidden = entry.name.startswith(".") and not part.startswith(".")
        if part == "**" and not hidden and entry.is_dir(follow_symlinks=False):
            yield from _below(Path(entry.path), parts)
        if part == "**" or hidden or not fnmatchcase(entry.name, part):
            continue
        path = Path(entry.path)  # whose questions, unlike the entry's, bear links in a circle
        if rest and path.is_dir():
            yield from _below(path, rest)
        elif not rest and path.is_file():
            yield path


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise DataError(f"{folder}: the folder cannot be read ({error.strerror})") from None


def printable(name: str) -> str:
    """A name without anything that could act when it is shown, or that no file can hold."""
    return "".join(c if c.isprintable() else "\ufffd" for c in name)


def display_names(files: Iterable[str]) -> dict[str, str]:
    """File → the shortest end of its path that no other file shares.

    Reports and rows name files this way, so that a dataset does not depend on the folder that
    its files happened to lie in.
    """
    parts = {file: Path(file).parts for file in files}
    names: dict[str, str] = {}
    length = 1
    while len(names) < len(parts):
        ends = Counter(place[-length:] for place in parts.values())
        for file, place in parts.items():
            if file not in names and (ends[place[-length:]] == 1 or length >= len(place)):
                names[file] = printable("/".join(place[-length:])) or file
        length += 1
    return {file: names[file] for file in parts}
