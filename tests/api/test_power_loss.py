"""The power fails at any moment: whatever was promised is there, and nothing that shows is torn.

A disk keeps what was flushed. Of the rest it may keep nothing, or the names without the contents;
after every flush both are tried. The database flushes itself (SQLite, WAL, synchronous=FULL).
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
import sqlite3
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tunewright.api.app import create_app
from tunewright.config.serving import ServeConfig
from tunewright.core.records import File, FineTuningJob
from tunewright.core.settings import Settings
from tunewright.core.store import Store
from tunewright.jobs.filestore import content_path

from .test_fine_tuning import examples

DATABASE = "tunewright.db"


class Disk:
    """What of a folder has been flushed: contents of files and names in folders, by inode.

    Args:
        home: the folder; it was there before.
        after: called after every flush.
    """

    def __init__(self, home: Path, after: Callable[[], None]) -> None:
        self.home = home
        self._after = after
        self._flush = os.fsync
        self._contents: dict[int, bytes] = {}
        self._names: dict[int, dict[str, int]] = {}

    def fsync(self, handle: int) -> None:
        """In the place of the system's."""
        self._flush(handle)
        what = os.fstat(handle)
        path = Path(f"/proc/self/fd/{handle}")
        # The number may have been another one's, who is gone.
        self._contents.pop(what.st_ino, None)
        self._names.pop(what.st_ino, None)
        if stat.S_ISDIR(what.st_mode):
            self._names[what.st_ino] = {one.name: one.inode() for one in os.scandir(path)}
        else:
            self._contents[what.st_ino] = path.read_bytes()
        self._after()

    def least(self, to: Path) -> None:
        """The folder as it is when nothing but what was flushed is left."""
        self._rebuild(self.home.stat().st_ino, to)

    def names_only(self, to: Path) -> None:
        """The folder as it is when every name is left, and no content that was not flushed."""
        for path in [self.home, *self.home.rglob("*")]:
            here = to / path.relative_to(self.home)
            if path.is_dir():
                here.mkdir(parents=True, exist_ok=True)
            elif not path.name.startswith(DATABASE):
                here.write_bytes(self._contents.get(path.stat().st_ino, b""))

    def _rebuild(self, folder: int, to: Path) -> None:
        to.mkdir(parents=True, exist_ok=True)
        for name, inode in self._names.get(folder, {}).items():
            if inode in self._contents:
                (to / name).write_bytes(self._contents[inode])
            elif inode in self._names:
                self._rebuild(inode, to / name)


class Promises:
    """What clients were told, and whether it holds after a power cut."""

    def __init__(self, home: Path, scratch: Path) -> None:
        self.disk = Disk(home, self.check)
        self.scratch = scratch
        self.states = 0
        self.files: dict[str, bytes] = {}
        self.jobs: list[str] = []
        self.broken: list[str] = []

    def check(self) -> None:
        """Cut the power now, both ways."""
        if not (self.disk.home / DATABASE).exists():
            return
        for cut in (self.disk.least, self.disk.names_only):
            self.states += 1
            after = self.scratch / f"after{self.states}"
            cut(after)
            with (
                sqlite3.connect(f"file:{self.disk.home / DATABASE}?mode=ro", uri=True) as before,
                sqlite3.connect(after / DATABASE) as copy,
            ):
                before.backup(copy)
            before.close()
            copy.close()
            store = Store(after, Settings(home=after, offline=True))
            self.broken += [f"{cut.__name__}: {what}" for what in self._broken(store)]
            store.close()
            shutil.rmtree(after)

    def _broken(self, store: Store) -> Iterator[str]:
        shown = {file.id: file for file in store.list(File)}
        if lost := self.files.keys() - shown.keys():
            yield f"files {lost} are lost"
        if lost := set(self.jobs) - {job.id for job in store.list(FineTuningJob)}:
            yield f"jobs {lost} are lost"
        for file_id, file in shown.items():
            path = content_path(store, file)
            body = path.read_bytes() if path.is_file() else None
            if body is None or hashlib.sha256(body).hexdigest() != file.sha256:
                yield f"file {file_id} has lost its content"
            elif body != self.files.get(file_id, body):
                yield f"file {file_id} has another one's content"


@pytest.mark.parametrize("rounds", [3, pytest.param(20, marks=pytest.mark.slow)])
def test_what_was_promised_outlives_a_power_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rounds: int
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    promises = Promises(home, tmp_path)
    monkeypatch.setattr(os, "fsync", promises.disk.fsync)
    store = Store(home, Settings(home=home, offline=True))
    app = create_app(store, ServeConfig.build({"jobs": {"slots": 0}}))

    async def story() -> None:
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(
                transport=httpx.ASGITransport(app), base_url="http://localhost/v1"
            ) as client,
        ):
            for number in range(rounds):
                await promise(client, promises, examples(10 + number))
                promises.check()

    asyncio.run(story())
    assert [tuple(row) for row in store.rows("PRAGMA synchronous")] == [(2,)]
    assert [tuple(row) for row in store.rows("PRAGMA journal_mode")] == [("wal",)]
    store.close()
    assert promises.broken == []
    assert promises.states >= 16 * rounds


async def promise(client: httpx.AsyncClient, promises: Promises, body: bytes) -> None:
    """A file, a file in parts, and a job, each noted as soon as its reply is there."""

    async def told(reply: httpx.Response) -> dict[str, Any]:
        assert reply.status_code == 200, reply.text
        found: dict[str, Any] = reply.json()
        return found

    sent = {"files": {"file": ("a.jsonl", body)}, "data": {"purpose": "fine-tune"}}
    file = await told(await client.post("/files", **sent))
    promises.files[file["id"]] = body
    order = {"filename": "b.jsonl", "purpose": "fine-tune", "bytes": len(body),
             "mime_type": "application/jsonl"}  # fmt: skip
    upload = await told(await client.post("/uploads", json=order))
    half = len(body) // 2
    parts = []
    for piece in (body[:half], body[half:]):
        added = await client.post(f"/uploads/{upload['id']}/parts", files={"data": ("p", piece)})
        parts.append((await told(added))["id"])
    done = await client.post(f"/uploads/{upload['id']}/complete", json={"part_ids": parts})
    promises.files[(await told(done))["file"]["id"]] = body
    job = await client.post(
        "/fine_tuning/jobs", json={"model": "nano", "training_file": file["id"]}
    )
    promises.jobs.append((await told(job))["id"])
