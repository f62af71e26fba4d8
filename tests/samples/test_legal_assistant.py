"""The sample job that ships: what the builder makes, what it promises, nothing leaked."""

import csv
import io
import json
import subprocess
import sys
import unicodedata
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SHIPPED = ROOT / "src/tunewright/samples/legal_assistant"
LEXICON = ROOT / "tools/build_nano/data/synonyms.tsv"
BUILDER = [sys.executable, "-m", "tools.build_sample"]

Row = dict[str, str]


@pytest.fixture(scope="module")
def spreadsheet() -> list[Row]:
    text = (SHIPPED / "legal_qa.csv").read_bytes().decode("gb18030")
    return list(csv.DictReader(io.StringIO(text, newline="")))


@pytest.fixture(scope="module")
def locked() -> list[Row]:
    return [json.loads(line) for line in (SHIPPED / "test.jsonl").read_text("utf-8").splitlines()]


def letters(text: str) -> str:
    return "".join(c for c in unicodedata.normalize("NFKC", text).lower() if c.isalnum())


def usable(rows: list[Row]) -> list[Row]:
    return [
        row
        for row in rows
        if row["is_best"] == "1" and row["question"].strip() and row["reply"].strip()
    ]


def test_shipped_files_are_what_the_builder_makes() -> None:
    done = subprocess.run([*BUILDER, "--check"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_builder_notices_a_changed_file(tmp_path: Path) -> None:
    for name in ("legal_qa.csv", "test.jsonl"):
        (tmp_path / name).write_bytes((SHIPPED / name).read_bytes())
    (tmp_path / "test.jsonl").write_bytes(b"")
    command = [*BUILDER, "--check", "--out", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1
    assert "test.jsonl" in done.stderr


def test_utf8_holds_the_same_text(tmp_path: Path) -> None:
    command = [*BUILDER, "--encoding", "utf-8", "--out", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, check=True)
    shipped = (SHIPPED / "legal_qa.csv").read_bytes().decode("gb18030")
    assert (tmp_path / "legal_qa.csv").read_bytes().decode("utf-8") == shipped


def test_spreadsheet_is_gb18030_and_nothing_narrower() -> None:
    content = (SHIPPED / "legal_qa.csv").read_bytes()
    assert content.decode("gb18030").encode("gb18030") == content
    for narrower in ("utf-8", "gbk"):
        with pytest.raises(UnicodeDecodeError):
            content.decode(narrower)


def test_spreadsheet_columns_and_size(spreadsheet: list[Row]) -> None:
    assert list(spreadsheet[0]) == ["title", "question", "reply", "is_best"]
    counts = Counter(row["is_best"] for row in spreadsheet)
    assert set(counts) == {"0", "1"}
    assert 700 <= counts["1"] <= 900
    assert 800 <= counts["0"] <= 1000


def test_spreadsheet_has_the_dirt_of_an_export(spreadsheet: list[Row]) -> None:
    cells = [tuple(row.values()) for row in spreadsheet]
    assert len(cells) - len(set(cells)) >= 20
    assert sum(not row["question"].strip() for row in spreadsheet) >= 8
    assert sum(not row["reply"].strip() for row in spreadsheet) >= 8
    text = "".join(row["question"] + row["reply"] for row in spreadsheet)
    for trace in ("<br>", "&nbsp;", "13800000000", "@example.com", "110101199913320000", "\n"):
        assert trace in text
    content = (SHIPPED / "legal_qa.csv").read_bytes()
    assert 0 < content.count(b"\n") - content.count(b"\r\n") < content.count(b"\r\n")


def test_one_best_reply_per_question(spreadsheet: list[Row], locked: list[Row]) -> None:
    known = {row["answer"] for row in locked}
    answers: dict[str, set[str]] = {}
    for row in usable(spreadsheet):
        answers.setdefault(letters(row["question"]), set()).add(row["reply"].strip())
    assert all(len(found) == 1 for found in answers.values())
    assert set().union(*answers.values()) == known


@pytest.mark.parametrize("name", ["README.md", "README.zh-CN.md"])
def test_example_names_the_number_of_rows(name: str, spreadsheet: list[Row]) -> None:
    text = (ROOT / "examples/legal_assistant" / name).read_text("utf-8")
    assert f"{len(spreadsheet):,}" in text


def test_locked_kinds_and_labels(locked: list[Row]) -> None:
    assert Counter(row["kind"] for row in locked) == {
        "reworded": 120,
        "synonyms": 120,
        "paraphrase": 180,
    }
    per_situation = Counter((row["situation"], row["kind"]) for row in locked)
    assert len({situation for situation, _ in per_situation}) == 60
    for (_, kind), number in per_situation.items():
        assert number == {"reworded": 2, "synonyms": 2, "paraphrase": 3}[kind]
    assert len({row["id"] for row in locked}) == len(locked)
    assert len({(row["situation"], row["answer"]) for row in locked}) == 60
    assert len({row["answer"] for row in locked}) == 60


def test_no_locked_question_is_in_the_spreadsheet(
    spreadsheet: list[Row], locked: list[Row]
) -> None:
    seen = {letters(row["question"]) for row in spreadsheet}
    assert not [row["id"] for row in locked if letters(row["question"]) in seen]


def test_paraphrases_are_far_from_every_training_question(
    spreadsheet: list[Row], locked: list[Row]
) -> None:
    def grams(text: str) -> frozenset[str]:
        plain = letters(text)
        return frozenset(plain[i : i + 3] for i in range(len(plain) - 2))

    seen = [grams(text) for text in {row["question"] for row in spreadsheet}]
    for row in locked:
        if row["kind"] == "paraphrase":
            own = grams(row["question"])
            assert max(len(own & other) / len(own | other) for other in seen) < 0.6, row["id"]


def test_reworded_questions_wrap_a_trained_one(spreadsheet: list[Row], locked: list[Row]) -> None:
    from_training: dict[str, set[str]] = {}
    for row in usable(spreadsheet):
        from_training.setdefault(row["reply"].strip(), set()).add(letters(row["question"]))
    for row in locked:
        if row["kind"] == "reworded":
            wrapped = letters(row["question"])
            asked = from_training[row["answer"]]
            # The trained text may itself stand in a frame, so a long common stretch is enough.
            assert any(_longest_common(wrapped, other) >= 5 for other in asked), row["id"]


def _longest_common(left: str, right: str) -> int:
    best = 0
    for start in range(len(left)):
        while left[start : start + best + 1] in right and start + best < len(left):
            best += 1
    return best


def test_synonyms_come_from_the_lexicon_of_the_base() -> None:
    code = (
        "import json\n"
        "from tools.build_sample.synonyms import load_exchanges\n"
        "print(json.dumps([one.swaps for one in load_exchanges()]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    groups = [set(line.split("\t")) for line in LEXICON.read_text("utf-8").splitlines()]
    for swaps in json.loads(done.stdout):
        assert 1 <= len(swaps) <= 3
        for pair in swaps:
            assert any(set(pair) <= group for group in groups), pair
