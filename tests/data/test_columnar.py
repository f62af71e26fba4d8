"""Parquet and Arrow: every type as plain values, row by row, damage refused."""

from __future__ import annotations

import datetime
import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import polars as pl
import pytest
from tools.malformed.containers import parquet, saying_rows

from tunewright.config.data import PrepareConfig
from tunewright.core.errors import DataError
from tunewright.data.sources import Source, opened


@contextmanager
def reading(path: Path) -> Iterator[Source]:
    config = PrepareConfig(files=(str(path),))
    with opened(config.files, config) as (source,):
        yield source


def refusal(path: Path) -> str:
    with pytest.raises(DataError) as caught, reading(path):
        pass
    return str(caught.value)


def saved(frame: pl.DataFrame, path: Path) -> Path:
    write = {
        ".parquet": frame.write_parquet,
        ".arrow": frame.write_ipc,
        ".feather": frame.write_ipc,
        ".ipc": frame.write_ipc_stream,
        ".csv": frame.write_parquet,
    }[path.suffix]
    write(path)
    return path


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.parquet", "parquet"),
        ("a.arrow", "arrow"),
        ("a.feather", "arrow"),
        ("a.ipc", "arrow"),
        ("a.csv", "parquet"),
    ],
)
def test_every_row_with_its_number(tmp_path: Path, name: str, kind: str) -> None:
    talk = [{"role": "user", "content": "你好"}, {"role": "assistant", "content": "您好"}]
    frame = pl.DataFrame({"n": range(5000), "messages": [talk] * 5000})
    with reading(saved(frame, tmp_path / name)) as source:
        assert (source.kind, source.columns, source.rows_hint) == (kind, ("n", "messages"), 5000)
        records = list(source.read())
        assert [r.number for r in records] == list(range(1, 5001))
        assert records[-1].fields == {"n": 4999, "messages": talk}
        assert len(source.sample) == 200


def test_values_are_plain(tmp_path: Path) -> None:
    frame = pl.DataFrame(
        {
            "text": ["a\nb"],
            "none": [None],
            "day": [datetime.date(2024, 1, 2)],
            "time": [datetime.datetime(2024, 1, 2, 3, 4, 5)],
            "big": pl.Series([2**64 - 1], dtype=pl.UInt64),
            "nan": [float("nan")],
            "kind": pl.Series(["x"], dtype=pl.Categorical),
            "bytes": [b"text \xe9\x97\xae"],
            "image": [b"\xff\xd8\xff"],
            "deep": [{"bytes": b"\0"}],
            "price": pl.Series(["1.50"]).cast(pl.Decimal(10, 2)),
        }
    )
    with reading(saved(frame, tmp_path / "a.parquet")) as source:
        (record,) = source.read()
        assert record.fields == {
            "text": "a\nb",
            "none": None,
            "day": "2024-01-02",
            "time": "2024-01-02 03:04:05",
            "big": 2**64 - 1,
            "nan": None,
            "kind": "x",
            "bytes": "text 问",
            "price": "1.50",
        }
        left_out = {n["column"] for n in source.notes if n["kind"] == "binary column"}
        assert left_out == {"image", "deep"}


def test_bytes_that_stop_being_text_are_marked_not_lost(tmp_path: Path) -> None:
    frame = pl.DataFrame({"text": [b"good"] * 300 + [b"caf\xe9"]})
    with reading(saved(frame, tmp_path / "a.parquet")) as source:
        assert [r.fields for r in source.read()][-1] == {"text": "caf\ufffd"}


def test_long_rows_are_read_too(tmp_path: Path) -> None:
    frame = pl.DataFrame({"n": range(300), "text": [f"{n}" * 20_000 for n in range(300)]})
    with reading(saved(frame, tmp_path / "a.parquet")) as source:
        for record in source.read():
            assert isinstance(record.fields, dict)
            assert record.fields["text"] == str(record.fields["n"]) * 20_000
        assert len(source.sample) < 200


def test_files_without_rows(tmp_path: Path) -> None:
    empty = pl.DataFrame({"q": [], "a": []}, schema={"q": pl.String, "a": pl.String})
    for name in ("a.parquet", "a.arrow", "a.ipc"):
        assert "column names but no rows" in refusal(saved(empty, tmp_path / name))


def test_damage_is_refused_with_the_files_name(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    pl.DataFrame({"q": ["x"] * 100}).write_ipc(buffer)
    whole = {"a.parquet": parquet([{"q": "x"}] * 100), "a.arrow": buffer.getvalue()}
    for name, data in whole.items():
        path = tmp_path / name
        for broken in (data[: len(data) // 2], data[:6], data[:-40] + b"\xff" * 40):
            path.write_bytes(broken)
            assert f"{path}: the " in refusal(path)


def test_a_footer_that_lies_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    path.write_bytes(saying_rows(parquet([{"q": f"{n}"} for n in range(777)]), 777, 900))
    with pytest.raises(DataError, match=r"a\.parquet: the Parquet file is damaged"), reading(path):
        pass


def test_a_bomb_is_refused(tmp_path: Path) -> None:
    frame = pl.DataFrame({"q": ["x" * 1_000_000]}).select(pl.col("q").repeat_by(200).explode())
    assert "unpacks to more than 32 MiB" in refusal(saved(frame, tmp_path / "a.parquet"))


def test_too_many_columns(tmp_path: Path) -> None:
    frame = pl.DataFrame({f"c{n}": [1] for n in range(2001)})
    assert "2,001 columns" in refusal(saved(frame, tmp_path / "a.parquet"))


def test_the_reading_process_leaves_nothing_on_the_screen(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.arrow"
    path.write_bytes(b"ARROW1\0\0" + bytes(range(256)) * 8 + b"ARROW1")
    refusal(path)
    assert capfd.readouterr() == ("", "")
