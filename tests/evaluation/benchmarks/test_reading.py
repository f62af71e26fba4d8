"""Published layouts, and the usual ways in which files are broken."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from tests.evaluation.benchmarks.conftest import sums, write_csv

from tunewright.core.errors import DataError
from tunewright.evaluation.benchmarks.layouts import LAYOUTS, read_subjects
from tunewright.evaluation.benchmarks.reading import read_file, read_folder

NAMES = ["", "Question", "A", "B", "C", "D", "Answer"]
REAL = os.environ.get("TUNEWRIGHT_TEST_BENCHMARKS")


@pytest.mark.parametrize(("name", "split"), [("mmlu", "test"), ("ceval", "val"), ("cmmlu", "test")])
def test_each_layout_is_read(request: pytest.FixtureRequest, name: str, split: str) -> None:
    folder: Path = request.getfixturevalue(name)
    found = read_folder(folder, LAYOUTS[name], split, 5)
    assert [one.key for one in found] == sorted(one.key for one in found)
    first = found[0]
    assert len(first.examples) == 5
    assert first.items[0].question == "2 + 1 = ?"
    assert dict(zip("ABCD", first.items[0].options, strict=True))[first.items[0].answer] == "3"
    # The same one folder further up, as archives unpack.
    (folder.parent / "up").mkdir()
    folder.rename(folder.parent / "up" / "data")
    assert read_folder(folder.parent / "up", LAYOUTS[name], split, 5) == found
    assert len(read_folder(folder.parent / "up", LAYOUTS[name], split, 0, [first.key])) == 1


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030", "gbk"])
def test_marks_and_chinese_encodings_do_not_matter(tmp_path: Path, encoding: str) -> None:
    row = [
        "0",
        "押金应当在几日内退还？\n（民法典）",
        "三日",
        "七日, 含当日",
        "十日",
        "一个月",
        " Ｂ ",
    ]
    path = write_csv(tmp_path / "law.csv", [row, [], row], NAMES, encoding)
    found = read_file(path, LAYOUTS["cmmlu"])
    assert len(found) == 2
    assert found[0].answer == "B"
    assert found[0].options[1] == "七日, 含当日"


def test_mmlu_with_names_is_read_too(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "x.csv", sums(3), ["question", "A", "B", "C", "D", "answer"])
    assert len(read_file(path, LAYOUTS["mmlu"])) == 3


@pytest.mark.parametrize(
    ("layout", "header", "rows", "message"),
    [
        ("cmmlu", [*NAMES[:-2], "Answer"], [["0", "q", "1", "2", "3", "A"]], "no column 'd'"),
        ("ceval", ["id", *NAMES[1:-1]], [["0", "q", *"1234"]], "answers were not published"),
        ("cmmlu", NAMES, [["0", "q", *"1234", "E"]], "line 2: the answer is 'E'"),
        ("cmmlu", NAMES, [["0", "q", *"1234", "A"], ["1", "q", "1"]], "line 3: the row has 3"),
        ("cmmlu", NAMES, [["0", " ", *"1234", "A"]], "question is empty"),
        ("cmmlu", NAMES, [], "no question"),
        ("cmmlu", [], [["0", "q", *"1234", "A"]], "does not name columns"),
        ("mmlu", [], [["q", *"123", "A"]], "the first row has 5"),
        ("mmlu", [], [], "holds no rows"),
    ],
)
def test_broken_files_say_what_is_wrong(
    tmp_path: Path, layout: str, header: list[str], rows: list[list[str]], message: str
) -> None:
    path = write_csv(tmp_path / "law.csv", rows, header)
    with pytest.raises(DataError, match=message) as caught:
        read_file(path, LAYOUTS[layout])
    assert "law.csv" in caught.value.message


def test_bytes_that_are_no_text_and_torn_quotes(tmp_path: Path) -> None:
    path = tmp_path / "law.csv"
    path.write_bytes(b"\xff\xfe\x80\x80\xff")
    with pytest.raises(DataError, match="neither UTF-8 nor GB18030"):
        read_file(path, LAYOUTS["cmmlu"])
    path.write_text('"1 + 1 = ?,1,2,3,4,B\n', encoding="utf-8")
    with pytest.raises(DataError, match="line"):
        read_file(path, LAYOUTS["mmlu"])


def test_other_folders_are_refused_with_what_is_expected(cmmlu: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no folder 'val'") as caught:
        read_folder(cmmlu, LAYOUTS["ceval"], "val", 5)
    assert "SUBJECT_val.csv" in caught.value.hint
    with pytest.raises(DataError, match=r"no file is named SUBJECT_test\.csv"):
        read_folder(cmmlu, LAYOUTS["mmlu"], "test", 5)
    with pytest.raises(DataError, match="no subject 'law'"):
        read_folder(cmmlu, LAYOUTS["cmmlu"], "test", 5, ["law"])
    (cmmlu / "dev" / "agronomy.csv").unlink()
    with pytest.raises(DataError, match="5 examples for agronomy"):
        read_folder(cmmlu, LAYOUTS["cmmlu"], "test", 5)
    assert len(read_folder(cmmlu, LAYOUTS["cmmlu"], "test", 0)) == 2


def test_the_published_subjects_are_all_there() -> None:
    subjects = {name: read_subjects(name) for name in LAYOUTS}
    assert {name: len(found) for name, found in subjects.items()} == {
        "mmlu": 57,
        "ceval": 52,
        "cmmlu": 67,
    }
    kinds = {"STEM", "Humanities", "Social Science", "Other"}
    for found in subjects.values():
        assert all(one.categories[0] in kinds for one in found.values())
    assert subjects["ceval"]["law"].name == "法学"
    assert "China specific" in subjects["cmmlu"]["chinese_history"].categories


@pytest.mark.skipif(REAL is None, reason="TUNEWRIGHT_TEST_BENCHMARKS names no folder")
@pytest.mark.parametrize("name", list(LAYOUTS))
def test_real_files_are_read(name: str) -> None:
    folder = Path(str(REAL)) / name
    if not folder.is_dir():
        pytest.skip(f"{folder} is not there")
    found = read_folder(folder, LAYOUTS[name], LAYOUTS[name].split, 5)
    assert {one.key for one in found} == set(read_subjects(name))
