"""Shared beginnings and ends: separators of older formats go, instructions stay."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.data.checks.compared import rows, run, said

from tunewright.data.checks.affixes import AFFIXES, shared_affixes
from tunewright.data.checks.base import Corpus
from tunewright.data.records import Draft, Turn
from tunewright.model.rendering import Renderer

TASK = "请判断下面这句话的情感是正面还是负面："


@pytest.fixture(scope="module")
def renderer(tiny_base: Path) -> Renderer:
    return Renderer(tiny_base)


def wrapped(before: str, after: str, head: str, tail: str, count: int = 30) -> list[Draft]:
    return rows(
        *((f"{before}{n}号合同{n}{after}", f"{head}{n * 7}天{n}{tail}") for n in range(count))
    )


def affixes(drafts: list[Draft]) -> list[tuple[str, str, str, bool]]:
    return [(a.role, a.side, a.text, a.separator) for a in shared_affixes(Corpus(drafts))]


@pytest.mark.parametrize(
    ("after", "tail"),
    [(" ->", " END"), ("\n\n###", "###"), ("\n\n===>", "***"), ("=>", "[END]"), ("\n答：", "+++"),
     ("\nA:", "@@@")],
)  # fmt: skip
def test_separators_are_taken_off(after: str, tail: str, renderer: Renderer) -> None:
    drafts = wrapped("", after, "", tail)
    assert affixes(drafts) == [("user", "end", after, True), ("assistant", "end", tail, True)]
    outcome = run(AFFIXES, drafts, renderer)
    assert len(outcome.changes) == 30
    assert [turn.text for turn in outcome.changes[1].turns] == ["1号合同1", "7天1"]
    assert "2 of these 2 are separators" in said(AFFIXES, outcome)


def test_names_of_speakers_are_separators(renderer: Renderer) -> None:
    drafts = wrapped("问：", "", "答: ", "")
    assert affixes(drafts) == [
        ("user", "start", "问：", True),
        ("assistant", "start", "答: ", True),
    ]
    change = run(AFFIXES, drafts, renderer).changes[2]
    assert [turn.text for turn in change.turns] == ["2号合同2", "14天2"]
    assert change.detail == "“问：” at the start ×1, “答:” at the start ×1"


def test_an_instruction_stays_unless_asked_to_go(renderer: Renderer) -> None:
    drafts = wrapped(TASK, "", "我认为答案是", "，仅供参考。")
    shared = [("user", "start", TASK, False), ("assistant", "start", "我认为答案是", False),
              ("assistant", "end", "，仅供参考。", False)]  # fmt: skip
    assert affixes(drafts) == shared
    assert run(AFFIXES, drafts, renderer).changes == []
    assert run(AFFIXES, drafts, renderer, "keep").changes == []
    change = run(AFFIXES, drafts, renderer, "all").changes[3]
    assert [turn.text for turn in change.turns] == ["3号合同3", "21天3"]


def test_nine_rows_in_ten_are_enough_and_others_are_left_alone(renderer: Renderer) -> None:
    drafts = wrapped("", " ->", "", "", 27) + rows(*((f"别的{n}", f"答{n}") for n in range(3)))
    assert [change.index for change in run(AFFIXES, drafts, renderer).changes] == list(range(27))
    drafts += rows(("又一个", "答"))
    assert run(AFFIXES, drafts, renderer).finding is None


def test_ordinary_rows_share_nothing(renderer: Renderer) -> None:
    drafts = rows(*((f"第{n}条怎么理解？", f"{n}的意思是{n * n}。") for n in range(40)))
    assert run(AFFIXES, drafts, renderer).finding is None
    assert run(AFFIXES, wrapped("", " ->", "", "", 10), renderer).finding is None
    same = rows(*(("写一首关于春天和秋天的诗吧", f"{n}春") for n in range(40)))
    assert run(AFFIXES, same, renderer).finding is None


def test_no_text_is_emptied_and_every_turn_is_stripped(renderer: Renderer) -> None:
    drafts = wrapped("", " ->", "", "")
    drafts.append(Draft((Turn("user", "->"), Turn("assistant", "什么？")), "f", 31, "g"))
    turns = (*drafts[0].turns, Turn("user", "还有 ->"), Turn("assistant", "没有"))
    drafts.append(Draft(turns, "f", 32, "g"))
    changes = {change.index: change for change in run(AFFIXES, drafts, renderer).changes}
    assert 30 not in changes
    assert [turn.text for turn in changes[31].turns] == ["0号合同0", "0天0", "还有", "没有"]


def test_personal_data_in_an_affix_is_not_quoted(renderer: Renderer) -> None:
    outcome = run(AFFIXES, wrapped("", "", "", "，详询13800138000"), renderer)
    assert "13800138000" not in repr(outcome.finding)
