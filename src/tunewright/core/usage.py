"""What was asked of the server, by key, model and hour; and by each key in its last minute."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, NamedTuple, get_args

from sqlalchemy import text

from tunewright.core.errors import InputError
from tunewright.core.store import Store

By = Literal["key", "model"]
_HOUR = 3600
_SUMS = ("requests", "prompt_tokens", "completion_tokens", "errors")
_COLUMNS: dict[By, str] = {"key": "api_key", "model": "model"}
# A window is read back by a server that starts; others than the last minute tell it nothing.
_MINUTE = 60.0


class Account(NamedTuple):
    """Whose use, of what, and when.

    Attributes:
        hour: Unix time of its begin.
        key: id of the API key; empty where none was asked for.
        model: public name; empty for requests that concern no model.
    """

    hour: int
    key: str
    model: str


@dataclass
class Sums:
    """What was used; differences may be negative until a request has ended."""

    requests: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    errors: int = 0

    def add(self, other: Sums) -> None:
        """Add another's sums to these."""
        for name in _SUMS:
            setattr(self, name, getattr(self, name) + getattr(other, name))


def this_hour() -> int:
    """Unix time of the begin of this hour."""
    return int(time.time()) // _HOUR * _HOUR


def add_usage(store: Store, usage: Mapping[Account, Sums]) -> None:
    """Add to the sums in the store, all or nothing.

    Raises:
        StorageError: when the database cannot be written.
    """
    changes = ", ".join(f"{name} = usage_by_hour.{name} + excluded.{name}" for name in _SUMS)
    with store.transaction() as connection:
        for account, sums in usage.items():
            connection.execute(
                text(
                    "INSERT INTO usage_by_hour (hour, api_key, model, requests, prompt_tokens,"  # noqa: S608
                    " completion_tokens, errors) VALUES (:hour, :key, :model, :requests,"
                    " :prompt_tokens, :completion_tokens, :errors)"
                    f" ON CONFLICT (hour, api_key, model) DO UPDATE SET {changes}"
                ),
                {**account._asdict(), **asdict(sums)},
            )


def read_usage(store: Store, by: str, seconds: int) -> Sequence[dict[str, Any]]:
    """Sums of the last ``seconds``, whole hours, by key or model; most tokens first.

    Returns:
        ``[{key or model, requests, prompt_tokens, completion_tokens, errors}, …]``.

    Raises:
        InputError: for another grouping.
    """
    if by not in get_args(By):
        raise InputError(f"usage is summed by key or model, not by {by[:64]!r}")
    column = _COLUMNS["key" if by == "key" else "model"]
    sums = ", ".join(f"SUM({name}) AS {name}" for name in _SUMS)
    rows = store.rows(
        f"SELECT {column} AS whose, {sums} FROM usage_by_hour WHERE hour >= :since"  # noqa: S608
        f" GROUP BY {column} ORDER BY SUM(prompt_tokens) + SUM(completion_tokens) DESC, {column}",
        since=(int(time.time()) - seconds) // _HOUR * _HOUR,
    )
    return [
        {by: str(row.whose), **{name: int(getattr(row, name)) for name in _SUMS}} for row in rows
    ]


Second = tuple[int, int, int]
"""Unix second, requests and tokens in it."""


def save_minutes(store: Store, minutes: Mapping[str, Sequence[Second]]) -> None:
    """What each key used in its last minute, second by second.

    Raises:
        StorageError: when the database cannot be written.
    """
    with store.transaction() as connection:
        for key, seconds in minutes.items():
            connection.execute(
                text(
                    "INSERT INTO last_minutes (api_key, body) VALUES (:key, :body)"
                    " ON CONFLICT (api_key) DO UPDATE SET body = excluded.body"
                ),
                {"key": key, "body": json.dumps(seconds)},
            )


def load_minutes(store: Store) -> dict[str, list[Second]]:
    """As saved, less what is older than a minute."""
    since = time.time() - _MINUTE - 1
    rows = store.rows("SELECT api_key, body FROM last_minutes")
    return {
        str(row[0]): [
            (s, requests, tokens) for s, requests, tokens in json.loads(row[1]) if s > since
        ]
        for row in rows
    }
