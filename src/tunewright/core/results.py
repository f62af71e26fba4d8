"""What a job of many answers has by now: one row per answer, in the order of its questions."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import text

from tunewright.core.store import Store

_AT_ONCE = 200


@dataclass(frozen=True)
class Result:
    """One answer.

    Attributes:
        number: of its question within the job.
        outcome: in one word, as the job's kind tells it.
        body: as JSON.
    """

    number: int
    outcome: str
    body: dict[str, Any]


class Results:
    """The answers of a store's jobs. Of one question there is never a second answer."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def add(self, job: str, results: Iterable[Result]) -> None:
        """Add answers, all or none; to be called in the transaction that makes sure of the lease.

        Raises:
            StorageError: also when a question has its answer already.
        """
        rows = [
            {
                **{"job": job, "number": one.number, "outcome": one.outcome},
                "body": json.dumps(one.body, ensure_ascii=False),
            }
            for one in results
        ]
        if not rows:
            return
        with self._store.transaction() as connection:
            connection.execute(
                text(
                    "INSERT INTO job_results (job, number, outcome, body)"
                    " VALUES (:job, :number, :outcome, :body)"
                ),
                rows,
            )

    def numbers(self, job: str) -> set[int]:
        """Questions that have their answer."""
        rows = self._store.rows("SELECT number FROM job_results WHERE job = :job", job=job)
        return {int(row[0]) for row in rows}

    def get(self, job: str, number: int) -> Result | None:
        """One answer."""
        rows = self._store.rows(
            "SELECT number, outcome, body FROM job_results WHERE job = :job AND number = :number",
            job=job,
            number=number,
        )
        return _result(rows[0]) if rows else None

    def page(
        self,
        job: str,
        limit: int,
        after: int | None = None,
        *,
        ascending: bool = True,
        outcome: str | None = None,
    ) -> tuple[Sequence[Result], bool]:
        """Those after a number, in order, and whether there are more; of one outcome only, where
        one is named."""
        order, beyond = ("ASC", ">") if ascending else ("DESC", "<")
        rows = self._store.rows(
            "SELECT number, outcome, body FROM job_results WHERE job = :job"  # noqa: S608
            f" AND (:after IS NULL OR number {beyond} :after)"
            " AND (:outcome IS NULL OR outcome = :outcome)"
            f" ORDER BY number {order} LIMIT :most",
            **{"job": job, "after": after, "outcome": outcome, "most": limit + 1},
        )
        return [_result(row) for row in rows[:limit]], len(rows) > limit

    def each(self, job: str, outcome: str) -> Iterator[Result]:
        """Those of an outcome in order, a few at a time."""
        after: int | None = None
        more = True
        while more:
            found, more = self.page(job, _AT_ONCE, after, outcome=outcome)
            yield from found
            after = found[-1].number if found else None

    def delete(self, job: str) -> None:
        """Forget a job's answers."""
        with self._store.transaction() as connection:
            connection.execute(text("DELETE FROM job_results WHERE job = :job"), {"job": job})


def _result(row: Any) -> Result:
    return Result(int(row[0]), str(row[1]), json.loads(row[2]))
