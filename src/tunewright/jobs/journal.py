"""What jobs tell: events in their order, and the checkpoints among them."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from sqlalchemy import text

from tunewright.core.store import Store

Level = Literal["info", "warn", "error"]
_COLUMNS = "sequence, created, level, type, message, data, checkpoint"


@dataclass(frozen=True)
class Note:
    """Something that a job tells.

    Attributes:
        message: the sentence.
        type: ``metrics`` for the numbers of a step, else ``message``.
        data: numbers by name.
        checkpoint: the step, when this note tells that its checkpoint was made; each once.
    """

    message: str
    level: Level = "info"
    type: Literal["message", "metrics"] = "message"
    data: dict[str, Any] | None = None
    checkpoint: int | None = None
    created: float = field(default_factory=time.time)


@dataclass(frozen=True)
class Told:
    """A note and its place in the order of all notes."""

    sequence: int
    note: Note


class Journal:
    """The notes of a store's jobs."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def write(self, job: str, notes: Iterable[Note]) -> None:
        """Add notes, all or none; a checkpoint that was told before is not told again."""
        rows = [_row(job, note) for note in notes]
        if not rows:
            return
        with self._store.transaction() as connection:
            connection.execute(
                text(
                    "INSERT INTO job_events (job, created, level, type, message, data, checkpoint)"
                    " VALUES (:job, :created, :level, :type, :message, :data, :checkpoint)"
                    " ON CONFLICT DO NOTHING"
                ),
                rows,
            )

    def newest(self, job: str, count: int, before: int | None = None) -> Sequence[Told]:
        """The newest notes of a job, or those before a place in the order; newest first."""
        rows = self._store.rows(
            f"SELECT {_COLUMNS} FROM job_events WHERE job = :job"  # noqa: S608
            " AND (:before IS NULL OR sequence < :before) ORDER BY sequence DESC LIMIT :count",
            **{"job": job, "before": before, "count": count},
        )
        return [_told(row) for row in rows]

    def checkpoints(self, job: str) -> Sequence[Told]:
        """The notes of checkpoints, newest step first."""
        rows = self._store.rows(
            f"SELECT {_COLUMNS} FROM job_events"  # noqa: S608
            " WHERE job = :job AND checkpoint IS NOT NULL ORDER BY checkpoint DESC",
            job=job,
        )
        return [_told(row) for row in rows]


def _row(job: str, note: Note) -> dict[str, Any]:
    data = None if note.data is None else json.dumps(note.data, ensure_ascii=False)
    return {
        "job": job,
        "created": note.created,
        "level": note.level,
        "type": note.type,
        "message": note.message,
        "data": data,
        "checkpoint": note.checkpoint,
    }


def _told(row: Any) -> Told:
    values = dict(row._mapping)
    sequence = values.pop("sequence")
    values["data"] = None if values["data"] is None else json.loads(values["data"])
    return Told(sequence, Note(**values))
