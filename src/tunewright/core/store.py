"""The store: records in SQL beside plain folders; a record shows only once its files are safe."""

from __future__ import annotations

import difflib
import json
import os
import secrets
import shutil
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.exc import DBAPIError

from tunewright import __version__
from tunewright.core.asked_records import ASKED_RECORDS
from tunewright.core.errors import InputError, LeaseLost, NotFoundError, StorageError
from tunewright.core.files import disk_errors, fsync_folder, fsync_tree, make_folder
from tunewright.core.migrations import is_current, migrate
from tunewright.core.records import RECORDS, Record
from tunewright.core.settings import Settings, read_settings

R = TypeVar("R", bound=Record)
_TEMPORARY = ".tmp-"
_LOCK_SECONDS = 120.0
_LOCK_LOOK = 0.05


class Lease(NamedTuple):
    """A job of the queue, and the token under which one worker may work on it."""

    job: str
    token: int


class Store:
    """One home directory. Nothing is created before the first write.

    Args:
        home: the directory; the environment decides when it is not given.
        settings: instead of those of the environment.
        fence: every write first makes sure, in its own transaction, that this lease still holds.
        project: whom the records added belong to, where they do not say so themselves.
    """

    def __init__(
        self,
        home: Path | None = None,
        settings: Settings | None = None,
        *,
        fence: Lease | None = None,
        project: str | None = None,
    ) -> None:
        self.settings = settings or read_settings(home)
        self.home = self.settings.home
        self.project = project
        self._fence = fence
        self._database = self.home / "tunewright.db"
        self._engine: Engine | None = None
        self._opening = threading.Lock()
        self._here = threading.local()

    # Records ---------------------------------------------------------------------------------

    @staticmethod
    def new_id(cls: type[Record]) -> str:
        """A fresh id such as ``run_3f9c2a81b0de``; those of timed kinds sort by their making."""
        begin, digits = (f"{time.time_ns() // 1000:014x}", 5) if cls.timed else ("", 6)
        return f"{cls.prefix}{cls.joint}{begin}{secrets.token_hex(digits)}"

    def add(self, record: Record) -> None:
        """Make a record visible.

        Raises:
            StorageError: when the database cannot be written; nothing is added.
        """
        made_by = {"version": record.version or __version__}
        record = record.model_copy(update={**made_by, "project": record.project or self.project})
        values = {**self._columns(record), "kind": record.kind, "created": record.created}
        values["project"] = record.project
        with self.transaction() as connection:
            connection.execute(
                text(
                    "INSERT INTO records (id, kind, name, project, created, body)"
                    " VALUES (:id, :kind, :name, :project, :created, :body)"
                ),
                values,
            )
            for parent in record.parents():
                connection.execute(
                    text("INSERT INTO lineage (child, parent) VALUES (:child, :parent)"),
                    {"child": record.id, "parent": parent},
                )

    def update(self, record: Record) -> None:
        """Replace a record's body, e.g. a run's state.

        Raises:
            NotFoundError: when the record is not in the store.
        """
        with self.transaction() as connection:
            done = connection.execute(
                text("UPDATE records SET name = :name, body = :body WHERE id = :id"),
                self._columns(record),
            )
            if done.rowcount != 1:
                raise NotFoundError(f"no {record.kind} {record.id!r} in {self.home}")

    def change(self, cls: type[R], record_id: str, **changes: Any) -> R:
        """Change fields of a record as it is now; nobody else's change of it is lost.

        Raises:
            NotFoundError: when the record is not in the store.
        """
        with self.transaction():
            record = self.by_id(cls, record_id)
            if record is None:
                raise NotFoundError(f"no {cls.kind} {record_id!r} in {self.home}")
            record = record.model_copy(update=changes)
            self.update(record)
            return record

    def list(self, cls: type[R], project: str | None = None) -> Sequence[R]:
        """Every record of a kind, newest first; of one project only, where one is named."""
        rows = self.rows(
            "SELECT body FROM records WHERE kind = :kind"
            " AND (:project IS NULL OR project = :project) ORDER BY created DESC, id DESC",
            kind=cls.kind,
            project=project,
        )
        return [cls.model_validate_json(row[0]) for row in rows]

    def by_id(self, cls: type[R], record_id: str) -> R | None:
        """The record of exactly this id."""
        query = "SELECT body FROM records WHERE id = :id AND kind = :kind"
        rows = self.rows(query, id=record_id, kind=cls.kind)
        return cls.model_validate_json(rows[0][0]) if rows else None

    def named(self, cls: type[R], name: str) -> Sequence[R]:
        """Records of exactly this name or id, newest first; however many others there are."""
        rows = self.rows(
            "SELECT body, created, id FROM records WHERE kind = :kind AND name = :name"
            " UNION SELECT body, created, id FROM records WHERE kind = :kind AND id = :name"
            " ORDER BY created DESC, id DESC",
            kind=cls.kind,
            name=name,
        )
        return [cls.model_validate_json(row[0]) for row in rows]

    def find(self, cls: type[R], reference: str) -> R | None:
        """The record by id, name (the newest of that name), unique id prefix, or ``latest``."""
        records = self.list(cls)
        if reference == "latest":
            return records[0] if records else None
        for record in records:
            if reference in (record.id, getattr(record, "name", None)):
                return record
        if len(reference) >= len(cls.prefix) + 4:
            begins = [record for record in records if record.id.startswith(reference)]
            return begins[0] if len(begins) == 1 else None
        return None

    def get(self, cls: type[R], reference: str) -> R:
        """As ``find``, but a missing record is an error.

        Raises:
            NotFoundError: naming the closest known names.
        """
        record = self.find(cls, reference)
        if record is not None:
            return record
        known = [str(v) for r in self.list(cls) for v in (getattr(r, "name", None), r.id) if v]
        close = difflib.get_close_matches(reference, known, n=3, cutoff=0.4) or known[:3]
        hint = (
            f"Known: {', '.join(dict.fromkeys(close))}" if close else f"There is no {cls.kind} yet."
        )
        raise NotFoundError(f"no {cls.kind} {reference!r} in {self.home}", hint)

    def children(self, record_id: str) -> Sequence[str]:
        """Ids of the records made from this one."""
        rows = self.rows("SELECT child FROM lineage WHERE parent = :parent", parent=record_id)
        return [str(row[0]) for row in rows]

    def delete(self, cls: type[Record], reference: str) -> None:
        """Forget a record and remove its folder.

        Raises:
            InputError: when other records were made from it.
        """
        record = self.get(cls, reference)
        children = self.children(record.id)
        if children:
            raise InputError(
                f"{cls.kind} {record.id} is still needed by {', '.join(children)}",
                "Delete those first.",
            )
        with self.transaction() as connection:
            connection.execute(text("DELETE FROM records WHERE id = :id"), {"id": record.id})
            connection.execute(text("DELETE FROM lineage WHERE child = :id"), {"id": record.id})
        shutil.rmtree(self.folder(cls, record.id), ignore_errors=True)

    # Folders ---------------------------------------------------------------------------------

    def folder(self, cls: type[Record], record_id: str) -> Path:
        """Where a record's files are."""
        return self.home / cls.folder / record_id

    def open_folder(self, cls: type[Record], record_id: str) -> Path:
        """Make the folder of a record that is written in place, such as a run."""
        folder = self.folder(cls, record_id)
        with disk_errors(folder):
            make_folder(folder.parent)
            folder.mkdir()
            fsync_folder(folder.parent)
        return folder

    @contextmanager
    def stage(self, cls: type[Record], record_id: str) -> Iterator[Path]:
        """A temporary folder that becomes the record's folder when the block ends well.

        Raises:
            StorageError: when the disk refuses; nothing stays behind.
        """
        final = self.folder(cls, record_id)
        temporary = final.parent / f"{_TEMPORARY}{os.getpid()}-{record_id}"
        with disk_errors(final):
            make_folder(final.parent)
            sweep_temporary(final.parent)
            try:
                temporary.mkdir()
                yield temporary
                fsync_tree(temporary)
                self.require_lease()
                # Left by a kill between this rename and the row: unseen, so replaceable.
                shutil.rmtree(final, ignore_errors=True)
                temporary.rename(final)
                fsync_folder(final.parent)
            finally:
                shutil.rmtree(temporary, ignore_errors=True)

    # Database --------------------------------------------------------------------------------

    def close(self) -> None:
        """Release the database."""
        if self._engine is not None:
            self._engine.dispose()
            self._engine = None

    @staticmethod
    def _columns(record: Record) -> dict[str, Any]:
        body = json.dumps(record.model_dump(mode="json"), ensure_ascii=False)
        return {"id": record.id, "name": getattr(record, "name", None), "body": body}

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """One write transaction, all or nothing; this thread's writes inside it are part of it.

        Raises:
            LeaseLost: the store's fence does not hold any more; nothing is written.
            StorageError: when the database cannot be written; nothing is written.
        """
        joined: Connection | None = getattr(self._here, "connection", None)
        if joined is not None:
            yield joined
            return
        engine = self._connect().execution_options(immediate=True)
        with self._translated(), engine.begin() as connection:
            self._check_fence(connection)
            self._here.connection = connection
            try:
                yield connection
            finally:
                self._here.connection = None

    def require_lease(self) -> None:
        """Make sure that the fence, if there is one, still holds.

        Raises:
            LeaseLost: it does not.
        """
        if self._fence is not None:
            with self.transaction():
                return

    def rows(self, query: str, **values: Any) -> Sequence[Any]:
        """The rows of a SELECT; none before the database exists."""
        joined: Connection | None = getattr(self._here, "connection", None)
        if joined is not None:
            return joined.execute(text(query), values).all()
        if self._engine is None and not self._database.exists():
            return []
        with self._translated(), self._connect().connect() as connection:
            return connection.execute(text(query), values).all()

    def _check_fence(self, connection: Connection) -> None:
        if self._fence is None:
            return
        found = connection.execute(
            text("SELECT 1 FROM queue WHERE id = :id AND token = :token AND state = 'running'"),
            {"id": self._fence.job, "token": self._fence.token},
        ).first()
        if found is None:
            raise LeaseLost(f"job {self._fence.job} is another worker's by now, or ended")

    def _connect(self) -> Engine:
        with self._opening:
            if self._engine is None:
                self._engine = self._open()
            return self._engine

    def _open(self) -> Engine:
        with disk_errors(self.home):
            make_folder(self.home)
        waiting = {"timeout": _LOCK_SECONDS}
        engine = create_engine(f"sqlite:///{self._database}", connect_args=waiting)
        event.listen(engine, "connect", _durable)
        event.listen(engine, "begin", _begin)
        with self._translated():
            try:
                with engine.connect() as connection:
                    current = is_current(connection)
                if not current:
                    with engine.execution_options(immediate=True).begin() as connection:
                        migrate(connection)
            except RuntimeError as error:
                raise InputError(f"{self._database}: {error}", "Update Tunewright.") from None
        return engine

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except DBAPIError as error:
            raise StorageError(
                f"database {self._database}: {error.orig}",
                "Nothing was changed. Check free space and permissions of the home folder.",
            ) from error


def _durable(connection: Any, _: Any) -> None:
    # Transactions begin when we say so: a writer that reads first must not be overtaken.
    connection.isolation_level = None
    cursor = connection.cursor()
    end = time.monotonic() + _LOCK_SECONDS
    while True:
        try:
            cursor.execute("PRAGMA journal_mode=WAL")
            break
        except sqlite3.OperationalError:
            # The first processes of a home; SQLite does not wait by itself here.
            if time.monotonic() > end:
                raise
            time.sleep(_LOCK_LOOK)
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.close()


def _begin(connection: Connection) -> None:
    immediate = connection.get_execution_options().get("immediate", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")


def sweep_temporary(folder: Path) -> None:
    """Remove temporary folders whose process is gone."""
    for path in folder.glob(f"{_TEMPORARY}*"):
        pid = path.name[len(_TEMPORARY) :].split("-", 1)[0]
        if pid.isdigit() and not Path(f"/proc/{pid}").exists() and not _alive(int(pid)):
            shutil.rmtree(path, ignore_errors=True)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def all_kinds() -> dict[str, type[Record]]:
    """``{"datasets": Dataset, …}``: the record types by their folder's name."""
    return {cls.folder: cls for cls in (*RECORDS, *ASKED_RECORDS)}
