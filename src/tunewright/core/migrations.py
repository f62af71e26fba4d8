"""The database's schema as numbered steps; each runs once, in order, in one transaction."""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy import Connection, inspect, text

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


def _projects_and_queue(connection: Connection) -> None:
    """Whom records belong to; jobs, what they told, and requests that made something."""
    connection.execute(text("ALTER TABLE records ADD COLUMN project VARCHAR(64)"))
    connection.execute(text("CREATE INDEX records_by_project ON records (kind, project, id)"))
    connection.execute(
        text(
            "CREATE TABLE queue (id VARCHAR(64) PRIMARY KEY, kind VARCHAR(32) NOT NULL,"
            " project VARCHAR(64) NOT NULL, priority INTEGER NOT NULL,"
            " state VARCHAR(16) NOT NULL, asked VARCHAR(16), attempts INTEGER NOT NULL,"
            " token INTEGER NOT NULL, owner VARCHAR(255), lease_until DOUBLE PRECISION,"
            " not_before DOUBLE PRECISION NOT NULL, payload TEXT NOT NULL, error TEXT,"
            " created DOUBLE PRECISION NOT NULL, started DOUBLE PRECISION,"
            " finished DOUBLE PRECISION)"
        )
    )
    connection.execute(text("CREATE INDEX queue_by_state ON queue (state, kind, not_before)"))
    connection.execute(text("CREATE INDEX queue_by_project ON queue (project, state, started)"))
    connection.execute(
        text(
            "CREATE TABLE job_events (sequence INTEGER PRIMARY KEY AUTOINCREMENT,"
            " job VARCHAR(64) NOT NULL, created DOUBLE PRECISION NOT NULL,"
            " level VARCHAR(8) NOT NULL, type VARCHAR(16) NOT NULL, message TEXT NOT NULL,"
            " data TEXT, checkpoint INTEGER, UNIQUE (job, checkpoint))"
        )
    )
    connection.execute(text("CREATE INDEX job_events_by_job ON job_events (job, sequence)"))
    connection.execute(
        text(
            "CREATE TABLE requests (digest VARCHAR(64) PRIMARY KEY, made VARCHAR(64) NOT NULL,"
            " attempt INTEGER NOT NULL, created DOUBLE PRECISION NOT NULL)"
        )
    )


def _keys_and_usage(connection: Connection) -> None:
    """API keys by their hash; what was used in every hour, and by each key in its last minute."""
    connection.execute(
        text(
            "CREATE TABLE api_keys (digest VARCHAR(64) PRIMARY KEY,"
            " id VARCHAR(64) NOT NULL UNIQUE, last_used DOUBLE PRECISION)"
        )
    )
    connection.execute(
        text(
            "CREATE TABLE usage_by_hour (hour BIGINT NOT NULL, api_key VARCHAR(64) NOT NULL,"
            " model VARCHAR(255) NOT NULL, requests BIGINT NOT NULL,"
            " prompt_tokens BIGINT NOT NULL, completion_tokens BIGINT NOT NULL,"
            " errors BIGINT NOT NULL, PRIMARY KEY (hour, api_key, model))"
        )
    )
    connection.execute(
        text("CREATE TABLE last_minutes (api_key VARCHAR(64) PRIMARY KEY, body TEXT NOT NULL)")
    )


def _completions_and_results(connection: Connection) -> None:
    """Chat completions that clients asked to keep; what jobs of many answers have by now."""
    connection.execute(
        text(
            "CREATE TABLE stored_completions (id VARCHAR(64) PRIMARY KEY,"
            " project VARCHAR(64) NOT NULL, created DOUBLE PRECISION NOT NULL,"
            " model VARCHAR(255) NOT NULL, metadata TEXT NOT NULL,"
            " request TEXT NOT NULL, reply TEXT NOT NULL)"
        )
    )
    connection.execute(
        text("CREATE INDEX stored_completions_by_project ON stored_completions (project, id)")
    )
    connection.execute(
        text("CREATE INDEX stored_completions_by_age ON stored_completions (created)")
    )
    connection.execute(
        text(
            "CREATE TABLE job_results (job VARCHAR(64) NOT NULL, number INTEGER NOT NULL,"
            " outcome VARCHAR(16) NOT NULL, body TEXT NOT NULL, PRIMARY KEY (job, number))"
        )
    )


def _deployment_revisions(connection: Connection) -> None:
    """Every change of every deployment, those that are gone included."""
    connection.execute(
        text(
            "CREATE TABLE deployment_revisions (sequence INTEGER PRIMARY KEY AUTOINCREMENT,"
            " deployment VARCHAR(64) NOT NULL, name VARCHAR(255) NOT NULL,"
            " number INTEGER NOT NULL, body TEXT NOT NULL, UNIQUE (deployment, number))"
        )
    )
    connection.execute(
        text("CREATE INDEX deployment_revisions_by_name ON deployment_revisions (name, sequence)")
    )


def _deployment_experience(connection: Connection) -> None:
    """What deployments have lived through, as their server kept it last."""
    connection.execute(
        text(
            "CREATE TABLE deployment_experience (deployment VARCHAR(64) PRIMARY KEY,"
            " body TEXT NOT NULL)"
        )
    )


STEPS: tuple[Step, ...] = (
    _first_tables,
    _projects_and_queue,
    _keys_and_usage,
    _completions_and_results,
    _deployment_revisions,
    _deployment_experience,
)


def is_current(connection: Connection) -> bool:
    """Whether there is nothing to migrate; looking takes no lock.

    Raises:
        RuntimeError: when the database is newer than this program.
    """
    return inspect(connection).has_table("schema_version") and _version(connection) == len(STEPS)


def _version(connection: Connection) -> int:
    found = connection.execute(text("SELECT MAX(version) FROM schema_version")).scalar()
    version = int(found or 0)
    if version > len(STEPS):
        raise RuntimeError(f"schema version {version} is newer than this program knows")
    return version


def migrate(connection: Connection) -> int:
    """Bring the schema up to date and return its version.

    Raises:
        RuntimeError: when the database is newer than this program.
    """
    connection.execute(text("CREATE TABLE IF NOT EXISTS schema_version (version INTEGER NOT NULL)"))
    version = _version(connection)
    for number, step in enumerate(STEPS[version:], start=version + 1):
        step(connection)
        connection.execute(text("INSERT INTO schema_version VALUES (:n)"), {"n": number})
    return len(STEPS)
