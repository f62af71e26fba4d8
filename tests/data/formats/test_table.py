"""Which format a file is in, and how that is overridden."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.data.formats.given import BOT, USER, plan_of, turns_of

from tunewright.config.data import PrepareConfig
from tunewright.core.errors import ConfigError, DataError
from tunewright.data.collect import Collection, collect
from tunewright.data.columns import FIELDS
from tunewright.data.formats import FORMATS
from tunewright.data.labels import Words

ROOT = Path(__file__).parents[3]
Write = Callable[..., str]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes records as a JSONL file and gives its path."""

    def written(name: str, *records: dict[str, Any]) -> str:
        lines = [json.dumps(record, ensure_ascii=False) for record in records]
        (tmp_path / name).write_text("\n".join(lines), encoding="utf-8")
        return str(tmp_path / name)

    return written


def collected(*files: str, **options: Any) -> Collection:
    result = collect(PrepareConfig.build({"files": files, **options}), lambda event: None)
    assert result.read == len(result.train) + len(result.dropped) + result.merged
    return result


def test_an_unknown_format_is_refused_with_the_list_and_the_nearest() -> None:
    with pytest.raises(ConfigError, match="did you mean 'alpaca'") as error:
        plan_of({"question": "q", "answer": "a"}, format="Alpacca")
    assert all(name in error.value.hint for name in FORMATS)


def test_a_format_can_be_insisted_on() -> None:
    record = {"messages": [USER, BOT], "question": "x", "answer": "y"}
    assert turns_of(record) == [("user", "q"), ("assistant", "a")]
    assert turns_of(record, format="columns") == [("user", "x"), ("assistant", "y")]


@pytest.mark.parametrize("name", [name for name in FORMATS if name != "columns"])
def test_a_file_in_another_format_says_what_it_lacks(name: str) -> None:
    with pytest.raises(DataError, match=f"format '{name}' needs .*its fields are: x, y"):
        plan_of({"x": 1, "y": 2}, format=name)


def test_fields_asked_for_choose_among_formats() -> None:
    record = {"messages": [USER, BOT], "题": "x", "解": "y", "坏": "z"}
    mapped = {"question": "题", "answer": "解"}
    assert plan_of(record).format == "messages"
    assert plan_of(record, map=mapped).format == "columns"
    pair = {"question": "题", "chosen": "解", "rejected": "坏"}
    assert plan_of(record, map=pair).format == "preference"
    assert plan_of(record, map={"text": "题"}).format == "text"
    with pytest.raises(DataError, match="no format has all of the fields session, rejected"):
        plan_of(record, map={"session": "题", "rejected": "坏"})
    with pytest.raises(DataError, match="format 'messages' has no such field"):
        plan_of(record, format="messages", map={"rejected": "坏"})


def test_a_mapping_that_only_one_format_knows_says_what_else_that_needs() -> None:
    with pytest.raises(DataError, match="format 'log' needs"):
        plan_of({"a": "1", "b": "x"}, map={"session": "a"})


def test_every_field_belongs_to_a_format_and_every_entry_is_complete() -> None:
    assert set().union(*(entry.takes for entry in FORMATS.values())) == set(FIELDS)
    for entry in FORMATS.values():
        assert entry.title.keys() == {"en", "zh"}
        assert entry.example


def test_one_odd_row_is_named_and_the_others_load(write: Write) -> None:
    good = {"messages": [USER, BOT]}
    odd = {"messages": [USER, {"role": "wizard", "content": "x"}]}
    rows = collected(write("d.jsonl", good, odd, {"other": 1}, good))
    assert [draft.number for draft in rows.train] == [1, 4]
    assert [(d.row, d.reason) for d in rows.dropped] == [(2, "unknown role"), (3, "no messages")]
    assert "'wizard'" in rows.dropped[0].text


def test_files_of_different_kinds_are_refused_together(write: Write) -> None:
    talk = write("talk.jsonl", {"question": "q", "answer": "a"})
    pairs = write("pairs.jsonl", {"prompt": "q", "chosen": "good", "rejected": "bad"})
    with pytest.raises(DataError) as error:
        collected(talk, pairs)
    assert "talk.jsonl holds conversations" in error.value.message
    assert "pairs.jsonl holds preferences" in error.value.message
    text = write("book.jsonl", {"text": "一段文字"})
    with pytest.raises(DataError, match=r"book.jsonl holds plain text"):
        collected(talk, test_files=[text])
    assert len(collected(talk, write("more.jsonl", {"messages": [USER, BOT]})).train) == 2


def test_a_test_file_may_be_in_another_format_than_the_one_asked_for(write: Write) -> None:
    train = write("train.jsonl", {"messages": [USER, BOT], "question": "x", "answer": "y"})
    test = write("test.jsonl", {"conversations": [USER, BOT]})
    result = collect(
        PrepareConfig.build({"files": [train], "test_files": [test], "format": "columns"}),
        lambda event: None,
    )
    assert (result.train[0].question, result.test[0].question) == ("x", "q")


def test_group_date_and_best_reach_the_drafts(write: Write) -> None:
    rows = [
        {"question": f"q{n}", "answer": "a", "分组": n // 2, "日期": f"2024/{n + 1}/1", "最佳": 1}
        for n in range(6)
    ]
    drafts = collected(write("d.jsonl", *rows)).train
    assert [draft.group == drafts[0].group for draft in drafts] == [True, True, *[False] * 4]
    assert (drafts[0].date, drafts[0].best) == ("2024-01-01", True)


def test_preferences_and_ratings_reach_the_stored_rows(write: Write) -> None:
    pair = collected(write("p.jsonl", {"prompt": "q", "chosen": "good", "rejected": "bad"}))
    row = pair.train[0].row()
    assert (row.conversation.answer, row.rejected[0].content) == ("good", "bad")
    rated = collected(write("r.jsonl", {"messages": [USER, BOT], "label": False}))
    assert rated.train[0].row().desirable is False
    assert rated.train[0].kind == "rating"


def test_words_exist_for_every_reason_and_fact_of_the_formats() -> None:
    folder = ROOT / "src" / "tunewright" / "data" / "formats"
    code = "\n".join(path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.py")))
    words = Words.of("zh")
    reasons = set(re.findall(r'Unusable\(\s*"([^"]+)"', code))
    assert len(reasons) > 15
    assert reasons <= words.reasons.keys()
    facts = set(re.findall(r'"kind": "([^"]+)"', code))
    assert len(facts) > 8
    assert facts <= words.facts.keys()


@pytest.mark.parametrize("page", ["formats.md", "formats.zh-CN.md"])
def test_the_pages_of_formats_name_every_format_and_field(page: str) -> None:
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    assert [name for name in (*FORMATS, *FIELDS) if f"`{name}`" not in text] == []
