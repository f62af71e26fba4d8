"""The database's schema as numbered steps; each runs once, in order, in one transaction."""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy import Connection, text

Step = Callable[[Connection], None]


def _first_tables(connection: Connection) -> None:
    connection.execute(
        text(
            "CREATE TABLE records (id VARCHAR(64) PRIMARY KEY, kind VARCHAR(32) NOT NULL,"
            " name VARCHAR(255), created DOUBLE PRECISION NOT NULL, body TEXT NOT NULL)"
        )
    )
    connection.execute(text("CREATE INDEX records_by_kind ON records (kind, created)"))
    connection.execute(text("CREATE INDEX records_by_name ON records (kind, name)"))
    connection.execute(
        text(
            "CREATE TABLE lineage (child VARCHAR(64) NOT NULL, parent VARCHAR(64) NOT NULL,"
            " PRIMARY KEY (child, parent))"
        )
    )
    connection.execute(text("CREATE INDEX lineage_by_parent ON lineage (parent)"))


STEPS: tuple[Step, ...] = (_first_tables,)


def migrate(connection: Connection) -> int:
    """Bring the schema up to date and return its version.

    Raises:
        RuntimeError: when the database is newer than this program.
    """
    connection.execute(text("CREATE TABLE IF NOT EXISTS schema_version (version INTEGER NOT NULL)"))
    found = connection.execute(text("SELECT MAX(version) FROM schema_version")).scalar()
    version = int(found or 0)
    if version > len(STEPS):
        raise RuntimeError(f"schema version {version} is newer than this program knows")
    for number, step in enumerate(STEPS[version:], start=version + 1):
        step(connection)
        connection.execute(text("INSERT INTO schema_version VALUES (:n)"), {"n": number})
    return len(STEPS)
