"""The general probe: everyday questions that show what tuning made a model forget."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from tunewright.core.errors import DataError
from tunewright.core.messages import Conversation, conversation
from tunewright.evaluation.answers import Question

NAME = "probe.jsonl"
OTHER = "other"
LEAST_OF_A_KIND = 5


def probe_path(base: Path | None) -> Path:
    """The probe that came with a base's folder, or the bundled one."""
    own = base / NAME if base is not None else None
    return (
        own
        if own is not None and own.is_file()
        else Path(str(files("tunewright"))) / "bases" / "nano" / NAME
    )


def read_probe(path: Path) -> list[Question]:
    """The probe's questions; a question's slice is its kind, and each is a group of its own.

    A line holds ``{"id", "kind", "question", "answer"}``, or ``{"id", "kind", "messages"}``
    whose last message is the assistant's.

    Raises:
        DataError: the file is missing, empty, or a line cannot be used.
    """
    try:
        # Not str.splitlines, which also breaks at separators that may stand inside a question.
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"general probe {path}: {error}", "Reinstall Tunewright, or pass general=false."
        ) from None
    questions = [_question(path, n, line) for n, line in enumerate(lines, 1) if line.strip()]
    if not questions:
        raise DataError(f"general probe {path} holds no questions", "Pass general=false.")
    return _folded(questions)


def _folded(questions: list[Question]) -> list[Question]:
    """Slices that can be read: ``meaning_pair`` counts as ``meaning``, and rare kinds as other."""
    families = [(question.slice or OTHER).split("_")[0] for question in questions]
    sizes = Counter(families)
    return [
        replace(question, slice=family if sizes[family] >= LEAST_OF_A_KIND else OTHER)
        for question, family in zip(questions, families, strict=True)
    ]


def _question(path: Path, number: int, line: str) -> Question:
    try:
        item: dict[str, Any] = json.loads(line)
        talk = _conversation(item)
        answer = talk.answer or str(item["answer"])
        kind = str(item.get("kind") or "general")
    except (ValueError, KeyError, TypeError, AttributeError, ValidationError) as error:
        raise DataError(
            f"general probe {path}, line {number}: {error}",
            'A line needs "question" and "answer", or "messages" ending with the assistant\'s.',
        ) from None
    name = str(item.get("id") or number)
    return Question(name, talk.prompt(), answer, kind, name)


def _conversation(item: dict[str, Any]) -> Conversation:
    if "messages" in item:
        return Conversation.model_validate({"messages": item["messages"]})
    return conversation(("user", str(item["question"])))
