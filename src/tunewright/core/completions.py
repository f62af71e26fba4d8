"""Chat completions that clients asked to keep: requests and replies in SQL, within bounds.

Whoever reads passes the bounds too: what is too old is not there, swept away already or not.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from sqlalchemy import text

from tunewright.core.store import Store

_COLUMNS = "id, created, model, metadata, request, reply"


def new_completion_id() -> str:
    """A fresh id such as ``chatcmpl-…``; ids sort by their making, so that lists are stable."""
    return f"chatcmpl-{time.time_ns() // 1000:014x}{secrets.token_hex(5)}"


@dataclass(frozen=True)
class StoredCompletion:
    """A completion as it was asked for and answered.

    Attributes:
        created: Unix time.
        model: public name of who answered.
        metadata: the client's own labels.
        request, reply: as JSON, in OpenAI's shape.
    """

    id: str
    created: float
    model: str
    metadata: dict[str, str]
    request: dict[str, Any]
    reply: dict[str, Any]


class Completions:
    """The stored completions of a store.

    Args:
        store: where they are.
        keep: seconds that each is kept.
        most: of every project; the oldest make room.
    """

    def __init__(self, store: Store, keep: float, most: int) -> None:
        self._store, self._keep, self._most = store, keep, most

    def add(self, project: str, stored: StoredCompletion) -> None:
        """Keep one, and let go of what is beyond the bounds.

        Raises:
            StorageError: when the database cannot be written; nothing is kept.
        """
        values = {
            **{"id": stored.id, "project": project, "created": stored.created},
            **{"model": stored.model, "metadata": json.dumps(stored.metadata)},
            **{"request": _json(stored.request), "reply": _json(stored.reply)},
        }
        with self._store.transaction() as connection:
            connection.execute(text(_INSERT), values)
            connection.execute(text(_CROWDED), {"project": project, "most": self._most})
            self.sweep()

    def sweep(self) -> None:
        """Let go of what is too old."""
        with self._store.transaction() as connection:
            connection.execute(
                text("DELETE FROM stored_completions WHERE created < :since"),
                {"since": self._since()},
            )

    def get(self, project: str, completion: str) -> StoredCompletion | None:
        """A project's completion."""
        found = self._named(project, [completion])
        return found[0] if found else None

    def label(self, project: str, completion: str, metadata: Mapping[str, str]) -> bool:
        """Replace the labels of a project's completion; False where there is none."""
        return self._change(
            "UPDATE stored_completions SET metadata = :metadata",
            project,
            completion,
            metadata=json.dumps(dict(metadata)),
        )

    def delete(self, project: str, completion: str) -> bool:
        """Forget a project's completion; False where there is none."""
        return self._change("DELETE FROM stored_completions", project, completion)

    def page(
        self,
        project: str,
        limit: int,
        after: str | None = None,
        *,
        ascending: bool = True,
        model: str | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> tuple[Sequence[StoredCompletion], bool]:
        """Those after an id, in the order of their making, and whether there are more.

        Args:
            project: whose.
            limit: how many at most.
            after: an id, be it gone by now.
            ascending: the oldest first.
            model: only those of this model.
            metadata: only those with all of these labels.
        """
        order, beyond = ("ASC", ">") if ascending else ("DESC", "<")
        rows = self._store.rows(
            "SELECT id, metadata FROM stored_completions WHERE project = :project"  # noqa: S608
            " AND created >= :since AND (:model IS NULL OR model = :model)"
            f" AND (:after IS NULL OR id {beyond} :after) ORDER BY id {order}",
            **{"project": project, "since": self._since(), "model": model, "after": after},
        )
        wanted = (metadata or {}).items()
        fitting = (str(row[0]) for row in rows if wanted <= json.loads(row[1]).items())
        found = list(islice(fitting, limit + 1))
        return self._named(project, found[:limit], order), len(found) > limit

    def _named(
        self, project: str, completions: Sequence[str], order: str = "ASC"
    ) -> Sequence[StoredCompletion]:
        names = {f"id{number}": one for number, one in enumerate(completions)}
        among = ", ".join(f":{name}" for name in names) or "NULL"
        rows = self._store.rows(
            f"SELECT {_COLUMNS} FROM stored_completions WHERE project = :project"  # noqa: S608
            f" AND created >= :since AND id IN ({among}) ORDER BY id {order}",
            **{"project": project, "since": self._since(), **names},
        )
        return [_stored(row) for row in rows]

    def _change(self, change: str, project: str, completion: str, **values: Any) -> bool:
        """One change of one row; ``change`` is a fixed text of ours."""
        where = "WHERE project = :project AND id = :id AND created >= :since"
        values |= {"project": project, "id": completion, "since": self._since()}
        with self._store.transaction() as connection:
            return connection.execute(text(f"{change} {where}"), values).rowcount == 1

    def _since(self) -> float:
        return time.time() - self._keep


_INSERT = (
    "INSERT INTO stored_completions (id, project, created, model, metadata, request, reply)"
    " VALUES (:id, :project, :created, :model, :metadata, :request, :reply)"
)
_CROWDED = (
    "DELETE FROM stored_completions WHERE project = :project AND id <="
    " (SELECT id FROM stored_completions WHERE project = :project"
    " ORDER BY id DESC LIMIT 1 OFFSET :most)"
)


def _json(value: dict[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _stored(row: Any) -> StoredCompletion:
    completion, created, model, metadata, request, reply = row
    return StoredCompletion(
        str(completion),
        float(created),
        str(model),
        json.loads(metadata),
        json.loads(request),
        json.loads(reply),
    )
