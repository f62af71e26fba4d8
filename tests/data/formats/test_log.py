"""Logs with one message in each row."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.data.formats.given import plan_of, said

from tunewright.config.data import PrepareConfig
from tunewright.core.errors import DataError
from tunewright.data.collect import Collection, collect


def collected(folder: Path, table: str) -> Collection:
    file = folder / "log.csv"
    file.write_text(table.strip() + "\n", encoding="utf-8")
    result = collect(PrepareConfig.build({"files": [str(file)]}), lambda event: None)
    assert result.read == len(result.train) + len(result.dropped) + result.merged
    return result


def test_rows_of_a_session_become_one_conversation(tmp_path: Path) -> None:
    rows = collected(
        tmp_path,
        """
会话编号,角色,内容
1,用户,押金能退吗
1,客服,可以
1,用户,要多久
1,客服,七天
2,客户,在吗
2,客户,怎么开票
2,人工客服,点这里
""",
    )
    assert [said(draft.turns) for draft in rows.train] == [
        [("user", "押金能退吗"), ("assistant", "可以"), ("user", "要多久"), ("assistant", "七天")],
        [("user", "在吗\n怎么开票"), ("assistant", "点这里")],
    ]
    assert [draft.number for draft in rows.train] == [2, 6]
    assert (rows.read, rows.merged, rows.dropped) == (7, 5, [])


def test_sessions_may_be_interleaved_and_out_of_order(tmp_path: Path) -> None:
    rows = collected(
        tmp_path,
        """
session_id,sender,message,time
a,agent,a2,2024-01-05 10:00
b,user,b1,2024-01-05 9:00
a,user,a1,2024-01-05 9:59
b,agent,b2,2024-01-05 10:01
""",
    )
    assert [said(draft.turns) for draft in rows.train] == [
        [("user", "a1"), ("assistant", "a2")],
        [("user", "b1"), ("assistant", "b2")],
    ]


def test_every_row_that_is_not_part_of_the_talk_is_accounted_for(tmp_path: Path) -> None:
    rows = collected(
        tmp_path,
        """
会话,角色,内容
1,客服,您好
1,用户,怎么开票
1,系统,会话已转接
1,客服,点这里
1,用户,谢谢
2,用户,有人吗
,用户,无编号
3,机器猫,你好
3,用户,
""",
    )
    assert [said(draft.turns) for draft in rows.train] == [
        [("user", "怎么开票"), ("assistant", "点这里")]
    ]
    assert {(row.row, row.reason) for row in rows.dropped} == {
        (2, "said before the first question"),
        (4, "notice within a conversation"),
        (6, "said after the last answer"),
        (7, "no question with an answer"),
        (8, "no session"),
        (9, "unknown role"),
        (10, "empty message"),
    }
    assert (rows.read, rows.merged) == (9, 1)


def test_a_system_message_at_the_beginning_stays(tmp_path: Path) -> None:
    rows = collected(
        tmp_path,
        """
conversation_id,role,content
x,system,你是客服
x,user,q
x,assistant,a
""",
    )
    assert said(rows.train[0].turns)[0] == ("system", "你是客服")


def test_names_of_people_do_not_tell_who_asks() -> None:
    rows = [{"会话": "1", "发送人": name, "内容": "x"} for name in ("张三", "李四")]
    with pytest.raises(DataError, match="who asks and who answers; it holds: 张三, 李四") as error:
        plan_of(*rows)
    assert "--map role=COLUMN" in error.value.hint


def test_a_log_under_names_of_ones_own() -> None:
    rows = [{"单号": "1", "谁": who, "话": "x"} for who in ("用户", "客服")]
    plan = plan_of(*rows, map={"session": "单号", "role": "谁", "content": "话"})
    assert (plan.format, plan.kind) == ("log", "conversation")


def test_messages_without_sessions_are_refused_with_the_mapping_that_would_help() -> None:
    rows = [{"role": who, "content": "x", "批次": "1"} for who in ("user", "assistant")]
    with pytest.raises(DataError, match="no column tells which rows make up one") as error:
        plan_of(*rows)
    assert error.value.hint.endswith("--map session=COLUMN")
    assert plan_of(*rows, map={"session": "批次"}).format == "log"
    assert plan_of({"author": "张三", "content": "一段文字"}).format == "text"
