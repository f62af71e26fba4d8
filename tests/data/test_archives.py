"""Archives: unpacked within limits, named by what is in them, gone afterwards."""

from __future__ import annotations

import gzip
import io
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tools.malformed.containers import claiming, encrypted, parquet, workbook, zipped

from tunewright.config.data import PrepareConfig
from tunewright.core.errors import DataError, StorageError
from tunewright.data import limits
from tunewright.data.sources import Source, opened

TABLE = "question,answer\nq,a\n"


@pytest.fixture(autouse=True)
def room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of this test's own for what is unpacked."""
    folder = tmp_path / "room"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@contextmanager
def reading(path: Path, **options: Any) -> Iterator[list[Source]]:
    config = PrepareConfig(files=(str(path),), **options)
    with opened(config.files, config) as sources:
        yield sources


def written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def refusal(path: Path) -> str:
    with pytest.raises(DataError) as caught, reading(path):
        pass
    return str(caught.value)


def test_a_zip_of_everything(tmp_path: Path, room: Path) -> None:
    rows = [{"question": "q", "answer": "a"}]
    path = written(
        tmp_path / "export.zip",
        zipped(
            {
                "2024/b.csv": TABLE,
                "2024/a.csv": "question,answer\n问,答\n".encode("gb18030"),
                "book.xlsx": workbook({"s": [["question", "answer"], ["q", "a"]]}),
                "data.parquet": parquet(rows),
                "lines.jsonl": '{"question": "q", "answer": "a"}\n',
                ".DS_Store": b"\0",
                "__MACOSX/2024/a.csv": b"\0",
                "old.zip": b"PK",
                "photo.jpg": b"\xff\xd8\xff",
            }
        ),
    )
    with reading(path) as sources:
        assert [(s.name, s.kind) for s in sources] == [
            ("export.zip/2024/a.csv", "csv"),
            ("export.zip/2024/b.csv", "csv"),
            ("export.zip/book.xlsx", "xlsx"),
            ("export.zip/data.parquet", "parquet"),
            ("export.zip/lines.jsonl", "jsonl"),
        ]
        assert sources[0].encoding == "GB18030"
        for source in sources:
            assert len(list(source.read())) == 1
        notes = {note["kind"]: note["names"] for note in sources[0].notes}
        (private,) = room.iterdir()
        assert private.stat().st_mode & 0o777 == 0o700
    assert notes == {
        "skipped hidden": "export.zip/.DS_Store, export.zip/__MACOSX/2024/a.csv",
        "skipped nested": "export.zip/old.zip",
        "skipped kinds": "export.zip/photo.jpg",
    }
    assert list(room.iterdir()) == []


def test_nothing_stays_behind_after_an_error(tmp_path: Path, room: Path) -> None:
    path = written(tmp_path / "a.zip", zipped({"a.csv": TABLE, "b.csv": b"%PDF-1.7"}))
    assert "a.zip/b.csv: this is a PDF document" in refusal(path)
    assert list(room.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "data", "kind"),
    [
        ("a.csv.gz", TABLE.encode(), "csv"),
        ("a.jsonl.gz", b'{"question": "q", "answer": "a"}\n', "jsonl"),
        ("a.md.gz", b"# T\n\nText.", "text"),
        ("a.gz", TABLE.encode(), "csv"),
        ("renamed.csv", TABLE.encode(), "csv"),
        ("b.xlsx.gz", workbook({"s": [["question", "answer"], ["q", "a"]]}), "xlsx"),
    ],
)
def test_gzip(tmp_path: Path, name: str, data: bytes, kind: str) -> None:
    with reading(written(tmp_path / name, gzip.compress(data))) as (source,):
        assert (source.name, source.kind) == (name, kind)
        assert next(source.read()).number


