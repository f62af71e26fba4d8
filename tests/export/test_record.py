"""Exports as records: what was made, whether it is there, and its end."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from tests.export.conftest import MakeTuned
from tests.export.test_parity import run

from tunewright.core.errors import InputError
from tunewright.core.records import Export, Model
from tunewright.core.store import Store
from tunewright.export.record import delete_export, whereabouts

QUICK = ("--parity-prompts", "2", "--parity-max-new-tokens", "8", "--parity-device", "cpu")


@pytest.fixture
def tuned(make_tuned: MakeTuned) -> Model:
    """A tuned model in the store."""
    return make_tuned()


def test_an_exports_life(store: Store, tuned: Model, capsys: pytest.CaptureFixture[str]) -> None:
    home = ("--home", str(store.home))
    code, made, err = run(capsys, "export", tuned.id, "--to", "adapter", *QUICK, *home)
    assert code == 0, err
    record = store.get(Export, "latest")
    assert (made["export"], made["artifact"]) == (record.id, record.path)
    assert (record.model_id, record.format, record.state) == (tuned.id, "adapter", "succeeded")
    assert record.bytes == made["bytes"] > 0
    assert record.parity is not None
    assert (record.parity["passed"], record.parity["identical"]) == (True, 2)
    assert record.settings["parity"]["prompts"] == 2
    assert record.manifest["base_digest"] == tuned.base_digest
    assert record.manifest["dataset"].startswith("ds_")
    assert set(record.manifest) > {"tunewright", "torch", "transformers", "evaluation"}
    code, shown, _ = run(capsys, "exports", "show", "latest", *home)
    assert (shown["folder"], shown["whereabouts"]) == (record.path, "there")
    assert shown["parents"] == [tuned.id]
    code, listed, err = run(capsys, "exports", "list", *home)
    assert [one["id"] for one in listed["exports"]] == [record.id]
    assert record.id in err
    # What was made of a model keeps it, as its evaluations do.
    code, _, err = run(capsys, "models", "delete", tuned.id, *home)
    assert code == 2
    assert record.id in err
    code, _, err = run(capsys, "exports", "delete", record.id, *home)
    assert code == 2
    assert "--yes" in err
    assert Path(record.path).is_dir()
    code, gone, _ = run(capsys, "exports", "delete", record.id, "--yes", *home)
    assert (code, gone) == (0, {"deleted": record.id})
    assert not Path(record.path).exists()
    assert store.list(Export) == []
    assert run(capsys, "models", "delete", tuned.id, *home)[0] == 0


def test_a_folder_that_is_gone_or_another_is_told(
    store: Store,
    tuned: Model,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    target = tmp_path / "expert"
    arguments = ("export", tuned.id, "--to", "adapter", "--output", str(target), "--home",
                 str(store.home), "--no-parity-check")  # fmt: skip
    assert run(capsys, *arguments)[0] == 0
    first = store.get(Export, "latest")
    assert first.parity is None
    # What takes its place takes the place of its record too.
    assert run(capsys, *arguments, "--overwrite")[0] == 0
    (record,) = store.list(Export)
    assert record.id != first.id
    (target / "README.md").write_text("mine", encoding="utf-8")
    assert whereabouts(record) == "changed"
    with pytest.raises(InputError, match="has changed"):
        delete_export(store, record)
    assert target.is_dir()
    shutil.rmtree(target)
    home = ("--home", str(store.home))
    monkeypatch.setenv("COLUMNS", "160")
    err = run(capsys, "exports", "list", *home)[2]
    assert "folder gone" in " ".join(err.split())
    assert run(capsys, "exports", "delete", record.id, *home)[0] == 0


def test_what_does_not_come_to_an_end_leaves_no_record(
    store: Store, tuned: Model, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    occupied = tmp_path / "there"
    occupied.mkdir()
    arguments = ("--to", "adapter", "--output", str(occupied), "--home", str(store.home))
    code, _, err = run(capsys, "export", tuned.id, *arguments)
    assert code == 2
    assert "exists" in err
    assert store.list(Export) == []


def test_one_that_is_not_equal_is_a_failed_one(
    store: Store, tuned: Model, capsys: pytest.CaptureFixture[str]
) -> None:
    bounds = ("--to", "gguf", "--gguf", "q4_0", "--parity-tolerance-divergence", "1e-12", *QUICK)
    code, made, _ = run(capsys, "export", tuned.id, *bounds, "--home", str(store.home))
    assert code == 1
    record = store.get(Export, made["export"])
    assert (record.state, record.error) == ("failed", "it does not answer as its model does")
    assert record.path.endswith(".failed")
    assert record.parity is not None
    assert "divergence" in record.parity["failures"][0]
    assert json.dumps(record.parity["first_difference"])
