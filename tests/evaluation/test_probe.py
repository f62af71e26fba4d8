from __future__ import annotations

import json
from pathlib import Path

import pytest

from tunewright.core.errors import DataError
from tunewright.evaluation.probe import probe_path, read_probe


def write(path: Path, *lines: object) -> Path:
    path.write_text("\n".join(json.dumps(line) for line in lines) + "\n", encoding="utf-8")
    return path


def test_both_forms_are_read(tmp_path: Path) -> None:
    talk = [{"role": "user", "content": "2+2?"}, {"role": "assistant", "content": "4"}]
    path = write(
        tmp_path / "probe.jsonl",
        {"id": "a", "kind": "facts", "language": "en", "question": "Sky?", "answer": "blue"},
        {"kind": "sums", "messages": talk},
    )
    first, second = read_probe(path)
    assert (first.id, first.reference) == ("a", "blue")
    assert (second.id, second.reference) == ("2", "4")
    assert first.prompt.question == "Sky?"
    assert second.prompt.messages[-1].role == "user"


def test_a_separator_inside_a_question_does_not_break_a_line(tmp_path: Path) -> None:
    path = tmp_path / "probe.jsonl"
    line = json.dumps({"question": "a\u2028b", "answer": "c"}, ensure_ascii=False)
    path.write_text(line, encoding="utf-8")
    assert read_probe(path)[0].prompt.question == "a\u2028b"


@pytest.mark.parametrize(
    "line",
    [
        {"question": "no answer"},
        {"answer": "no question"},
        {"messages": []},
        [],
        3,
        {"messages": 1},
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, line: object) -> None:
    path = write(tmp_path / "probe.jsonl", {"question": "q", "answer": "a"}, line)
    with pytest.raises(DataError, match="line 2"):
        read_probe(path)


def test_missing_and_empty_probes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="general=false"):
        read_probe(tmp_path / "absent.jsonl")
    with pytest.raises(DataError, match="no questions"):
        read_probe(write(tmp_path / "probe.jsonl"))


def test_a_base_may_bring_its_own_probe(tmp_path: Path) -> None:
    own = write(tmp_path / "probe.jsonl", {"question": "q", "answer": "a"})
    assert probe_path(tmp_path) == own
    assert probe_path(tmp_path / "elsewhere").parts[-3:] == ("bases", "nano", "probe.jsonl")


def test_kinds_are_folded_into_readable_slices(tmp_path: Path) -> None:
    kinds = ["meaning_pair"] * 3 + ["meaning_word"] * 2 + ["sums"] * 5 + ["rare"] * 4
    lines = [{"kind": kind, "question": "q", "answer": "a"} for kind in kinds]
    slices = [question.slice for question in read_probe(write(tmp_path / "p.jsonl", *lines))]
    assert slices == ["meaning"] * 5 + ["sums"] * 5 + ["other"] * 4


def test_the_bundled_probe_is_usable() -> None:
    questions = read_probe(probe_path(Path("none")))
    assert len(questions) >= 100
    assert all(question.reference for question in questions)
