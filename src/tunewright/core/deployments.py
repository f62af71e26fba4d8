"""Deployments in the store: every change is a numbered revision, with who, when and why.

The record and its revision are written in one transaction, so that a process that dies amid a
change leaves the old state or the new one. Revisions outlive their deployment.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection, text

from tunewright.core.errors import InputError, NotFoundError
from tunewright.core.records import Deployment
from tunewright.core.store import Store

Edit = Callable[[Deployment], Mapping[str, Any]]
"""From the deployment as it is: the fields that are to change, none for no change."""

DELETED = "deleted"


class Signed(NamedTuple):
    """Who changes something, and why.

    Attributes:
        by: ``cli:<user>``, ``key:<id>``, or the name of a rule.
        change: what is done, in a word or two.
        reason: in words, where there is one.
    """

    by: str
    change: str
    reason: str | None = None


def deployments_of(store: Store) -> Sequence[Deployment]:
    """Every deployment, newest first."""
    return store.list(Deployment)


def create_deployment(store: Store, deployment: Deployment) -> Deployment:
    """Put a new deployment and its first revision into the store.

    Raises:
        InputError: when there is one of that name.
    """
    with store.transaction() as connection:
        if any(other.name == deployment.name for other in deployments_of(store)):
            raise InputError(f"there is a deployment named {deployment.name!r} already")
        store.add(deployment)
        _note(connection, deployment)
    return deployment


def revise(store: Store, reference: str, signed: Signed, edit: Edit) -> Deployment:
    """Change a deployment; what changes nothing makes no revision.

    Of two that change it at once, the second sees what the first has made of it.

    Raises:
        NotFoundError: there is none of that name or id; or what ``edit`` raises.
    """
    with store.transaction() as connection:
        before = store.get(Deployment, reference)
        update = dict(edit(before))
        after = before.model_copy(update=update)
        if all(getattr(before, field) == value for field, value in update.items()):
            return before
        after = after.model_copy(update=_signature(before, signed))
        store.update(after)
        _relink(connection, after)
        _note(connection, after)
    return after


def delete_deployment(store: Store, reference: str, signed: Signed) -> Deployment:
    """Remove a deployment; its history stays.

    Raises:
        NotFoundError: there is none of that name or id.
    """
    with store.transaction() as connection:
        before = store.get(Deployment, reference)
        last = before.model_copy(update={"on": False, **_signature(before, signed)})
        _note(connection, last)
        connection.execute(
            text("DELETE FROM deployment_experience WHERE deployment = :id"), {"id": before.id}
        )
        store.delete(Deployment, before.id)
    return last


def switch(
    store: Store, reference: str, on: bool, signed: Signed, *, revision: int | None = None
) -> Deployment:
    """Switch a deployment on or off; one that is so already stays as it is.

    Args:
        revision: change nothing unless it is the latest: what a rule saw has to be true still.

    Raises:
        NotFoundError: there is none of that name or id.
    """
    by_rule = revision is not None

    def edit(before: Deployment) -> Mapping[str, Any]:
        if by_rule and before.revision != revision:
            return {}
        # What a person switches off stays off, even where a rule did so before.
        if before.on == on and (on or by_rule or before.off_by == "person"):
            return {}
        return {"on": on, "off_by": None if on else ("health" if by_rule else "person")}

    return revise(store, reference, signed, edit)


def history(store: Store, reference: str) -> list[Deployment]:
    """Every revision of a deployment, oldest first; of a name, also those of one that is gone.

    Raises:
        NotFoundError: there never was one.
    """
    current = store.find(Deployment, reference)
    wanted = current.id if current else reference
    rows = store.rows(
        "SELECT body FROM deployment_revisions WHERE deployment = :wanted OR"
        " (:gone = 1 AND name = :wanted) ORDER BY sequence",
        wanted=wanted,
        gone=int(current is None),
    )
    if not rows:
        raise NotFoundError(f"no deployment {reference!r} in {store.home}")
    return [Deployment.model_validate_json(row[0]) for row in rows]


def last_change(store: Store) -> int:
    """A number that grows with every change of any deployment."""
    rows = store.rows("SELECT MAX(sequence) FROM deployment_revisions")
    return int(rows[0][0] or 0) if rows else 0


def keep_experience(store: Store, states: Mapping[str, Callable[[], Mapping[str, Any]]]) -> None:
    """Write what deployments have lived through, by their ids, in the place of what was kept.

    Args:
        states: each is asked for, outside the transaction.

    Raises:
        StorageError: when the database cannot be written; all stays as it was.
    """
    bodies = {deployment: json.dumps(state()) for deployment, state in states.items()}
    with store.transaction() as connection:
        for deployment, body in bodies.items():
            connection.execute(
                text(
                    "INSERT INTO deployment_experience (deployment, body)"
                    " SELECT id, :body FROM records WHERE id = :deployment"
                    " ON CONFLICT (deployment) DO UPDATE SET body = excluded.body"
                ),
                {"deployment": deployment, "body": body},
            )


def kept_experience(store: Store) -> dict[str, dict[str, Any]]:
    """As it was kept last."""
    rows = store.rows("SELECT deployment, body FROM deployment_experience")
    return {str(row[0]): json.loads(row[1]) for row in rows}


def _signature(before: Deployment, signed: Signed) -> dict[str, Any]:
    return {
        "revision": before.revision + 1,
        "changed": time.time(),
        **signed._asdict(),
    }


def _note(connection: Connection, deployment: Deployment) -> None:
    connection.execute(
        text(
            "INSERT INTO deployment_revisions (deployment, name, number, body)"
            " VALUES (:deployment, :name, :number, :body)"
        ),
        {
            "deployment": deployment.id,
            "name": deployment.name,
            "number": deployment.revision,
            "body": json.dumps(deployment.model_dump(mode="json"), ensure_ascii=False),
        },
    )


def _relink(connection: Connection, deployment: Deployment) -> None:
    """What a deployment serves now cannot be deleted; what it served before can."""
    connection.execute(text("DELETE FROM lineage WHERE child = :id"), {"id": deployment.id})
    for parent in deployment.parents():
        connection.execute(
            text("INSERT INTO lineage (child, parent) VALUES (:child, :parent)"),
            {"child": deployment.id, "parent": parent},
        )
