"""Columns found by their usual names, by hand, or refused with help."""

from __future__ import annotations

import pytest

from tunewright.core.errors import DataError
from tunewright.data.columns import find_columns


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


def test_forum_exports_whose_question_is_called_content() -> None:
    found = find_columns("f", ["标题", "内容", "律师回复", "回复时间"], {})
    assert found.fields == {
        "question": "内容",
        "title": "标题",
        "answer": "律师回复",
        "date": "回复时间",
    }


def test_names_that_only_mean_something_together() -> None:
    assert find_columns("f", ["用户", "客服"], {}).fields == {"question": "用户", "answer": "客服"}
    with pytest.raises(DataError, match="looks like the answer"):
        find_columns("f", ["内容", "客服"], {})


def test_a_file_of_questions_alone_is_refused_with_the_mapping_that_would_help() -> None:
    sample = [{"query_id": 2, "query": "押金能退吗", "articles": {"第七百条": "…"}}]
    with pytest.raises(DataError, match="no column looks like the answer") as error:
        find_columns("q.jsonl", list(sample[0]), {}, sample)
    assert "its columns are: query_id, query, articles" in error.value.message
    assert "query_id holds numbers, articles holds objects" in error.value.hint
    assert error.value.hint.endswith("--map question=query --map answer=COLUMN")
