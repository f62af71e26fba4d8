"""The store: nothing half-made is ever visible, nothing needed is ever deleted."""

import errno
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tunewright.core.errors import InputError, NotFoundError, StorageError
from tunewright.core.records import Dataset, Model, Run
from tunewright.core.store import Store


def make_dataset(record_id: str = "ds_000000000001", name: str = "legal") -> Dataset:
    return Dataset(
        id=record_id,
        name=name,
        files=("a.csv",),
        digest="0" * 64,
        config={},
        rows={"read": 1, "kept": 1, "dropped": {}, "truncated": 0},
        splits={"train": 1, "dev": 0, "test": 0},
        base="nano",
        tokens={},
    )


def make_run(dataset: str, record_id: str = "run_000000000001") -> Run:
    return Run(id=record_id, dataset=dataset, base="nano", config={}, state="running")


@pytest.fixture
def fresh(tmp_path: Path):
    store = Store(tmp_path / "home")
    yield store
    store.close()


def test_reading_creates_nothing(fresh: Store) -> None:
    assert list(fresh.list(Dataset)) == []
    with pytest.raises(NotFoundError, match="no dataset 'legal'"):
        fresh.get(Dataset, "legal")
    assert not fresh.home.exists()


def test_records_come_back_as_they_went_in(fresh: Store) -> None:
    fresh.add(make_dataset())
    found = fresh.get(Dataset, "legal")
    assert found.model_copy(update={"version": ""}) == make_dataset().model_copy(
        update={"created": found.created}
    )
    assert found.version


def test_references_are_id_name_prefix_or_latest(fresh: Store) -> None:
    fresh.add(make_dataset("ds_aaaa00000001").model_copy(update={"created": 1.0}))
    fresh.add(make_dataset("ds_bbbb00000002").model_copy(update={"created": 2.0}))
    assert fresh.get(Dataset, "latest").id == "ds_bbbb00000002"
    assert fresh.get(Dataset, "legal").id == "ds_bbbb00000002"
    assert fresh.get(Dataset, "ds_aaaa").id == "ds_aaaa00000001"
    with pytest.raises(NotFoundError, match="Known: ") as caught:
        fresh.get(Dataset, "legla")
    assert "legal" in caught.value.hint


def test_records_of_a_name_are_found_newest_first(fresh: Store) -> None:
    assert list(fresh.named(Dataset, "legal")) == []
    for number in (1, 2):
        record = make_dataset(f"ds_00000000000{number}")
        fresh.add(record.model_copy(update={"created": float(number)}))
    names = [record.id for record in fresh.named(Dataset, "legal")]
    assert names == ["ds_000000000002", "ds_000000000001"]
    assert [record.id for record in fresh.named(Dataset, names[1])] == names[1:]
    assert not [*fresh.named(Dataset, "ds_0000"), *fresh.named(Run, "legal")]


def test_another_process_sees_what_was_added(fresh: Store) -> None:
    fresh.add(make_dataset())
    program = textwrap.dedent(
        f"""
        from pathlib import Path
        from tunewright.core.records import Dataset
        from tunewright.core.store import Store
        print(Store(Path({str(fresh.home)!r})).get(Dataset, "latest").id)
        """
    )
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "ds_000000000001"


def test_an_update_of_a_missing_record_is_refused(fresh: Store) -> None:
    with pytest.raises(NotFoundError):
        fresh.update(make_run("ds_1"))


def test_what_others_were_made_from_cannot_be_deleted(fresh: Store) -> None:
    fresh.add(make_dataset())
    fresh.add(make_run("ds_000000000001"))
    with pytest.raises(InputError, match="still needed by run_000000000001"):
        fresh.delete(Dataset, "legal")
    fresh.delete(Run, "run_000000000001")
    fresh.delete(Dataset, "legal")
    assert list(fresh.list(Dataset)) == []


def test_a_staged_folder_appears_whole_or_not_at_all(fresh: Store) -> None:
    with pytest.raises(ZeroDivisionError), fresh.stage(Dataset, "ds_1") as folder:
        (folder / "train.jsonl").write_text("{}")
        raise ZeroDivisionError
    assert not any((fresh.home / "datasets").iterdir())
    with fresh.stage(Dataset, "ds_1") as folder:
        (folder / "train.jsonl").write_text("{}")
    assert (fresh.folder(Dataset, "ds_1") / "train.jsonl").read_text() == "{}"


def test_a_full_disk_is_named_and_leaves_nothing(fresh: Store) -> None:
    with pytest.raises(StorageError, match="the disk is full"), fresh.stage(Dataset, "ds_1"):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert not any((fresh.home / "datasets").iterdir())


def test_folders_of_killed_processes_are_swept(fresh: Store) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    leftover = fresh.home / "datasets" / f".tmp-{dead.pid}-ds_9"
    leftover.mkdir(parents=True)
    with fresh.stage(Dataset, "ds_1"):
        pass
    assert not leftover.exists()


def test_a_newer_database_is_refused(fresh: Store) -> None:
    from sqlalchemy import create_engine, text

    fresh.add(make_dataset())
    fresh.close()
    engine = create_engine(f"sqlite:///{fresh.home / 'tunewright.db'}")
    with engine.begin() as connection:
        connection.execute(text("INSERT INTO schema_version VALUES (999)"))
    engine.dispose()
    with pytest.raises(InputError, match="newer than this program"):
        fresh.list(Model)
