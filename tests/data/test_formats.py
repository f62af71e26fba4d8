"""Columns found by name, by hand or refused; conversations in their usual notations."""

from __future__ import annotations

from typing import Any

import pytest

from tunewright.config.data import PrepareConfig
from tunewright.core.errors import DataError
from tunewright.data.columns import find_columns
from tunewright.data.formats import Plan, make_plan
from tunewright.data.records import Unusable
from tunewright.data.sources import Source


def source_of(*records: dict[str, Any]) -> Source:
    columns = tuple(dict.fromkeys(key for record in records for key in record))
    return Source("d.json", "json", columns, records, lambda: iter(()))


def plan_of(*records: dict[str, Any], **options: Any) -> Plan:
    return make_plan(source_of(*records), PrepareConfig.build({"files": ["d.json"], **options}))


def turns_of(record: dict[str, Any], **options: Any) -> list[tuple[str, str]]:
    parsed = plan_of(record, **options).convert(record)
    return [(turn.role, turn.text) for turn in parsed.turns]


def reason_of(record: dict[str, Any]) -> str:
    with pytest.raises(Unusable) as caught:
        plan_of(record).convert(record)
    return caught.value.reason


@pytest.mark.parametrize(
    ("columns", "question", "answer"),
    [
        (["question", "answer"], "question", "answer"),
        (["id", "Query", " Response "], "Query", " Response "),
        (["prompt", "completion"], "prompt", "completion"),
        (["instruction", "output"], "instruction", "output"),
        (["问题", "回答"], "问题", "回答"),
        (["提问", "答复"], "提问", "答复"),
        (["用户问题", "标准答案"], "用户问题", "标准答案"),
        (["Ｑｕｅｓｔｉｏｎ", "回复"], "Ｑｕｅｓｔｉｏｎ", "回复"),
        (["content", "summary"], "content", "summary"),
        (["input", "output"], "input", "output"),
    ],
)
def test_usual_names_are_known(columns: list[str], question: str, answer: str) -> None:
    found = find_columns("f", columns, {})
    assert (found.get("question"), found.get("answer")) == (question, answer)
    assert found.reason[0]["kind"] == "mapped by name"


def test_all_fields_of_a_forum_export() -> None:
    columns = ["标题", "问题", "回答", "是否最佳", "类别"]
    assert find_columns("f", columns, {}).fields == {
        "question": "问题",
        "title": "标题",
        "answer": "回答",
        "best": "是否最佳",
        "slice": "类别",
    }


def test_the_users_own_mapping_wins() -> None:
    columns = ["title", "question", "reply", "summary_text"]
    found = find_columns("f", columns, {"question": "title", "answer": "summary_text"})
    assert found.fields == {"question": "title", "answer": "summary_text"}
    found = find_columns("f", columns, {"title": "TITLE"})
    assert found.fields == {"title": "title", "answer": "reply"}


def test_a_column_that_cannot_be_mapped_is_refused_with_help() -> None:
    with pytest.raises(DataError, match="there is no column 'x'") as caught:
        find_columns("f.csv", ["a", "b"], {"question": "x"})
    assert "a, b" in caught.value.hint
    with pytest.raises(DataError, match="no field 'reply'"):
        find_columns("f.csv", ["a", "b"], {"reply": "b"})


def test_no_usable_column_suggests_the_two_longest_texts() -> None:
    sample = [
        {"编号": "17", "情况": "我被辞退了怎么办", "处理": "可以申请仲裁，要求赔偿", "x": "1"}
    ]
    with pytest.raises(DataError, match="no column looks like") as error:
        find_columns("f.csv", ["编号", "情况", "处理", "x"], {}, sample)
    assert "编号, 情况, 处理, x" in error.value.message
    assert error.value.hint.endswith("--map question=情况 --map answer=处理")


def test_a_missing_header_is_suspected() -> None:
    with pytest.raises(DataError) as error:
        find_columns("f.csv", ["1", "2"], {}, [{"1": "3", "2": "4"}])
    assert "first row hold the column names" in error.value.hint


def test_preferences_and_labelled_answers_are_refused() -> None:
    talk = [{"from": "human", "value": "hi"}]
    with pytest.raises(DataError, match="preference data") as error:
        plan_of({"conversations": talk, "chosen": {}, "rejected": {}})
    assert "--map answer=chosen" in error.value.hint
    labelled = {"messages": [{"role": "user", "content": "hi"}], "label": False}
    with pytest.raises(DataError, match="labelled good or bad") as error:
        plan_of(labelled)
    assert "--where label=true" in error.value.hint
    assert plan_of(labelled, where={"label": "true"}).format == "messages"


def test_chosen_answers_of_preferences_can_be_asked_for() -> None:
    record = {"prompt": "q", "chosen": "good", "rejected": "bad"}
    turns = turns_of(record, map={"question": "prompt", "answer": "chosen"})
    assert turns == [("user", "q"), ("assistant", "good")]


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


def test_openai_messages() -> None:
    messages = [
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
        {"role": "assistant", "content": "c", "weight": 0},
        {"role": "user", "content": "d"},
        {"role": "assistant", "content": "e", "weight": 1},
    ]
    plan = plan_of({"messages": messages, "kind": "x"})
    turns = plan.convert({"messages": messages}).turns
    assert [tuple(turn) for turn in turns] == [
        ("system", "Be brief.", 1),
        ("user", "ab", 1),
        ("assistant", "c", 0),
        ("user", "d", 1),
        ("assistant", "e", 1),
    ]
    assert (plan.format, plan.slice) == ("messages", "kind")


def test_conversations_in_both_notations() -> None:
    expected = [("user", "q"), ("assistant", "a")]
    chatglm = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]
    sharegpt = [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]
    assert turns_of({"conversations": chatglm}) == expected
    assert turns_of({"conversations": sharegpt, "system": ""}) == expected
    with_system = turns_of({"conversations": sharegpt, "system": "S"})
    assert with_system == [("system", "S"), *expected]


USER, BOT = {"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}


@pytest.mark.parametrize(
    ("messages", "reason"),
    [
        ([], "empty question"),
        ([BOT], "empty question"),
        ([USER], "empty answer"),
        ([USER, BOT, USER], "empty answer"),
        ([USER, {"role": "assistant", "content": ""}], "empty answer"),
        ([USER, {"role": "assistant", "content": None, "tool_calls": [{}]}], "tool calls"),
        ([USER, {"from": "function_call", "value": "{}"}, BOT], "tool calls"),
        ([USER, {"role": "wizard", "content": "x"}], "unknown role"),
        ([USER, {"role": "system", "content": "x"}, BOT], "system message not first"),
        ([USER, "text"], "not a message"),
        ([USER, {"role": "assistant", "content": [{"type": "image_url"}]}], "not text"),
    ],
)
def test_conversations_that_cannot_be_learned(messages: list[Any], reason: str) -> None:
    assert reason_of({"messages": messages}) == reason


def test_offered_tools_are_not_silently_forgotten() -> None:
    assert reason_of({"messages": [USER, BOT], "tools": '[{"name": "f"}]'}) == "tool calls"
    assert turns_of({"messages": [USER, BOT], "tools": ""}) == [("user", "q"), ("assistant", "a")]


def test_a_format_can_be_insisted_on() -> None:
    record = {"messages": [USER, BOT], "question": "x", "answer": "y"}
    assert turns_of(record, format="columns") == [("user", "x"), ("assistant", "y")]
    with pytest.raises(DataError, match="needs a field 'conversations'"):
        plan_of(record, format="conversations")
