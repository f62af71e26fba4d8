"""Answers that were given once, kept in the home folder: nobody is asked the same thing twice.

One file for each responder, ``cache/answers/<digest>.jsonl``, to which lines are added and
flushed to the disk as answers come. A kill leaves at most half a last line, which is skipped. The
folder can be deleted at any time: answers are then asked for again.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tunewright.config.serving import GenerationConfig
from tunewright.core.files import digest, disk_errors
from tunewright.core.messages import Conversation

_VERSION = 1


def answer_key(prompt: Conversation, config: GenerationConfig) -> str:
    """What an answer depends on besides the responder."""
    # Calls of functions on offer are kept apart from words.
    version = f"{_VERSION}, calls" if prompt.tools else _VERSION
    return digest({"v": version, "ask": _plain(prompt), "settings": config.json_dict()})


def likelihood_key(row: Conversation) -> str:
    """What a likelihood depends on besides the responder."""
    return digest({"v": _VERSION, "weigh": _plain(row)})


def _plain(conversation: Conversation) -> Any:
    return conversation.model_dump(mode="json", exclude_defaults=True)


class AnswerCache:
    """What one responder has said, by keys.

    Args:
        home: the home folder.
        responder: its digest.
    """

    def __init__(self, home: Path, responder: str) -> None:
        self.path = home / "cache" / "answers" / f"{responder[:32]}.jsonl"
        self._known: dict[str, dict[str, Any]] = {}
        if self.path.is_file():
            with open(self.path, "rb") as file:
                for line in file:
                    self._take(line)

    def get(self, key: str) -> dict[str, Any] | None:
        """What is kept under a key."""
        return self._known.get(key)

    def add(self, entries: Sequence[tuple[str, dict[str, Any]]]) -> None:
        """Keep entries; on disk when this returns.

        Raises:
            StorageError: the disk refuses.
        """
        lines = [
            json.dumps({"key": key, **entry}, ensure_ascii=False).encode("utf-8", "replace") + b"\n"
            for key, entry in entries
        ]
        with disk_errors(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with open(self.path, "ab+") as file:
                fcntl.flock(file, fcntl.LOCK_EX)  # another evaluation may ask the same responder
                if _torn(file):
                    file.write(b"\n")
                file.writelines(lines)
                file.flush()
                os.fsync(file.fileno())
        self._known.update(entries)

    def _take(self, line: bytes) -> None:
        try:
            entry = json.loads(line)
        except ValueError:
            return
        if isinstance(entry, dict) and isinstance(key := entry.pop("key", None), str):
            self._known[key] = entry


def _torn(file: Any) -> bool:
    """Whether a kill cut off the last line."""
    size = file.seek(0, os.SEEK_END)
    if not size:
        return False
    file.seek(size - 1)
    return bool(file.read(1) != b"\n")
