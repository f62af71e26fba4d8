"""Some of the answers that a run drew, with their rewards: a file to see what is really learnt.

A model learns what the grader rewards, which is not always what was meant. ``rollouts.jsonl`` in
the run's folder holds a line for some questions of every step; when it is full it becomes
``rollouts.1.jsonl`` and a new one begins. A resumed run repeats the steps after its checkpoint:
of lines with the same step the later ones count.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tunewright.core.files import disk_errors

_MOST_BYTES = 16 << 20
_MOST_CHARACTERS = 2000


class RolloutLog:
    """Appends to ``rollouts.jsonl`` in a folder, within bounds."""

    def __init__(self, folder: Path, most_bytes: int = _MOST_BYTES) -> None:
        self._path = folder / "rollouts.jsonl"
        self._older = folder / "rollouts.1.jsonl"
        self._most = most_bytes

    def append(self, step: int, groups: Sequence[dict[str, Any]]) -> None:
        """Write the answers to some questions of a step.

        Args:
            step: the step.
            groups: ``{question, reference, answers: [{text, reward, scores, finished}, …]}``.

        Raises:
            StorageError: when the disk refuses.
        """
        lines = [json.dumps({"step": step, **_cut(group)}, ensure_ascii=False) for group in groups]
        data = "".join(f"{line}\n" for line in lines).encode("utf-8", "replace")
        with disk_errors(self._path):
            if self._path.exists() and self._path.stat().st_size + len(data) > self._most:
                self._path.replace(self._older)
            with open(self._path, "ab") as file:
                file.write(data)


def _cut(value: Any) -> Any:
    if isinstance(value, str):
        return value if len(value) <= _MOST_CHARACTERS else value[: _MOST_CHARACTERS - 1] + "…"
    if isinstance(value, dict):
        return {key: _cut(inner) for key, inner in value.items()}
    return [_cut(inner) for inner in value] if isinstance(value, list) else value
