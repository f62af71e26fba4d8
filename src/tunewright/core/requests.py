"""Requests that made something, so that a client that repeats one does not make it twice.

OpenAI's clients send a request again when its reply was lost, with a count of the attempts and no
key of their own. A repeated request is one that says so and equals an earlier one; it gets what
that one made. The note of it is committed together with what was made.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from sqlalchemy import text

from tunewright.core.store import R, Store

_REMEMBERED_SECONDS = 600.0


@dataclass(frozen=True)
class Attempt:
    """One request that is to make something.

    Attributes:
        digest: of who asks for what; equal for equal requests.
        number: 0 for a first attempt.
        arrived: when it came.
    """

    digest: str
    number: int = 0
    arrived: float = field(default_factory=time.time)


def made_before(store: Store, attempt: Attempt) -> str | None:
    """Id of what an earlier attempt at the same made, if this one repeats it.

    A first attempt that was so slow that its repetition overtook it gets what that one made.
    """
    rows = store.rows(
        "SELECT made, attempt, created FROM requests WHERE digest = :digest", digest=attempt.digest
    )
    if not rows:
        return None
    made, number, created = rows[0]
    if attempt.number > 0:
        return str(made) if created > attempt.arrived - _REMEMBERED_SECONDS else None
    return str(made) if number > 0 and created > attempt.arrived else None


def made_record(store: Store, attempt: Attempt, cls: type[R]) -> R | None:
    """The record that an earlier attempt at the same made, while there is one."""
    made = made_before(store, attempt)
    return store.by_id(cls, made) if made else None


def make_once(
    store: Store, attempt: Attempt, record: R, also: Callable[[], None] | None = None
) -> R:
    """Add a record, unless an earlier attempt at the same has made one.

    Args:
        store: gets it.
        attempt: which this is.
        record: new.
        also: writes what belongs to it, all of it or none.

    Returns:
        Whichever there is.
    """
    with store.transaction():
        known = made_record(store, attempt, type(record))
        if known is None:
            store.add(record)
            if also is not None:
                also()
            remember(store, attempt, record.id)
    return known or record


def remember(store: Store, attempt: Attempt, made: str) -> None:
    """Note what an attempt made; to be called in the transaction that makes it."""
    with store.transaction() as connection:
        connection.execute(
            text("DELETE FROM requests WHERE digest = :digest OR created < :old"),
            {"digest": attempt.digest, "old": time.time() - _REMEMBERED_SECONDS},
        )
        connection.execute(
            text("INSERT INTO requests VALUES (:digest, :made, :number, :now)"),
            {
                "digest": attempt.digest,
                "made": made,
                "number": attempt.number,
                "now": time.time(),
            },
        )
