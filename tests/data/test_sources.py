"""Tables and JSON as streams of records, with everything that real exports do to them."""

from __future__ import annotations

import csv
import json
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from tunewright.core.errors import DataError
from tunewright.data.labels import Words
from tunewright.data.records import Unusable
from tunewright.data.sources import Source, display_names, open_source
from tunewright.data.text import MAX_LINE


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


def test_a_header_that_comes_again_is_no_row(tmp_path: Path) -> None:
    source = opened(tmp_path, "question,answer\na,b\nquestion,answer\nc,d\n")
    assert refused(source) == {3: "header repeated"}
    assert [f["question"] for f in fields(source)] == ["a", "c"]


def test_excels_own_line_about_the_separator(tmp_path: Path) -> None:
    source = opened(tmp_path, "sep=;\r\nq;a, so\r\n1;2\r\n")
    assert (source.delimiter, source.columns) == (";", ("q", "a, so"))
    assert [r.number for r in source.read()] == [3]


def test_rows_keep_their_numbers_across_blocks(tmp_path: Path) -> None:
    lines = [f"{n},x" for n in range(2, 3000)]
    lines[1500] = "only one field"
    lines[1501] = ""
    source = opened(tmp_path, "\n".join(["n,a", *lines]))
    assert refused(source) == {1502: "wrong number of fields"}
    for record in source.read():
        if isinstance(record.fields, dict):
            assert int(record.fields["n"]) == record.number


def test_an_error_far_on_names_its_row(tmp_path: Path) -> None:
    good = "".join(f"{n},x\n" for n in range(2, 3000))
    source = opened(tmp_path, f"q,a\n{good}1,{'x' * (9 << 20)}\n")
    with pytest.raises(DataError, match=r"row 3000 \(line 3000\): field larger than"):
        fields(source)


def test_json_under_another_name(tmp_path: Path) -> None:
    lines = "\n".join(json.dumps(row) for row in ROWS)
    assert opened(tmp_path, lines, "d.csv").kind == "jsonl"
    assert opened(tmp_path, json.dumps(ROWS, indent=1), "d.tsv").kind == "json"
    assert opened(tmp_path, '{q},a\n"{1}",2\n', "d.csv").columns == ("{q}", "a")


@pytest.mark.parametrize("join", ["", "\n", " \n\n", ",\n"])
def test_objects_one_after_another(tmp_path: Path, join: str) -> None:
    text = join.join(json.dumps(row, indent=1) for row in ROWS * 30)
    assert fields(opened(tmp_path, text, "d.json")) == ROWS * 30


def test_a_json_array_is_read_in_pieces(tmp_path: Path) -> None:
    rows = [{"n": n, "text": "长" * (n % 977), "deep": [{"k": [n, -n]}]} for n in range(6000)]
    for indent in (None, 1):
        source = opened(tmp_path, json.dumps(rows, ensure_ascii=False, indent=indent), "d.json")
        assert fields(source) == rows
        assert [r.number for r in source.read()] == list(range(1, 6001))


def test_an_array_of_what_a_piece_may_cut_in_two(tmp_path: Path) -> None:
    values = [12345678901234567890, -1.5e-7, True, None, "\\u00e9\\ud83d\\ude00" * 3, {"q": "x"}]
    text = "[" + ",".join(json.dumps(value) for value in values * 40_000) + "]"
    records = opened(tmp_path, text, "d.json").read()
    assert sum(isinstance(record.fields, dict) for record in records) == 40_000


