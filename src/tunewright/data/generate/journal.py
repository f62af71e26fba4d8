"""The journal: every answer that was paid for, on disk before anything else happens to it.

One line for each answered call, flushed to the disk before the next step. A killed run leaves at
most half a last line, which is skipped; the answers before it are never asked for again.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from tunewright.core.errors import DataError
from tunewright.core.files import disk_errors, fsync_folder

_HEADER = {"journal": "tunewright generate", "version": 1}


@dataclass
class Spent:
    """What the answered calls have cost so far."""

    calls: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0


class Journal:
    """Answers by request and index.

    Attributes:
        path: the file.
        spent: the calls and tokens of all its answers.
    """

    def __init__(self, path: Path) -> None:
        """Read the journal, if there is one.

        Raises:
            DataError: the file is there and is not a journal.
        """
        self.path = path
        self.spent = Spent()
        self._answers: dict[tuple[str, int], str] = {}
        self._file: BinaryIO | None = None
        self._load()

    def get(self, key: str, index: int) -> str | None:
        """The text of an answer, or None when it is still to be asked for."""
        return self._answers.get((key, index))

    def missing(self, key: str, completions: int) -> list[int]:
        """The indexes of a request that have no answer yet."""
        return [index for index in range(completions) if (key, index) not in self._answers]

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Hold the journal for appending; nobody else may.

        Raises:
            DataError: another process holds it.
            StorageError: the disk refuses.
        """
        with disk_errors(self.path):
            file = open(self.path, "ab+", buffering=0)  # noqa: SIM115 - closed below
        try:
            self._lock(file)
            self._load()
            self._begin(file)
            self._file = file
            yield
        finally:
            self._file = None
            file.close()

    def add(
        self,
        key: str,
        indexes: Sequence[int],
        texts: Sequence[str],
        prompt_tokens: int,
        completion_tokens: int,
    ) -> None:
        """Keep the answers of one call; on disk when this returns.

        Raises:
            StorageError: the disk refuses.
        """
        if self._file is None:
            raise RuntimeError("the journal is not open for writing")
        entry = {
            "request": key,
            "indexes": list(indexes),
            "texts": list(texts),
            "prompt_tokens": prompt_tokens,
            "completion_tokens": completion_tokens,
        }
        self._append(self._file, entry)
        self._take(entry)

    def _lock(self, file: BinaryIO) -> None:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DataError(
                f"{self.path}: another process is generating into this output",
                "Wait for it, stop it, or choose another --output.",
            ) from None

    def _begin(self, file: BinaryIO) -> None:
        """Write the header of a new journal; close a line that a kill has cut off."""
        size = file.seek(0, os.SEEK_END)
        if not size:
            self._append(file, _HEADER)
            fsync_folder(self.path.parent)
            return
        file.seek(size - 1)
        if file.read(1) != b"\n":
            file.write(b"\n")

    def _append(self, file: BinaryIO, entry: dict[str, Any]) -> None:
        data = json.dumps(entry, ensure_ascii=False).encode("utf-8", "replace") + b"\n"
        with disk_errors(self.path):
            view = memoryview(data)
            while view:
                view = view[file.write(view) :]
            os.fsync(file.fileno())

    def _load(self) -> None:
        self.spent = Spent()
        self._answers.clear()
        try:
            with open(self.path, "rb") as file:
                self._check_header(file.readline())
                for line in file:
                    self._take_line(line)
        except FileNotFoundError:
            return
        except OSError as error:
            raise DataError(f"{self.path}: cannot be read ({error.strerror})") from None

    def _check_header(self, line: bytes) -> None:
        expected = json.dumps(_HEADER).encode()
        # A kill may have cut off even the first line.
        if not expected.startswith(line.strip()):
            raise DataError(
                f"{self.path}: the file is there already and is no journal of this command",
                "Choose another --output, or move the file away.",
            )

    def _take_line(self, line: bytes) -> None:
        try:
            entry = json.loads(line)
        except ValueError:
            return
        if isinstance(entry, dict) and "request" in entry:
            self._take(entry)

    def _take(self, entry: dict[str, Any]) -> None:
        for index, text in zip(entry["indexes"], entry["texts"], strict=True):
            self._answers[(entry["request"], index)] = text
        self.spent.calls += 1
        self.spent.prompt_tokens += entry["prompt_tokens"]
        self.spent.completion_tokens += entry["completion_tokens"]
