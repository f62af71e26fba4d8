"""Rows of an eval's run, and what a model is asked for each."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tunewright.core.asked_records import EvalRun
from tunewright.core.errors import InputError
from tunewright.jobs.eval_rows import Row, check_rows, read_rows, request, write_rows

SCHEMA = {
    "type": "object",
    "properties": {"question": {"type": "string"}},
    "required": ["question"],
}
GOOD = {"item": {"question": "退货?"}, "sample": {"output_text": "七天"}}


def written(folder: Path, *lines: Any) -> Path:
    path = folder / "items.jsonl"
    path.write_text("\n".join(one if isinstance(one, str) else json.dumps(one) for one in lines))
    return path


def test_good_rows_are_counted_and_read_on(tmp_path: Path) -> None:
    write_rows(tmp_path, [GOOD, {"item": {"question": "?"}}])
    path = tmp_path / "items.jsonl"
    assert check_rows(path, SCHEMA) == 2
    first, second = read_rows(path)
    assert (first.answer, second.answer, second.sample) == ("七天", "", None)
    assert [row.number for row in read_rows(path, {0})] == [1]


@pytest.mark.parametrize(
    ("wrong", "problem"),
    [
        ("{", "row 1 is not JSON"),
        ("[]", "row 1 must be"),
        ({"question": "x"}, "row 1 must be"),
        ({"item": {}, "sample": "x"}, "row 1 must be"),
        ({"item": {"question": 7}}, "row 1: the item does not fit"),
        ({"item": {}}, "row 1: the item does not fit"),
    ],
)
def test_a_wrong_row_is_named(tmp_path: Path, wrong: Any, problem: str) -> None:
    with pytest.raises(InputError) as caught:
        check_rows(written(tmp_path, GOOD, "", wrong), SCHEMA)
    assert problem in caught.value.message


def test_no_row_is_not_enough(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no row"):
        check_rows(written(tmp_path, ""), None)


def run_of(**source: Any) -> EvalRun:
    given = {"type": "completions", **source}
    return EvalRun(id="evalrun_1", eval="eval_1", name="r", source=given, model="nano")


def test_a_template_is_filled_once() -> None:
    template = [
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "content": {"type": "input_text", "text": "Q: {{item.question}}"}},
    ]
    run = run_of(
        input_messages={"type": "template", "template": template},
        sampling_params={"temperature": 0.5, "max_completion_tokens": 9, "seed": None},
    )
    assert request(run, Row(0, {"question": "{{item.secret}}", "secret": "s"}, None)) == {
        "model": "nano",
        "messages": [
            {"role": "developer", "content": "Be brief."},
            {"role": "user", "content": "Q: {{item.secret}}"},
        ],
        "temperature": 0.5,
        "max_completion_tokens": 9,
    }
    with pytest.raises(InputError, match="row 3"):
        request(run, Row(3, {"other": 1}, None))


def test_messages_can_stand_in_the_row() -> None:
    messages = [{"role": "user", "content": "hello"}]
    run = run_of(input_messages={"type": "item_reference", "item_reference": "item.a.b"})
    assert request(run, Row(0, {"a": {"b": messages}}, None))["messages"] == messages
    assert request(run_of(), Row(0, {"input": messages}, None))["messages"] == messages
    for item in ({}, {"a": {"b": []}}, {"a": {"b": "x"}}, {"a": {"b": [{"role": "user"}]}}):
        with pytest.raises(InputError, match=r"item\.a\.b"):
            request(run, Row(0, item, None))