def test_a_place_far_into_an_array_is_named(tmp_path: Path) -> None:
    rows = [json.dumps({"n": n, "text": "长" * 300}, ensure_ascii=False) for n in range(8000)]
    rows[6000] = '{"n": oops}'
    source = opened(tmp_path, "[\n" + ",\n".join(rows) + "\n]", "d.json")
    with pytest.raises(DataError, match=r"line 6002, column 7: not JSON \(Expecting value\)"):
        fields(source)
    source = opened(tmp_path, "[" + ", ".join(rows[:6000]) + ", oops]", "d.json")
    column = len("[" + ", ".join(rows[:6000]) + ", ") + 1
    with pytest.raises(DataError, match=f"line 1, column {column}: not JSON"):
        fields(source)


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ('{"q": NaN}', "nan"),
        ('{"q": -Infinity}', "-inf"),
        ('{"q": 123456789012345678901234567890}', "123456789012345678901234567890"),
        ('{"q": 9223372036854775808}', "9223372036854775808"),
        ('{"q": 1.5}', "1.5"),
        ('{"q": 1, "q": 2}', "2"),
        ('{"q": "\\ud83d half"}', "\ufffd half"),
        ('{"q": "\\ud83d\\ude00"}', "😀"),
    ],
)
@pytest.mark.parametrize("layout", ["lines", "array", "utf-16"])
def test_odd_values_are_read_alike_in_every_layout(
    tmp_path: Path, line: str, value: str, layout: str
) -> None:
    path = tmp_path / ("d.json" if layout == "array" else "d.jsonl")
    text = f"[{line}, {line}]" if layout == "array" else f"{line}\n{line}\n"
    path.write_bytes(text.encode("utf-16" if layout == "utf-16" else "utf-8"))
    assert [str(f["q"]) for f in fields(open_source(path, path.name))] == [value, value]


def test_lines_that_are_no_row_of_anything(tmp_path: Path) -> None:
    huge = json.dumps({"q": "x" * (MAX_LINE + 1)})
    names = json.dumps({f"k{n}": n for n in range(3000)})
    very_many = json.dumps({f"k{n}": n for n in range(200_000)})
    lines = ['{"q": 1}', huge, names, very_many, '{"q": 2}']
    source = opened(tmp_path, "\n".join(lines), "d.jsonl")
    assert refused(source) == {2: "line too long", 3: "too many fields", 4: "too many fields"}
    assert [f["q"] for f in fields(source)] == [1, 2]
    without = opened(tmp_path, "\n".join([*lines[:1], *lines[2:]]), "d.jsonl")
    assert refused(without) == {2: "too many fields", 3: "too many fields"}


def test_a_first_line_that_is_damaged_costs_one_row(tmp_path: Path) -> None:
    for first in ('{"q": 1', "# export 2024"):
        source = opened(tmp_path, f'{first}\n{{"q": 2}}\n{{"q": 3}}\n', "d.jsonl")
        assert refused(source) == {1: "not JSON"}
        assert [f["q"] for f in fields(source)] == [2, 3]


def test_lines_that_old_systems_ended(tmp_path: Path) -> None:
    source = opened(tmp_path, '{"q": 1}\r{"q": 2}\r', "d.jsonl")
    assert [(r.number, r.fields) for r in source.read()] == [(1, {"q": 1}), (2, {"q": 2})]


def test_what_a_source_says_of_its_file(tmp_path: Path) -> None:
    path = tmp_path / "d.csv"
    path.write_bytes("问题,答案\n问题在这里\0,答案也在这里\n".encode("gb18030") * 60)
    source = open_source(path, "d.csv")
    assert (source.encoding, source.encoding_reason) == ("GB18030", "reads as GB18030")
    assert source.rows_hint == 120
    assert source.notes == ({"kind": "nul bytes", "count": 60},)


def test_reasons_and_notes_have_words_in_both_languages() -> None:
    skipped = ("kinds", "hidden", "links", "pipes", "twice", "nested", "empty", "documents")
    facts = {f"skipped {reason}" for reason in skipped}
    facts |= {"sheet", "other sheets", "rows above header", "binary column", "reads as Big5"}
    reasons = {"header repeated", "line too long", "too many fields", "wrong number of fields"}
    for language in ("en", "zh"):
        words = Words.of(language)
        assert facts <= words.facts.keys()
        assert reasons <= words.reasons.keys()


def test_a_long_file_is_read_in_little_memory(tmp_path: Path) -> None:
    rows = [["question", "answer"], *([f"第{n}问", "答" * 120] for n in range(30_000))]
    with open(tmp_path / "d.csv", "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)
    objects = [dict(zip(rows[0], row, strict=True)) for row in rows[1:]]
    (tmp_path / "d.json").write_text(json.dumps(objects, ensure_ascii=False), encoding="utf-8")
    with open(tmp_path / "d.jsonl", "w", encoding="utf-8") as file:
        file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in objects)
    del rows, objects
    for name in ("d.csv", "d.jsonl", "d.json"):
        source = open_source(tmp_path / name, name)
        tracemalloc.start()
        try:
            assert sum(1 for _ in source.read()) == 30_000
            assert tracemalloc.get_traced_memory()[1] < 8 << 20
        finally:
            tracemalloc.stop()
