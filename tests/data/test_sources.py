"""Tables and JSON as streams of records, with everything that real exports do to them."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from tunewright.core.errors import DataError
from tunewright.data.records import Unusable
from tunewright.data.sources import Source, display_names, open_source


def opened(tmp_path: Path, text: str, name: str = "data.csv", **options: Any) -> Source:
    path = tmp_path / name
    path.write_bytes(text.encode())
    return open_source(path, name, **options)


def fields(source: Source) -> list[dict[str, Any]]:
    return [r.fields for r in source.read() if not isinstance(r.fields, Unusable)]


def refused(source: Source) -> dict[int, str]:
    return {r.number: r.fields.reason for r in source.read() if isinstance(r.fields, Unusable)}


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_is_found(tmp_path: Path, delimiter: str) -> None:
    path = tmp_path / "data.txt"
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, delimiter=delimiter)
        writer.writerow(["question", "answer"])
        writer.writerows([["a, b; c | d\nline two", 'say "hi"; now'], ["x,y,z", "1|2|3"]] * 30)
    source = open_source(path, "data.txt")
    assert source.delimiter == delimiter
    assert len(fields(source)) == 60
    assert fields(source)[0] == {"question": "a, b; c | d\nline two", "answer": 'say "hi"; now'}


def test_a_given_delimiter_wins(tmp_path: Path) -> None:
    source = opened(tmp_path, "a;b,c\n1;2,3\n", delimiter=";")
    assert source.columns == ("a", "b,c")


def test_a_tsv_with_commas_everywhere(tmp_path: Path) -> None:
    source = opened(tmp_path, "q, so\ta, so\nx, y\tz, w\n", "data.tsv")
    assert source.columns == ("q, so", "a, so")


@pytest.mark.parametrize("ends", ["\n", "\r\n", "\r"])
def test_line_ends(tmp_path: Path, ends: str) -> None:
    source = opened(tmp_path, f"q,a{ends}1,2{ends}3,4")
    assert [r.number for r in source.read()] == [2, 3]
    assert fields(source) == [{"q": "1", "a": "2"}, {"q": "3", "a": "4"}]


def test_mixed_line_ends_and_blank_lines(tmp_path: Path) -> None:
    source = opened(tmp_path, '\r\nq,a\r\n1,2\n\n"3\r\n4",5\r6,7\n\n')
    assert [f["q"] for f in fields(source)] == ["1", "3\r\n4", "6"]
    assert [r.number for r in source.read()] == [3, 5, 6]


def test_ragged_rows_are_named_and_the_rest_is_read(tmp_path: Path) -> None:
    source = opened(tmp_path, "q,a\n1,2\n3\n4,5,6\n7,8,,\n9,10\n")
    assert refused(source) == {3: "wrong number of fields", 4: "wrong number of fields"}
    assert [f["q"] for f in fields(source)] == ["1", "7", "9"]
    detail = next(r.fields for r in source.read() if r.number == 3)
    assert isinstance(detail, Unusable)
    assert detail.detail == "1 field, the header has 2: 3"


def test_repeated_and_missing_column_names(tmp_path: Path) -> None:
    source = opened(tmp_path, "q,a,a, ,\n1,2,3,4,5\n")
    assert source.columns == ("q", "a", "a (3)", "column 4", "column 5")
    assert len(source.notes) == 3
    assert fields(source)[0]["a"] == "2"


def test_a_huge_field(tmp_path: Path) -> None:
    source = opened(tmp_path, f"q,a\n1,{'长' * 400_000}\n3,4\n")
    assert [len(f["a"]) for f in fields(source)] == [400_000, 1]


def test_a_quote_that_never_closes_is_an_error_not_a_lost_file(tmp_path: Path) -> None:
    rows = "".join(f"{i},x\n" for i in range(100))
    with pytest.raises(DataError, match=r"row 3: a field begins with a double quote .* the 100"):
        fields(opened(tmp_path, f'q,a\n1,2\n3,"open\n{rows}'))
    with pytest.raises(DataError, match="row 2: a field begins with a double quote"):
        opened(tmp_path, 'q,a\n1,"cut off here')


def test_header_only_and_one_column(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="a header but no rows"):
        opened(tmp_path, "question,answer\n")
    assert opened(tmp_path, "only\nx\ny\n").columns == ("only",)
    with pytest.raises(DataError, match=r"no usable record; row 2: 1 field, the header has 2"):
        opened(tmp_path, "question,answer\nx\n")


ROWS = [{"q": "一", "a": 1}, {"q": "二", "b": None}]


@pytest.mark.parametrize(
    ("text", "name", "kind"),
    [
        ("\n".join(json.dumps(r) for r in ROWS), "d.jsonl", "jsonl"),
        ("\n\n".join(json.dumps(r) for r in ROWS), "d.json", "jsonl"),
        (json.dumps(ROWS), "d.json", "json"),
        (json.dumps(ROWS, indent=2), "d.json", "json"),
        (json.dumps(ROWS), "d.jsonl", "json"),
        (json.dumps(ROWS), "d.txt", "json"),
        (json.dumps({"version": 1, "data": ROWS}), "d.json", "json"),
        (json.dumps({"data": ROWS}, indent=1), "d.json", "json"),
    ],
)
def test_json_in_every_layout(tmp_path: Path, text: str, name: str, kind: str) -> None:
    source = opened(tmp_path, text, name)
    assert (source.kind, fields(source)) == (kind, ROWS)
    assert source.columns == ("q", "a", "b")


def test_a_single_json_object_is_one_row(tmp_path: Path) -> None:
    value = {"messages": [{"role": "user", "content": "hi"}]}
    assert fields(opened(tmp_path, json.dumps(value, indent=1), "d.json")) == [value]


def test_bad_lines_are_named_by_line(tmp_path: Path) -> None:
    lines = ['{"q": 1}', "", "{broken", "[1]", '{"q": 2', "[" * 100_000, '{"q": 3}']
    source = opened(tmp_path, "\n".join(lines), "d.jsonl")
    assert [f["q"] for f in fields(source)] == [1, 3]
    assert refused(source) == {
        3: "not JSON",
        4: "not a JSON object",
        5: "not JSON",
        6: "not JSON",
    }


def test_elements_that_are_no_objects_are_named(tmp_path: Path) -> None:
    assert refused(opened(tmp_path, '[{"q": 1}, 2, "x"]', "d.json")) == {
        2: "not a JSON object",
        3: "not a JSON object",
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[{"q": 1},\n {"q": 2}', "line 2: the JSON document ends before it is complete"),
        ('[{"q": 1},\n {"q": 2', "line 2: the JSON document ends before it is complete"),
        ('[{"q": 1}\n {"q": 2}]', "line 2, column 2: not JSON"),
        ('[{"q": nope}]', "line 1, column 8: not JSON"),
        ("hello", "line 1: not JSON"),
        ("[]", "the file holds no records"),
        ("[" * 100_000, "nested too deeply|not JSON"),
    ],
)
def test_broken_documents_say_where(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        fields(opened(tmp_path, text, "d.json"))


def test_files_are_named_by_what_tells_them_apart() -> None:
    names = display_names(("/x/a.csv", "/x/b/c.csv", "/x/d/c.csv"))
    assert list(names.values()) == ["a.csv", "b/c.csv", "d/c.csv"]
    assert display_names(("a.csv", "a.csv")) == {"a.csv": "a.csv"}
