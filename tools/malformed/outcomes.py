"""What is told of malformed files once they were prepared."""

from __future__ import annotations

from dataclasses import dataclass

SECONDS = 10.0
"""Processor time that one file may take."""
MEMORY = 200 << 20
"""Bytes that malformed files may take beyond what a good one takes."""


@dataclass(frozen=True)
class Outcome:
    """What became of one malformed file; ``wrong`` says what should not have, if anything."""

    name: str
    seed: int
    kept: bool
    seconds: float
    message: str
    wrong: str


@dataclass(frozen=True)
class Peaks:
    """Peak memory of this process and of its largest child, in bytes, beyond a good file's."""

    own: int
    child: int
