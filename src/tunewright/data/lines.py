"""What the process that reads a binary table is told, and where its lines of JSON go."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import IO

from tunewright.data.limits import Budget, no_room


@dataclass(frozen=True)
class Order:
    """What to read.

    Attributes:
        kind: ``xlsx``, ``parquet`` or ``arrow``.
        path: the file.
        label: what messages call it.
        sheet: of a workbook, when one was asked for.
    """

    kind: str
    path: str
    label: str
    sheet: str | None = None


class LineWriter:
    """Writes records as lines, within a budget.

    Args:
        file: where they go.
        budget: what bounds them.
    """

    def __init__(self, file: IO[bytes], budget: Budget) -> None:
        self._file = file
        self._budget = budget

    def write(self, data: bytes) -> int:
        """Write bytes; there may be many lines in them."""
        self._budget.spend(len(data))
        try:
            return self._file.write(data)
        except OSError as error:
            raise no_room(Path(self._file.name), error) from error
