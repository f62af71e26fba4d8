"""A migration that is killed changes nothing, and is done again as if it had never begun."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from tunewright.core.migrations import STEPS
from tunewright.core.records import File
from tunewright.core.settings import Settings
from tunewright.core.store import Store

KILLED = """
import os, signal, sys
from pathlib import Path
from tunewright.core import migrations
from tunewright.core.queue import Queue
from tunewright.core.store import Store

steps, at = migrations.STEPS, int(sys.argv[2])

def last(connection):
    steps[at](connection)
    os.kill(os.getpid(), signal.SIGKILL)

migrations.STEPS = (*steps[:at], last)
Queue(Store(Path(sys.argv[1]))).enqueue("job", "tune", "shop")
"""


@pytest.mark.parametrize("at", range(len(STEPS)))
def test_a_killed_migration_is_done_again(tmp_path: Path, at: int) -> None:
    home = tmp_path / "home"
    done = subprocess.run([sys.executable, "-c", KILLED, str(home), str(at)], check=False)
    assert done.returncode == -signal.SIGKILL
    with sqlite3.connect(home / "tunewright.db") as connection:
        tables = connection.execute("SELECT name FROM sqlite_master").fetchall()
    connection.close()
    assert tables == []
    store = Store(home, Settings(home=home, offline=True))
    file = File(id=store.new_id(File), name="a", purpose="batch", bytes=1, sha256="0" * 64,
                project="shop")  # fmt: skip
    store.add(file)
    assert [one.id for one in store.list(File)] == [file.id]
    assert [row[0] for row in store.rows("PRAGMA integrity_check")] == ["ok"]
    store.close()
