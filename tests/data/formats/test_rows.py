"""One question and one answer in each record."""

from __future__ import annotations

import pytest
from tests.data.formats.given import parsed_of, plan_of, reason_of, turns_of

from tunewright.data.records import Turn


@pytest.mark.parametrize(
    ("title", "question", "asked"),
    [
        ("怎么退押金", "", "怎么退押金"),
        ("", "怎么退押金？", "怎么退押金？"),
        ("怎么退押金", "怎么退押金？？想了解一下。", "怎么退押金？？想了解一下。"),
        ("房东不退押金怎么办？", "怎么办", "房东不退押金怎么办？"),
        ("租房", "退房以后房东一直不肯退押金", "退房以后房东一直不肯退押金"),
        ("房东不退押金违法吗", "在北京", "房东不退押金违法吗\n在北京"),
    ],
)
def test_title_and_question_become_one_question(title: str, question: str, asked: str) -> None:
    record = {"title": title, "question": question, "answer": "可以要求返还"}
    assert turns_of(record)[0] == ("user", asked)


def test_a_question_that_only_decorates_its_title_shares_the_titles_key() -> None:
    plain = {"title": "房东不退押金怎么办", "question": "", "answer": "a"}
    polite = {**plain, "question": "房东不退押金怎么办？想了解一下。"}
    plan = plan_of(plain, polite)
    assert plan.convert(polite).key == "房东不退押金怎么办"
    assert plan.convert(plain).key is None


def test_the_best_flag_is_used_only_when_it_is_one() -> None:
    row = {"question": "q", "answer": "a"}
    assert plan_of({**row, "is_best": "0"}, {**row, "is_best": "1"}).best == "is_best"
    assert plan_of({**row, "采纳": "否"}, {**row, "采纳": "是"}).best == "采纳"
    scores = plan_of({**row, "best": "0.4"}, {**row, "best": "0.9"})
    assert (scores.best, len(scores.notes)) == (None, 1)
    assert plan_of({**row, "is_best": "0"}).best is None
    by_hand = plan_of({**row, "is_best": "1"}, where={"is_best": "0"})
    assert by_hand.best is None


def test_alpaca_joins_instruction_and_input() -> None:
    record = {"instruction": "翻译", "input": "你好", "output": "hello", "system": "你是翻译"}
    assert turns_of(record) == [
        ("system", "你是翻译"),
        ("user", "翻译\n你好"),
        ("assistant", "hello"),
    ]
    assert turns_of({"instruction": "说你好", "input": "", "output": "你好"})[0][1] == "说你好"


def test_cells_that_are_not_text() -> None:
    assert turns_of({"question": 12, "answer": True}) == [("user", "12"), ("assistant", "True")]
    assert reason_of({"question": "q", "answer": ["a"]}) == "not text"
    assert reason_of({"question": None, "answer": "a"}) == "empty question"
    assert reason_of({"question": "q", "answer": " \u3000\n"}) == "empty answer"


@pytest.mark.parametrize(
    ("record", "name"),
    [
        ({"instruction": "q", "input": "", "output": "a"}, "alpaca"),
        ({"prompt": "q", "completion": "a"}, "completion"),
        ({"Prompt": "q", "COMPLETION": "a"}, "completion"),
        ({"content": "q", "summary": "a"}, "summary"),
        ({"query": "q", "response": "a"}, "query"),
        ({"问题": "q", "回答": "a"}, "columns"),
        ({"title": "t", "content": "q", "reply": "a"}, "columns"),
    ],
)
def test_known_shapes_are_named(record: dict[str, str], name: str) -> None:
    assert plan_of(record).format == name
    assert turns_of(record)[-1] == ("assistant", "a")


def test_earlier_rounds_come_before_the_question() -> None:
    record = {"query": "q3", "response": "a3", "history": [["q1", "a1"], ["q2", "a2"]]}
    expected = ["q1", "a1", "q2", "a2", "q3", "a3"]
    assert [text for _, text in turns_of(record)] == expected
    as_text = {**record, "history": '[["q1", "a1"], ["q2", "a2"]]', "system": "S"}
    assert turns_of(as_text)[0] == ("system", "S")
    assert [text for _, text in turns_of(as_text)[1:]] == expected
    for empty in ([], "", "[]", None):
        assert len(turns_of({**record, "history": empty})) == 2


@pytest.mark.parametrize("history", ["none", [["q1"]], [["q1", ""]], ["q1"], [{"q": "a"}]])
def test_a_history_that_is_none_is_told(history: object) -> None:
    record = {"instruction": "q", "output": "a", "history": history}
    assert reason_of(record) == "history is not a list of rounds"


def test_columns_that_are_not_used_are_named() -> None:
    plan = plan_of({"query": "q", "response": "a", "laws": ["x"], "id": 7, "empty": ""})
    assert plan.notes == ({"kind": "unused columns", "columns": "laws, id"},)


def test_a_class_beside_an_answer_can_be_named() -> None:
    record = {"question": "q", "answer": "a", "科目": "租房"}
    assert parsed_of(record, map={"label": "科目", "answer": "answer"}).label == "租房"
    assert parsed_of(record).label is None


def test_a_group_or_date_that_is_none_is_not_taken_unless_asked_for() -> None:
    rows = [
        {"question": "q", "answer": "a", "group": "AB"[n % 2], "date": "gestern", "n": n}
        for n in range(30)
    ]
    plan = plan_of(*rows)
    assert (plan.group, plan.date) == (None, None)
    assert plan.notes[-1]["columns"] == "group, date, n"
    asked = plan_of(*rows, map={"group": "group"})
    assert asked.group == "group"
    rows = [{**row, "group": row["n"] // 2, "date": "2024/1/5"} for row in rows]
    assert (plan_of(*rows).group, plan_of(*rows).date) == ("group", "date")


def test_plain_columns_are_read_in_full() -> None:
    parsed = parsed_of({"question": " 押金能退吗\r\n急 ", "answer": "能\x00"})
    assert parsed.turns == (Turn("user", "押金能退吗\n急"), Turn("assistant", "能"))
    assert reason_of({"question": {"a": 1}, "answer": "a"}) == "not text"
