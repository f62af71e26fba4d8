"""XLSX: which sheet, which header, which values; nothing outside the file is looked at."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tools.malformed.containers import sheet, workbook

from tunewright.config.data import PrepareConfig
from tunewright.core.errors import DataError
from tunewright.data.sources import Source, opened

ROWS = [["问题", "回答"], ["一？", "答一"], ["二？", "答二"]]


@contextmanager
def reading(tmp_path: Path, data: bytes, **options: Any) -> Iterator[Source]:
    path = tmp_path / "book.xlsx"
    path.write_bytes(data)
    config = PrepareConfig(files=(str(path),), **options)
    with opened(config.files, config) as (source,):
        yield source


def refusal(tmp_path: Path, data: bytes, **options: Any) -> str:
    with pytest.raises(DataError) as caught, reading(tmp_path, data, **options):
        pass
    return str(caught.value)


def kinds(source: Source) -> dict[str, Any]:
    return {str(note["kind"]): note for note in source.notes}


def test_a_plain_sheet(tmp_path: Path) -> None:
    with reading(tmp_path, workbook({"数据": ROWS})) as source:
        assert (source.kind, source.encoding, source.rows_hint) == ("xlsx", None, 2)
        assert source.columns == ("问题", "回答")
        assert [(r.number, r.fields) for r in source.read()] == [
            (2, {"问题": "一？", "回答": "答一"}),
            (3, {"问题": "二？", "回答": "答二"}),
        ]
        assert list(source.read()) == list(source.read())
        assert source.notes == ()


def test_the_first_sheet_that_holds_a_table_is_read_and_the_others_named(tmp_path: Path) -> None:
    data = workbook(
        {"空": [], "说明": [["本表由客服系统导出"]], "问答": ROWS, "旧": ROWS, "藏": ROWS},
        hidden=["藏"],
    )
    with reading(tmp_path, data) as source:
        assert kinds(source)["sheet"]["sheet"] == "问答"
        assert kinds(source)["other sheets"]["sheets"] == "空, 说明, 旧"


def test_a_sheet_can_be_chosen(tmp_path: Path) -> None:
    data = workbook({"a": ROWS, "b": [["x"], ["only"]], "c": ROWS}, hidden=["c"])
    with reading(tmp_path, data, sheet="b") as source:
        assert [r.fields for r in source.read()] == [{"x": "only"}]
    with reading(tmp_path, data, sheet="c") as source:
        assert source.columns == ("问题", "回答")
    assert "there is no sheet 'd'\nIts sheets: a, b, c." in refusal(tmp_path, data, sheet="d")


def test_a_title_above_the_header_and_blank_rows(tmp_path: Path) -> None:
    rows = [
        [],
        [None, "客服问答 2024"],
        [],
        [None, *ROWS[0]],
        [None, *ROWS[1]],
        [],
        [None, *ROWS[2]],
    ]
    with reading(tmp_path, workbook({"s": rows})) as source:
        assert source.columns == ("问题", "回答")
        assert [r.number for r in source.read()] == [5, 7]
        assert kinds(source)["rows above header"]["header"] == 4


def test_values_are_what_people_see(tmp_path: Path) -> None:
    rows = [["q", "phone", "share", "yes", "sum", "error", "文本"]]
    cells = (
        '<row r="2"><c r="A2" t="str"><f>A1&amp;"?"</f><v>q?</v></c>'
        '<c r="B2"><v>13800138000</v></c><c r="C2"><v>0.25</v></c><c r="D2" t="b"><v>1</v></c>'
        '<c r="E2"><f>1+1</f><v>2</v></c><c r="F2" t="e"><v>#N/A</v></c>'
        '<c r="G2" t="inlineStr"><is><t>=cmd|calc</t></is></c></row>'
    )
    with reading(tmp_path, workbook({"s": sheet(rows, cells)})) as source:
        assert next(source.read()).fields == {
            "q": "q?",
            "phone": 13800138000,
            "share": 0.25,
            "yes": True,
            "sum": 2,
            "error": "",
            "文本": "=cmd|calc",
        }


def test_dates_are_text(tmp_path: Path) -> None:
    styles = (
        b'<styleSheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main">'
        b'<cellXfs count="3"><xf numFmtId="0"/><xf numFmtId="14"/><xf numFmtId="22"/></cellXfs>'
        b"</styleSheet>"
    )
    cells = '<row r="2"><c r="A2" s="1"><v>45293</v></c><c r="B2" s="2"><v>45293.5</v></c></row>'
    data = workbook({"s": sheet([["day", "time"]], cells)}, extra={"xl/styles.xml": styles})
    with reading(tmp_path, data) as source:
        assert next(source.read()).fields == {"day": "2024-01-02", "time": "2024-01-02 12:00:00"}


def test_names_that_are_missing_or_repeated(tmp_path: Path) -> None:
    with reading(tmp_path, workbook({"s": [["q", None, "q", 3], ["1", "2", "3", "4"]]})) as source:
        assert source.columns == ("q", "column 2", "q (3)", "3")
        assert {"unnamed column", "repeated column"} <= kinds(source).keys()


@pytest.mark.parametrize(
    ("doctype", "name"),
    [
        ('<!DOCTYPE w [<!ENTITY e SYSTEM "file:///etc/passwd">]>', "e"),
        ('<!DOCTYPE w [<!ENTITY a "x"><!ENTITY e "&a;&a;">]>', "e"),
    ],
)
def test_entities_are_never_followed(tmp_path: Path, doctype: str, name: str) -> None:
    cells = f'<row r="9"><c r="A9" t="inlineStr"><is><t>&{name};</t></is></c></row>'
    data = workbook({"s": sheet(ROWS, cells, doctype)})
    assert "book.xlsx: the workbook is damaged" in refusal(tmp_path, data)


def test_a_sheet_that_would_fill_all_memory_takes_down_nothing(tmp_path: Path) -> None:
    cells = '<row r="1048576"><c r="XFD1048576"><v>1</v></c></row>'
    said = refusal(tmp_path, workbook({"s": sheet(ROWS, cells)}))
    assert "book.xlsx: the workbook cannot be read" in said


def test_workbooks_without_a_table(tmp_path: Path) -> None:
    assert "no sheet holds a table" in refusal(tmp_path, workbook({"s": [], "t": [["only"]]}))
    assert "'h'" in refusal(tmp_path, workbook({"s": [], "h": ROWS}, hidden=["h"]))
    assert "no rows" in refusal(tmp_path, workbook({"s": [["q", "a"]]}), sheet="s")


def test_a_damaged_workbook(tmp_path: Path) -> None:
    data = workbook({"s": ROWS}).replace(b"xl/worksheets", b"xl/wurksheets")
    assert "book.xlsx: the workbook is damaged" in refusal(tmp_path, data)


def test_too_many_columns(tmp_path: Path) -> None:
    wide = [[f"c{n}" for n in range(2001)], ["x"] * 2001]
    assert "2,001 columns; at most 2,000" in refusal(tmp_path, workbook({"s": wide}))
