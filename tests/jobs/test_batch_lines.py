"""The input of a batch, looked at line by line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tunewright.deployment.bodies import MAX_BODY_BYTES
from tunewright.jobs import batch_lines
from tunewright.jobs.batch_lines import check_lines, unanswered

CHAT = "/v1/chat/completions"


def line(name: str = "a", model: str = "nano", **changes: Any) -> dict[str, Any]:
    body = {"model": model, "messages": [{"role": "user", "content": "退货?"}]}
    return {"custom_id": name, "method": "POST", "url": CHAT, "body": body, **changes}


def written(folder: Path, *lines: Any) -> Path:
    path = folder / "input.jsonl"
    raw = (one if isinstance(one, bytes) else json.dumps(one).encode() for one in lines)
    path.write_bytes(b"\n".join(raw))
    return path


def test_a_good_file_has_a_model_and_a_total(tmp_path: Path) -> None:
    path = written(tmp_path, b"\xef\xbb\xbf" + json.dumps(line()).encode(), b"  ", line("b"), b"")
    found = check_lines(path, CHAT)
    assert (found.total, found.model, found.errors) == (2, "nano", [])
    first, second = unanswered(path, ())
    assert (first.number, first.custom_id) == (1, "a")
    assert json.loads(first.body) == line()["body"]
    assert "退货".encode() in first.body
    assert [one.number for one in unanswered(path, {1})] == [second.number] == [3]


@pytest.mark.parametrize(
    ("wrong", "code", "param"),
    [
        (b"{", "invalid_json_line", None),
        (b"[1]", "invalid_json_line", None),
        (b'{"custom_id": "\\ud800"}', "invalid_json_line", None),
        (b"[" * 5000, "invalid_json_line", None),
        (line("a"), "duplicate_custom_id", "custom_id"),
        (line(""), "invalid_custom_id", "custom_id"),
        (line(custom_id=7), "invalid_custom_id", "custom_id"),
        (line("b" * 513), "invalid_custom_id", "custom_id"),
        (line("b", method="GET"), "invalid_method", "method"),
        (line("b", url="/v1/embeddings"), "url_mismatch", "url"),
        (line("b", body=[]), "invalid_body", "body"),
        (line("b", body={}), "missing_required_parameter", "body.model"),
        (line("b", model="slow"), "model_mismatch", "body.model"),
        (b'"' + b"x" * MAX_BODY_BYTES + b'"', "line_too_long", None),
    ],
    ids=str.split("half array surrogate deep twice noname number long get url body nobody mixed"
                  " huge"),
)  # fmt: skip
def test_a_wrong_line_is_named(tmp_path: Path, wrong: Any, code: str, param: str | None) -> None:
    found = check_lines(written(tmp_path, line(), wrong, line("z")), CHAT)
    (error,) = found.errors
    assert (error["line"], error["code"], error["param"]) == (2, code, param)
    assert error["message"]
    assert found.total == 3


def test_the_longest_line_that_is_allowed(tmp_path: Path) -> None:
    short = json.dumps(line()).encode()
    path = written(tmp_path, short[:-1] + b" " * (MAX_BODY_BYTES - len(short)) + b"}", line("b"))
    assert check_lines(path, CHAT).errors == []


def test_an_empty_file_and_one_of_too_many_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (error,) = check_lines(written(tmp_path, b"", b" "), CHAT).errors
    assert (error["code"], error["line"]) == ("empty_file", None)
    monkeypatch.setattr(batch_lines, "MOST_LINES", 3)
    many = [line(str(number)) for number in range(4)]
    assert check_lines(written(tmp_path, *many[:3]), CHAT).errors == []
    (error,) = check_lines(written(tmp_path, *many), CHAT).errors
    assert (error["code"], error["line"]) == ("too_many_tasks", None)


def test_of_many_errors_the_first_are_told(tmp_path: Path) -> None:
    found = check_lines(written(tmp_path, *[b"{"] * 200), CHAT)
    assert [error["line"] for error in found.errors] == list(range(1, 101))
