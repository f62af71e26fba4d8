"""How much a file may hold, and what is said when it holds too much or nothing."""

from __future__ import annotations

from pathlib import Path

from tunewright.core.errors import DataError, StorageError

UNPACKED_BYTES = 8 << 30
"""Bytes that one file may unpack to."""
RATIO = 200
"""How many times its packed size; text packs five to twenty times smaller, rarely a hundred."""
FREE_BYTES = 32 << 20
"""Bytes that any file may unpack to, whatever the ratio."""
MEMBERS = 10_000
"""Files in one archive."""


class EmptyFileError(DataError):
    """A file without content; in a folder of files it is passed over with a note."""


class Budget:
    """Counts what is unpacked of one file and stops at the limit.

    Args:
        packed: the file's size in bytes.
        label: what messages call it.
    """

    def __init__(self, packed: int, label: str) -> None:
        self.label = label
        self.spent = 0
        self._limit = min(UNPACKED_BYTES, max(FREE_BYTES, RATIO * packed))

    def spend(self, size: int) -> None:
        """Count ``size`` more bytes.

        Raises:
            DataError: it is too much.
        """
        self.spent += size
        if self.spent > self._limit:
            raise DataError(
                f"{self.label}: unpacks to more than {self._limit >> 20:,} MiB, which no file of "
                "its size holds unless it was made to do harm",
                "If it is good data, unpack or convert it first and name the result.",
            )


def no_room(path: Path, error: OSError) -> StorageError:
    """What to say when the disk refuses a temporary file."""
    return StorageError(
        f"cannot unpack into {path.parent}: {error.strerror}",
        "Free some space there, or name another folder for temporary files with TMPDIR.",
    )