def test_member_names_that_were_written_without_utf8(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in ("XXXXXXXX.csv", "YYYYYY.csv"):
            archive.writestr(name, TABLE)
    data = buffer.getvalue().replace(b"XXXXXXXX", "问答汇总".encode("gb18030"))
    path = written(tmp_path / "a.zip", data.replace(b"YYYYYY", "问答".encode()))
    with reading(path) as sources:
        assert {source.name for source in sources} == {"a.zip/问答汇总.csv", "a.zip/问答.csv"}


@pytest.mark.parametrize(
    "name", ["../a.csv", "/a.csv", "x/../../a.csv", "C:\\a.csv", "..\\a.csv", "\\\\host\\a.csv"]
)
def test_names_that_lead_outside(tmp_path: Path, name: str) -> None:
    path = written(tmp_path / "a.zip", zipped({"good.csv": TABLE, name: TABLE}))
    assert "would lie outside the archive" in refusal(path)
    assert not (tmp_path.parent / "a.csv").exists()


def test_archives_that_are_refused(tmp_path: Path) -> None:
    link = zipped({"a.csv": "/etc/passwd"}, links=["a.csv"])
    assert "a.zip/a.csv: a link" in refusal(written(tmp_path / "a.zip", link))
    locked = encrypted(zipped({"a.csv": TABLE}))
    assert "a.zip/a.csv: encrypted" in refusal(written(tmp_path / "a.zip", locked))
    nested = zipped({"in.zip": zipped({"a.csv": TABLE})})
    assert "inside an archive is not opened" in refusal(written(tmp_path / "a.zip", nested))
    disguised = zipped({"a.csv": zipped({"b.csv": TABLE})})
    assert "a ZIP archive inside an archive" in refusal(written(tmp_path / "a.zip", disguised))
    twice = gzip.compress(gzip.compress(TABLE.encode()))
    assert "a gzip archive inside" in refusal(written(tmp_path / "a.csv.gz", twice))
    assert "holds no file" in refusal(written(tmp_path / "a.zip", zipped({"x.exe": b"MZ"})))
    assert "holds no file" in refusal(written(tmp_path / "a.zip", zipped({})))


def test_two_members_of_one_name(tmp_path: Path) -> None:
    data = zipped({"a.csv": TABLE, "b.csv": TABLE}).replace(b"b.csv", b"a.csv")
    assert "two members are called 'a.csv'" in refusal(written(tmp_path / "a.zip", data))


def test_damaged_archives(tmp_path: Path) -> None:
    packed = gzip.compress(TABLE.encode() * 100)
    assert "is cut off" in refusal(written(tmp_path / "a.csv.gz", packed[:40]))
    assert "is damaged" in refusal(written(tmp_path / "a.csv.gz", packed[:-8] + b"\0" * 8))
    assert "is damaged" in refusal(written(tmp_path / "a.csv.gz", packed[:10] + b"\x07" * 40))
    whole = zipped({"a.csv": TABLE * 100})
    assert "damaged" in refusal(written(tmp_path / "a.zip", whole[:80]))
    assert "damaged" in refusal(written(tmp_path / "a.zip", claiming(whole, 17)))


def test_bombs(tmp_path: Path, room: Path) -> None:
    block = b"q,a\n" * (limits.FREE_BYTES // 32)
    bomb = zipped({f"{n}.csv": block for n in range(9)})
    assert "unpacks to more than 32 MiB" in refusal(written(tmp_path / "a.zip", bomb))
    bomb = gzip.compress(b"q,a\n" * (limits.FREE_BYTES // 2), compresslevel=1)
    assert "unpacks to more than" in refusal(written(tmp_path / "a.csv.gz", bomb))
    assert list(room.iterdir()) == []


def test_an_archive_with_too_many_members(tmp_path: Path) -> None:
    many = zipped({f"{n}.csv": b"" for n in range(limits.MEMBERS + 1)})
    assert "more than 10,000 files" in refusal(written(tmp_path / "a.zip", many))
    names = {f"{n:05}{'x' * 60}.csv": b"" for n in range(45_000)}
    assert "far too many members" in refusal(written(tmp_path / "a.zip", zipped(names)))


def test_no_room_to_unpack(tmp_path: Path, room: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path / "a.csv.gz", gzip.compress(TABLE.encode()))
    monkeypatch.setattr(tempfile, "tempdir", str(path))
    with pytest.raises(StorageError, match="cannot unpack into") as caught, reading(path):
        pass
    assert "TMPDIR" in caught.value.hint
