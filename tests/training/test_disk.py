"""A full disk: the run waits and goes on when there is room, or ends with everything intact."""

from __future__ import annotations

import errno
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tunewright.config.training import TrainConfig
from tunewright.core.dataset_io import read_rows
from tunewright.core.errors import StorageError
from tunewright.core.events import Event
from tunewright.core.files import disk_errors, sha256_file
from tunewright.core.records import Dataset, Model, Run
from tunewright.core.settings import Settings
from tunewright.core.store import Store
from tunewright.training.checkpoints import newest_checkpoint
from tunewright.training.disk import DiskPatience, is_full
from tunewright.training.history import read_history
from tunewright.training.train import resume, train

Recipe = Callable[..., TrainConfig]
NewDataset = Callable[..., Dataset]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of 4 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)], capture_output=True
    )
    if mounted.returncode:
        pytest.skip("a small file system cannot be mounted here")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture
def small_store(small_disk: Path) -> Iterator[Store]:
    home = small_disk / "home"
    opened = Store(home, Settings(home=home, offline=True))
    yield opened
    opened.close()


def copy_dataset(store: Store, dataset: Dataset, target: Store) -> None:
    from tunewright.core.dataset_io import write_rows

    rows = store.folder(Dataset, dataset.id)
    with target.stage(Dataset, dataset.id) as folder:
        for split in ("train", "dev", "test"):
            write_rows(folder / f"{split}.jsonl", read_rows(rows, split))
    target.add(dataset)


def fill(disk: Path) -> None:
    """Take all the room that is left."""
    with open(disk / "ballast", "wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(4096))
    assert shutil.disk_usage(disk).free < 4096


def test_the_run_waits_for_room_and_ends_as_if_nothing_had_happened(
    store: Store, small_store: Store, small_disk: Path, dataset: Dataset, recipe: Recipe
) -> None:
    config = recipe(save_steps=2, keep_checkpoints=1)
    whole = train(config, store)
    copy_dataset(store, dataset, small_store)
    waited: list[Event] = []
    notes: list[str] = []

    def listen(event: Event) -> None:
        if event.kind == "step" and event.data["step"] == 5:
            fill(small_disk)
        elif event.kind == "waiting":
            waited.append(event)
            if len(waited) == 2:
                (small_disk / "ballast").unlink()
        elif event.kind == "note":
            notes.append(event.data["text"])

    model = train(config, small_store, listen)
    assert len(waited) == 2
    assert waited[0].data["free_bytes"] < 4096
    assert "the disk is full" in waited[0].data["reason"]
    assert any("there is room again" in note for note in notes)
    files = [
        place.folder(Model, one.id) / "adapter_model.safetensors"
        for place, one in ((store, whole), (small_store, model))
    ]
    assert sha256_file(files[0]) == sha256_file(files[1])
    steps = read_history(small_store.folder(Run, model.run))
    assert [step["step"] for step in steps] == list(range(1, steps[-1]["steps"] + 1))


def test_without_room_it_gives_up_with_earlier_checkpoints_intact(
    store: Store, small_store: Store, small_disk: Path, dataset: Dataset, recipe: Recipe
) -> None:
    copy_dataset(store, dataset, small_store)
    told: list[Event] = []

    def listen(event: Event) -> None:
        told.append(event)
        if event.kind == "step" and event.data["step"] == 5:
            fill(small_disk)

    with pytest.raises(StorageError, match="the disk is full") as failure:
        train(recipe(save_steps=2, watch={"wait_for_disk": 0.01}), small_store, listen)
    assert sum(event.kind == "waiting" for event in told) >= 1
    run = small_store.list(Run)[0]
    assert f"tunewright train --resume {run.id}" in failure.value.hint
    found = newest_checkpoint(small_store.folder(Run, run.id) / "checkpoints")
    assert found is not None
    assert found.state.step == 4
    (small_disk / "ballast").unlink()
    assert resume(run.id, small_store).run == run.id


def refusing(times: int, number: int = errno.ENOSPC) -> Callable[[], str]:
    """A write that is refused so many times."""
    left = [times]

    def write() -> str:
        with disk_errors(Path("x")):
            if left[0]:
                left[0] -= 1
                raise OSError(number, "refused", "x")
        return "written"

    return write


def patience(tmp_path: Path, slept: list[float], minutes: float = 10) -> DiskPatience:
    return DiskPatience(tmp_path, minutes, lambda event: None, lambda: False, slept.append)


def test_pauses_double_up_to_a_minute_and_end_at_the_limit(tmp_path: Path) -> None:
    slept: list[float] = []
    assert patience(tmp_path, slept)(refusing(4)) == "written"
    assert sum(slept) == pytest.approx(1 + 2 + 4 + 8)
    slept.clear()
    with pytest.raises(StorageError):
        patience(tmp_path, slept)(refusing(10**6))
    assert sum(slept) == pytest.approx(600)


def test_other_refusals_are_not_waited_for(tmp_path: Path) -> None:
    for number in (errno.EFBIG, errno.EROFS, errno.EIO):
        slept: list[float] = []
        with pytest.raises(StorageError):
            patience(tmp_path, slept)(refusing(1, number))
        assert slept == []
    slept = []
    with pytest.raises(StorageError):
        patience(tmp_path, slept, minutes=0)(refusing(1))
    assert slept == []


def test_who_wants_to_stop_need_not_wait(tmp_path: Path) -> None:
    asked = DiskPatience(tmp_path, 10, lambda event: None, lambda: True)
    with pytest.raises(StorageError):
        asked(refusing(1))


def test_a_full_disk_is_known_by_whoever_says_so(small_disk: Path) -> None:
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import save_file
    from sqlalchemy import create_engine, text
    from sqlalchemy.exc import OperationalError

    engine = create_engine(f"sqlite:///{small_disk / 'x.db'}")
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE t (x)"))
    fill(small_disk)
    with pytest.raises(OperationalError) as database, engine.begin() as connection:
        connection.execute(text("INSERT INTO t VALUES (:x)"), {"x": "y" * 100_000})
    engine.dispose()
    with pytest.raises((SafetensorError, OSError)) as tensors:
        save_file({"a": torch.zeros(100_000)}, small_disk / "x.safetensors")
    assert is_full(database.value)
    assert is_full(tensors.value)
    assert not is_full(ValueError("os error"))
