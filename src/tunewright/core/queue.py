"""The durable queue: jobs in SQL, leased to one worker at a time.

A lease is a token and a time. Whoever holds it says so again before the time is up; when nobody
does, the job goes back to the queue and the next lease gets a larger token. Every change of state
is one UPDATE that names the state, and a worker's also its token: of two that try, one changes a
row and the other changes none.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast, get_args

from sqlalchemy import Connection, text

from tunewright.core.errors import LeaseLost, NotFoundError
from tunewright.core.store import Lease, Store

State = Literal["queued", "running", "paused", "succeeded", "failed", "cancelled"]
Ask = Literal["cancel", "pause", "resume"]
End = Literal["succeeded", "failed", "cancelled", "paused"]
ENDED: tuple[State, ...] = ("succeeded", "failed", "cancelled")
_LONGEST_PAUSE = 300.0
_COLUMNS = (
    "id, kind, project, priority, state, asked, attempts, token, owner, lease_until,"
    " not_before, payload, error, created, started, finished"
)


@dataclass(frozen=True)
class Entry:
    """One job as the queue sees it.

    Attributes:
        asked: what its worker was asked for and has not done yet: ``cancel`` or ``pause``.
        attempts: leases since it last got further.
        token: grows with every lease.
        owner: who holds the lease, in words.
        payload: what a worker needs to go on.
        error: why it failed, as its kind of job tells it.
    """

    id: str
    kind: str
    project: str
    priority: int
    state: State
    asked: str | None
    attempts: int
    token: int
    owner: str | None
    lease_until: float | None
    not_before: float
    payload: dict[str, Any]
    error: dict[str, Any] | None
    created: float
    started: float | None
    finished: float | None

    @property
    def lease(self) -> Lease:
        """The lease that holds now, or held last."""
        return Lease(self.id, self.token)


@dataclass(frozen=True)
class Retry:
    """How often a job may break off without getting further, and how long to wait after that.

    Attributes:
        attempts: leases it is given.
        pause: seconds before the second one; doubled for each one more.
    """

    attempts: int = 3
    pause: float = 1.0

    def wait(self, attempts: int) -> float:
        """Seconds before the next attempt."""
        return min(_LONGEST_PAUSE, self.pause * 2.0 ** min(attempts - 1, 20))


class Queue:
    """The queue of a store.

    Args:
        store: whose.
        clock: what time it is, in Unix seconds; every time in the queue is from it.
    """

    def __init__(self, store: Store, clock: Callable[[], float] = time.time) -> None:
        self._store = store
        self._clock = clock

    # Whoever wants something done ---------------------------------------------------------------

    def enqueue(
        self,
        job: str,
        kind: str,
        project: str,
        payload: dict[str, Any] | None = None,
        priority: int = 0,
    ) -> None:
        """Add a job; a higher priority goes first."""
        with self._store.transaction() as connection:
            connection.execute(
                text(
                    "INSERT INTO queue (id, kind, project, priority, state, attempts, token,"
                    " not_before, payload, created) VALUES (:id, :kind, :project, :priority,"
                    " 'queued', 0, 0, 0, :payload, :now)"
                ),
                {
                    **{"id": job, "kind": kind, "project": project, "priority": priority},
                    **{"payload": json.dumps(payload or {}), "now": self._clock()},
                },
            )

    def get(self, job: str) -> Entry:
        """The job.

        Raises:
            NotFoundError: there is none.
        """
        rows = self._store.rows(f"SELECT {_COLUMNS} FROM queue WHERE id = :id", id=job)  # noqa: S608
        if not rows:
            raise NotFoundError(f"no job {job!r} in the queue")
        return _entry(rows[0])

    def list(self, state: State | None = None, project: str | None = None) -> Sequence[Entry]:
        """Jobs in the order in which they came."""
        rows = self._store.rows(
            f"SELECT {_COLUMNS} FROM queue WHERE (:state IS NULL OR state = :state)"  # noqa: S608
            " AND (:project IS NULL OR project = :project) ORDER BY created, id",
            **{"state": state, "project": project},
        )
        return [_entry(row) for row in rows]

    def ask(self, job: str, what: Ask) -> bool:
        """Cancel, pause or resume. What runs is asked to end; what waits changes at once.

        Returns:
            False when the job is in no state for it, and nothing was changed.
        """
        waits, runs = _ASKING[what]
        with self._store.transaction() as connection:
            values = {"id": job, "now": self._clock()}
            for change in (waits, runs):
                if connection.execute(text(change), values).rowcount == 1:
                    return True
        return False

    def forget(self, job: str) -> None:
        """Drop a job; whoever works on it loses its lease."""
        with self._store.transaction() as connection:
            connection.execute(text("DELETE FROM queue WHERE id = :id"), {"id": job})

    # Workers ------------------------------------------------------------------------------------

    def lease(self, kind: str, slots: int, owner: str, seconds: float) -> Entry | None:
        """The next job of a kind, for its worker alone; None when there is none or no slot.

        Of the jobs that wait, first come those of the project with the fewest running, then those
        with the highest priority, then those of the project served longest ago, then the oldest.
        """
        if not self._waiting(kind):
            return None
        with self._store.transaction() as connection:
            values: dict[str, Any] = {"kind": kind, "now": self._clock()}
            running = connection.execute(text(_RUNNING), values).scalar()
            if int(running or 0) >= slots:
                return None
            found = connection.execute(text(_NEXT), values).first()
            if found is None:
                return None
            values |= {"id": found[0], "owner": owner, "until": values["now"] + seconds}
            connection.execute(text(_LEASE), values)
            return self.get(str(found[0]))

    def heartbeat(self, lease: Lease, owner: str, seconds: float) -> None:
        """Hold a lease for so many seconds from now.

        Raises:
            LeaseLost: another worker has the job by now, or it ended.
        """
        self._held(
            lease,
            "owner = :owner, lease_until = :until",
            owner=owner,
            until=self._clock() + seconds,
        )

    def keep(self, lease: Lease, payload: dict[str, Any], further: bool = False) -> None:
        """Note what a later worker needs to go on; ``further``: earlier attempts do not count.

        Raises:
            LeaseLost: as for ``heartbeat``.
        """
        attempts = ", attempts = 1" if further else ""
        self._held(lease, f"payload = :payload{attempts}", payload=json.dumps(payload))

    def end(self, lease: Lease, state: End, error: dict[str, Any] | None = None) -> None:
        """The worker's last word on a job.

        Raises:
            LeaseLost: as for ``heartbeat``.
        """
        self._held(
            lease,
            "state = :to, error = :error, asked = NULL, owner = NULL, lease_until = NULL,"
            " finished = CASE WHEN :to = 'paused' THEN NULL ELSE :now END",
            **{"to": state, "error": None if error is None else json.dumps(error)},
            now=self._clock(),
        )

    def hand_on(self, lease: Lease, kind: str) -> State:
        """Put a job back as one of another kind, its next stage; or end it as it was asked to.

        Returns:
            Its state now.

        Raises:
            LeaseLost: as for ``heartbeat``.
        """
        with self._store.transaction():
            self._held(lease, "kind = :kind, attempts = 1", kind=kind)
            return self.release(lease)

    def release(self, lease: Lease) -> State:
        """Put a job back without counting this attempt; or end it as it was asked to.

        Returns:
            Its state now.

        Raises:
            LeaseLost: as for ``heartbeat``.
        """
        with self._store.transaction():
            asked = self._obeyed(lease)
            if asked is not None:
                return asked
            self._held(lease, f"attempts = attempts - 1, not_before = 0{_BACK}")
            return "queued"

    def retry(self, lease: Lease, rule: Retry, error: dict[str, Any]) -> State:
        """Put a job back that broke off, or give it up with ``error`` after too many attempts.

        A job that was asked to end is ended as asked instead.

        Returns:
            Its state now.

        Raises:
            LeaseLost: as for ``heartbeat``.
        """
        with self._store.transaction():
            asked = self._obeyed(lease)
            if asked is not None:
                return asked
            attempts = self.get(lease.job).attempts
            if attempts >= rule.attempts:
                self.end(lease, "failed", error)
                return "failed"
            self._held(lease, f"not_before = :at{_BACK}", at=self._clock() + rule.wait(attempts))
            return "queued"

    def _obeyed(self, lease: Lease) -> State | None:
        """End a job as it was asked to, if it was."""
        asked = self.get(lease.job).asked
        if asked is None:
            return None
        state: End = "cancelled" if asked == "cancel" else "paused"
        self.end(lease, state)
        return state

    def expired(self) -> Sequence[Entry]:
        """Running jobs whose lease has run out."""
        rows = self._store.rows(
            f"SELECT {_COLUMNS} FROM queue WHERE state = 'running' AND lease_until < :now",  # noqa: S608
            now=self._clock(),
        )
        return [_entry(row) for row in rows]

    def _waiting(self, kind: str) -> bool:
        """A look without a lock: most looks find nothing to do."""
        query = "SELECT 1 FROM queue WHERE state = 'queued' AND kind = :kind AND not_before <= :now"
        return bool(self._store.rows(f"{query} LIMIT 1", kind=kind, now=self._clock()))

    def _held(self, lease: Lease, change: str, **values: Any) -> None:
        """One change by the holder of a lease; ``change`` is a fixed text of ours."""
        guard = "WHERE id = :id AND token = :token AND state = 'running'"
        with self._store.transaction() as connection:
            _one(connection, f"UPDATE queue SET {change} {guard}", {**values, **_named(lease)})  # noqa: S608


_BACK = ", state = 'queued', owner = NULL, lease_until = NULL"
_RUNNING = "SELECT COUNT(*) FROM queue WHERE kind = :kind AND state = 'running'"
_NEXT = (
    "SELECT id FROM queue q WHERE state = 'queued' AND kind = :kind AND not_before <= :now"
    " ORDER BY"
    " (SELECT COUNT(*) FROM queue r WHERE r.project = q.project AND r.state = 'running'),"
    " priority DESC,"
    " COALESCE((SELECT MAX(s.started) FROM queue s WHERE s.project = q.project), 0),"
    " created, id LIMIT 1"
)
_LEASE = (
    "UPDATE queue SET state = 'running', token = token + 1, attempts = attempts + 1,"
    " owner = :owner, lease_until = :until, started = :now WHERE id = :id AND state = 'queued'"
)
# What is asked for → what happens to a job that waits, and to one that runs.
_ASKING: dict[Ask, tuple[str, str]] = {
    "cancel": (
        "UPDATE queue SET state = 'cancelled', finished = :now"
        " WHERE id = :id AND state IN ('queued', 'paused')",
        "UPDATE queue SET asked = 'cancel' WHERE id = :id AND state = 'running'",
    ),
    "pause": (
        "UPDATE queue SET state = 'paused' WHERE id = :id AND state = 'queued'",
        "UPDATE queue SET asked = 'pause' WHERE id = :id AND state = 'running' AND"
        " (asked IS NULL OR asked = 'pause')",
    ),
    "resume": (
        "UPDATE queue SET state = 'queued', attempts = 0, not_before = 0"
        " WHERE id = :id AND state = 'paused'",
        "UPDATE queue SET asked = NULL WHERE id = :id AND state = 'running' AND asked = 'pause'",
    ),
}


def _named(lease: Lease) -> dict[str, Any]:
    return {"id": lease.job, "token": lease.token}


def _one(connection: Connection, change: str, values: dict[str, Any]) -> None:
    if connection.execute(text(change), values).rowcount != 1:
        raise LeaseLost(f"job {values['id']} is another worker's by now, or ended")


def _entry(row: Any) -> Entry:
    values = dict(row._mapping)
    values["payload"] = json.loads(values["payload"])
    values["error"] = None if values["error"] is None else json.loads(values["error"])
    if values["state"] not in get_args(State):
        raise ValueError(f"job {values['id']} is in the unknown state {values['state']!r}")
    return Entry(**cast(dict[str, Any], values))
