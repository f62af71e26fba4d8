"""Answers judged good or bad."""

from __future__ import annotations

from typing import Any

import pytest
from tests.data.formats.given import BOT, USER, plan_of, reason_of, said


@pytest.mark.parametrize(
    "record",
    [
        {"messages": [USER, BOT], "label": False},
        {"conversations": [USER, BOT], "kto_tag": False},
        {"prompt": "q", "completion": "a", "label": False},
        {"prompt": "q", "completion": "a", "label": "0"},
        {"prompt": [USER], "completion": [BOT], "label": False},
        {"instruction": "q", "input": "", "completion": "a", "kto_tag": False},
    ],
)
def test_every_notation_says_the_same(record: dict[str, Any]) -> None:
    plan = plan_of(record)
    parsed = plan.convert(record)
    assert (plan.format, plan.kind) == ("rating", "rating")
    assert said(parsed.turns) == [("user", "q"), ("assistant", "a")]
    assert parsed.desirable is False


def test_good_answers_are_told_from_bad_ones() -> None:
    rows = [{"messages": [USER, BOT], "label": value} for value in (True, False, 1, "否")]
    plan = plan_of(*rows)
    assert [plan.convert(row).desirable for row in rows] == [True, False, True, False]


def test_who_keeps_the_good_ones_wants_to_learn_them() -> None:
    rated = {"messages": [USER, BOT], "label": False}
    assert plan_of(rated, where={"label": "true"}).format == "messages"


def test_other_tables_are_judged_only_when_asked() -> None:
    record = {"问题": "q", "回答": "a", "有用": "是"}
    assert plan_of(record).kind == "conversation"
    plan = plan_of(record, map={"desirable": "有用"})
    assert (plan.kind, plan.convert(record).desirable) == ("rating", True)


def test_labels_of_something_else_do_not_judge() -> None:
    assert plan_of({"messages": [USER, BOT], "label": "租房"}).kind == "conversation"


def test_rows_without_a_judgement_or_an_answer() -> None:
    rated = {"messages": [USER, BOT], "label": True}
    plan = plan_of(rated)
    assert plan.format == "rating"
    assert reason_of({"prompt": "q", "completion": "", "label": True}) == "empty answer"
    odd = {"问题": "q", "回答": "a", "有用": "也许"}
    assert reason_of(odd, map={"desirable": "有用"}) == "no yes or no"
    assert reason_of({**odd, "有用": None}, map={"desirable": "有用"}) == "no yes or no"
