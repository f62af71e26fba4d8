"""Exports are whole or not there: kills, full disks, folders that exist."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.export.conftest import MakeTuned
from tests.export.test_merged import make

from tunewright.core.errors import InputError, StorageError
from tunewright.core.store import Store
from tunewright.export.staging import FAILED, refuse_full_disk, staged


def test_a_kill_leaves_nothing_half_made(
    store: Store, make_tuned: MakeTuned, tmp_path: Path
) -> None:
    model = make_tuned()
    target = tmp_path / "out" / "expert"
    command = [sys.executable, "-m", "tunewright", "export", model.id, "--home", str(store.home),
               "--output", str(target)]  # fmt: skip
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    while process.poll() is None and not list(target.parent.glob(".tmp-*/model.safetensors")):
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not target.exists()
    assert len(list(target.parent.iterdir())) == 1  # what it was working on
    made = make(store, model, output=str(target))
    assert made.passed
    assert [path.name for path in target.parent.iterdir()] == ["expert"]


@contextmanager
def small_files() -> Iterator[None]:
    """No file may grow beyond 64 KiB, as on a disk that is full."""
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, old[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
        signal.signal(signal.SIGXFSZ, ignored)


def test_a_refusing_disk_leaves_nothing(
    store: Store, make_tuned: MakeTuned, tmp_path: Path
) -> None:
    model = make_tuned()
    target = tmp_path / "out" / "expert"
    with small_files(), pytest.raises(StorageError, match="larger than allowed"):
        make(store, model, output=str(target))
    assert list(target.parent.iterdir()) == []


def test_more_than_is_free_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    target = tmp_path / "not" / "there"
    with pytest.raises(StorageError, match="GB free"):
        refuse_full_disk(target, 1 << 60)
    assert list(tmp_path.iterdir()) == []


def test_an_existing_folder_is_kept_unless_told(
    store: Store, make_tuned: MakeTuned, tmp_path: Path
) -> None:
    model = make_tuned()
    target = tmp_path / "expert"
    target.mkdir()
    (target / "mine.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(InputError, match="exists"):
        make(store, model, output=str(target))
    assert [path.name for path in target.iterdir()] == ["mine.txt"]
    made = make(store, model, output=str(target), overwrite=True)
    assert made.folder == target
    assert not (target / "mine.txt").exists()


def test_a_home_folder_is_never_replaced(store: Store, make_tuned: MakeTuned) -> None:
    model = make_tuned()
    with pytest.raises(InputError, match="home folder"):
        make(store, model, output=str(store.home), overwrite=True)


def test_a_replacement_cut_short_is_undone_by_the_next_export(tmp_path: Path) -> None:
    target = tmp_path / "expert"
    old = tmp_path / ".expert.replaced"
    old.mkdir()
    (old / "kept.txt").write_text("kept", encoding="utf-8")
    with pytest.raises(ZeroDivisionError), staged(target):
        raise ZeroDivisionError
    assert (target / "kept.txt").read_text(encoding="utf-8") == "kept"
    assert not old.exists()


def test_a_failed_export_takes_another_name(tmp_path: Path) -> None:
    target = tmp_path / "expert"
    with staged(target) as good:
        (good.folder / "x").write_text("1", encoding="utf-8")
    with staged(target) as bad:
        (bad.folder / "x").write_text("2", encoding="utf-8")
        bad.failed = True
    assert (target / "x").read_text(encoding="utf-8") == "1"
    assert (tmp_path / f"expert{FAILED}" / "x").read_text(encoding="utf-8") == "2"
    assert os.listdir(tmp_path) != []
    assert not list(tmp_path.glob(".*"))
