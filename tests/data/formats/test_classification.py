"""Texts with their class."""

from __future__ import annotations

import pytest
from tests.data.formats.given import parsed_of, plan_of, reason_of, turns_of

from tunewright.core.errors import DataError


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("text", "label"),
        ("文本", "标签"),
        ("sentence", "label"),
        ("review", "sentiment"),
        ("query", "intent"),
        ("问题", "意图"),
        ("标题", "类别"),
    ],
)
def test_usual_names_are_known(text: str, label: str) -> None:
    record = {text: "很好用", label: "好评"}
    plan = plan_of(record)
    assert plan.format == "classification"
    assert turns_of(record) == [("user", "很好用"), ("assistant", "好评")]
    assert plan.convert(record).label == "好评"
    assert plan.reason[0] == {"kind": "text and class", "label": label}


def test_names_of_classes_are_preferred_to_numbers() -> None:
    named = {"text": "x", "label": 1, "label_text": "positive"}
    assert parsed_of(named).label == "positive"
    plan = plan_of({"text": "x", "label": 1})
    assert plan.convert({"text": "x", "label": 1}).label == "1"
    assert {"kind": "labels are numbers", "column": "label"} in plan.notes


def test_two_texts_judged_together() -> None:
    record = {"sentence1": "x", "sentence2": "y", "label": "同义"}
    assert turns_of(record) == [("user", "x\ny"), ("assistant", "同义")]


def test_answers_are_not_classes() -> None:
    answered = {"question": "q", "answer": "a", "category": "租房"}
    assert (plan_of(answered).format, plan_of(answered).slice) == ("columns", "category")
    long = [{"text": f"x{n}", "label": f"第{n}种说法"} for n in range(40)]
    with pytest.raises(DataError):
        plan_of(*long)
    asked = plan_of(*long, map={"label": "label"})
    assert asked.format == "classification"


def test_a_mapping_of_ones_own() -> None:
    record = {"工单": "打不开网页", "处理组": "网络"}
    assert turns_of(record, map={"question": "工单", "label": "处理组"}) == [
        ("user", "打不开网页"),
        ("assistant", "网络"),
    ]


def test_rows_without_a_text_or_a_class() -> None:
    assert reason_of({"text": "", "label": "a"}) == "empty question"
    assert reason_of({"text": "x", "label": ""}, format="classification") == "empty label"
