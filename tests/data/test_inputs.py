"""Files, folders and patterns → the files that they stand for."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tunewright.config.data import PrepareConfig
from tunewright.core.errors import DataError
from tunewright.data.inputs import Skipped, display_names, find_files
from tunewright.data.sources import opened

TABLE = "question,answer\nq,a\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("b.csv", "a.csv", "deep/er/c.csv", "deep/d.TSV", ".hidden.csv", ".git/x.csv"):
        path = tmp_path / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(TABLE, encoding="utf-8")
    (tmp_path / "data" / "logo.png").write_bytes(b"\x89PNG\r\n")
    return tmp_path / "data"


def found(*named: str | Path, skipped: Skipped | None = None) -> list[Path]:
    return [file.path for file in find_files(map(str, named), skipped or Skipped())]


def test_a_folder_stands_for_all_files_in_it_in_a_fixed_order(folder: Path) -> None:
    skipped = Skipped()
    names = [str(p.relative_to(folder)) for p in found(folder, skipped=skipped)]
    assert names == ["a.csv", "b.csv", "deep/d.TSV", "deep/er/c.csv"]
    assert skipped.names == {"hidden": [".git", ".hidden.csv"], "kinds": ["logo.png"]}


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("*.csv", ["a.csv", "b.csv"]),
        ("**/*.csv", ["a.csv", "b.csv", "deep/er/c.csv"]),
        ("**", ["a.csv", "b.csv", "deep/d.TSV", "deep/er/c.csv"]),
        ("*/*.TSV", ["deep/d.TSV"]),
        ("[ab].csv", ["a.csv", "b.csv"]),
        ("d*p/**/?.csv", ["deep/er/c.csv"]),
        (".*.csv", [".hidden.csv"]),
        ("*", ["a.csv", "b.csv"]),
        ("*.png", ["logo.png"]),
    ],
)
def test_patterns(folder: Path, pattern: str, names: list[str]) -> None:
    assert [str(p.relative_to(folder)) for p in found(folder / pattern)] == names


def test_what_exists_is_no_pattern(tmp_path: Path) -> None:
    for name in ("a[1].csv", "a1.csv"):
        (tmp_path / name).write_text(TABLE, encoding="utf-8")
    assert found(tmp_path / "a[1].csv") == [tmp_path / "a[1].csv"]


def test_links_lead_nowhere(folder: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret.csv").write_text(TABLE, encoding="utf-8")
    (folder / "out").symlink_to(outside)
    (folder / "out.csv").symlink_to(outside / "secret.csv")
    (folder / "deep" / "up").symlink_to(folder)
    skipped = Skipped()
    assert len(found(folder, skipped=skipped)) == 4
    assert skipped.names["links"] == ["out", "out.csv", "deep/up"]
    assert len(found(folder / "**/*.csv")) == 4  # a link that a pattern fits is a file like others
    assert found(folder / "out.csv") == [folder / "out.csv"]


def test_pipes_in_a_folder_are_passed_over(folder: Path) -> None:
    os.mkfifo(folder / "pipe.csv")
    skipped = Skipped()
    assert len(found(folder, skipped=skipped)) == 4
    assert skipped.names["pipes"] == ["pipe.csv"]


def test_a_file_that_is_named_twice_is_read_once(folder: Path) -> None:
    skipped = Skipped()
    assert len(found(folder / "a.csv", folder, folder / "*.csv", skipped=skipped)) == 4
    assert sorted(skipped.names["twice"]) == ["a.csv", "a.csv", "b.csv"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("*.xml", "nothing here fits this pattern"),
        ("no/**/*.csv", "nothing here fits"),
        ("deep/er/none", "there is no such file"),
        ("empty", r"the folder holds no file that can be read \(passed over: kinds: x.docx\)"),
    ],
)
def test_what_gives_nothing_is_an_error(folder: Path, name: str, message: str) -> None:
    (folder / "empty").mkdir()
    (folder / "empty" / "x.docx").write_bytes(b"x")
    config = PrepareConfig(files=(str(folder / name),))
    with pytest.raises(DataError, match=message), opened(config.files, config):
        pass


def test_notes_say_what_was_passed_over(folder: Path) -> None:
    (folder / "empty.csv").write_bytes(b"")
    (folder / "header.csv").write_text("question,answer\n", encoding="utf-8")
    (folder / "README.md").write_text("# About\n\nThese are tables.", encoding="utf-8")
    config = PrepareConfig(files=(str(folder),))
    with opened(config.files, config) as sources:
        notes = {note["kind"]: (note["count"], note["names"]) for note in sources[0].notes}
        assert [s.name for s in sources] == ["a.csv", "b.csv", "d.TSV", "c.csv"]
        assert not any(source.notes for source in sources[1:])
    assert notes == {
        "skipped hidden": (2, ".git, .hidden.csv"),
        "skipped kinds": (1, "logo.png"),
        "skipped empty": (2, "empty.csv, header.csv"),
        "skipped documents": (1, "README.md"),
    }


def test_many_documents_beside_a_table_must_be_told_apart(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(TABLE, encoding="utf-8")
    for n in range(3):
        (tmp_path / f"{n}.md").write_text(f"Text {n}.", encoding="utf-8")
    config = PrepareConfig(files=(str(tmp_path),))
    with pytest.raises(DataError, match="2 more are documents, but 1 other") as caught:
        opened(config.files, config).__enter__()
    assert "**/*.md" in caught.value.hint
    only = (str(tmp_path / "*.md"),)
    with opened(only, PrepareConfig(files=only)) as sources:
        assert {source.kind for source in sources} == {"text"}


def test_damage_in_a_folder_is_not_passed_over(folder: Path) -> None:
    (folder / "bad.parquet").write_bytes(b"PAR1" + bytes(40))
    config = PrepareConfig(files=(str(folder),))
    with pytest.raises(DataError, match=r"bad\.parquet: the Parquet file is damaged"):
        opened(config.files, config).__enter__()


def test_names_are_the_shortest_that_differ_between_all_files(tmp_path: Path) -> None:
    for name in ("x/a.csv", "y/a.csv", "y/b.csv"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(TABLE, encoding="utf-8")
    config = PrepareConfig(files=(str(tmp_path / "x"),), test_files=(str(tmp_path / "y"),))
    for files, names in (
        (config.files, ["x/a.csv"]),
        (config.test_files, ["y/a.csv", "b.csv"]),
    ):
        with opened(files, config) as sources:
            assert [source.name for source in sources] == names


def test_names_are_inert() -> None:
    names = display_names(["/x/\x1b[31mred\x07.csv", "/x/\udcff.csv"])
    assert list(names.values()) == ["\ufffd[31mred\ufffd.csv", "\ufffd.csv"]


def test_naming_very_many_files_stays_quick() -> None:
    files = [f"/data/{n // 100}/{n % 100}.csv" for n in range(20_000)]
    names = display_names(files)
    assert names["/data/7/3.csv"] == "7/3.csv"
    assert len(set(names.values())) == len(files)
