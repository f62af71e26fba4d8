"""Plain text for continued pretraining."""

from __future__ import annotations

import pytest
from tests.data.formats.given import plan_of, reason_of, turns_of

from tunewright.core.errors import DataError


@pytest.mark.parametrize(
    "record",
    [
        {"text": "一段文字"},
        {"正文": "一段文字", "编号": 1},
        {"content": "一段文字", "url": "u", "date": "2024-01-01"},
        {"prompt": "", "completion": "一段文字"},
    ],
)
def test_texts_alone_are_learned_as_they_are(record: dict[str, object]) -> None:
    plan = plan_of(record)
    assert (plan.format, plan.kind) == ("text", "text")
    assert turns_of(record) == [("user", "一段文字")]


def test_documents_come_under_their_title_and_heading() -> None:
    record = {"text": "第一条 ……", "title": "民法典", "heading": "第一章"}
    assert turns_of(record) == [("user", "民法典\n第一章\n第一条 ……")]
    told = {**record, "text": "民法典\n第一章\n第一条 ……"}
    assert turns_of(told) == [("user", "民法典\n第一章\n第一条 ……")]
    same = {**record, "heading": "民法典"}
    assert turns_of(same) == [("user", "民法典\n第一条 ……")]


def test_texts_beside_something_else_are_not_taken_for_plain_text() -> None:
    with pytest.raises(DataError, match="no column looks like the answer"):
        plan_of({"text": "一段文字", "译文": "some text"})
    assert plan_of({"text": "x", "译文": "y"}, map={"text": "译文"}).format == "text"


def test_prompts_that_are_there_are_no_plain_text() -> None:
    assert plan_of({"prompt": "q", "completion": "a"}).format == "completion"


def test_empty_texts() -> None:
    plan_of({"text": "x"})
    assert reason_of({"text": " \n"}) == "empty text"
