"""Rows that say nothing, and short answers that say a lot."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.data.checks.compared import found, qa, rows, run, said

from tunewright.core.messages import ToolCall
from tunewright.data.checks.trivial import TRIVIAL
from tunewright.data.records import Draft, Turn
from tunewright.model.rendering import Renderer


@pytest.fixture(scope="module")
def renderer(tiny_base: Path) -> Renderer:
    return Renderer(tiny_base)


def reasons(drafts: list[Draft], renderer: Renderer) -> dict[int, str]:
    return {drop.index: drop.reason for drop in run(TRIVIAL, drafts, renderer).drops}


@pytest.mark.parametrize(
    "answer",
    ["。", "……", "？？？", "😀👍", "—", "略", "略。", "同上", "（同上）", "见附件", "N/A", "n/a.",
     "null", "None", "-", "暂无回答", "See above.", "TODO"],
)  # fmt: skip
def test_answers_that_say_nothing_are_left_out(answer: str, renderer: Renderer) -> None:
    assert reasons(rows(("合同怎么写", answer)), renderer) == {0: "answer says nothing"}


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("合同要公证吗？", "否"),
        ("合同要公证吗？", "要。"),
        ("几年？", "3"),
        ("Is it legal?", "No."),
        ("有没有前科？", "无"),
        ("有无异议", "没有。"),
        ("What does print() return?", "None"),
        ("抽取文中的人名，没有则输出null", "null"),
        ("这句话对不对", "√"),
        ("3 和 5 哪个大，填符号", "<"),
        ("用一个表情表示开心", "😀"),
        ("给这句话加标点", "。"),
        ("情感是什么", "正面"),
        ("首都在哪", "北京"),
        ("测试怎么写", "先写断言。"),
        ("略字怎么读", "lüè"),
    ],
)
def test_short_answers_that_answer_stay(question: str, answer: str, renderer: Renderer) -> None:
    assert reasons(rows((question, answer)), renderer) == {}


def test_empty_answers_are_left_out(renderer: Renderer) -> None:
    assert reasons(rows(("问题在这里", ""), ("问题", " \n")), renderer) == {
        0: "empty answer",
        1: "empty answer",
    }


def test_answers_that_repeat_the_question_are_left_out(renderer: Renderer) -> None:
    drafts = rows(
        ("押金什么时候退？", "押金什么时候退"),
        ("押金什么时候退？", "押金什么时候退，合同写明。"),
        ("押金", "押金"),
    )
    repeated = {0: "answer repeats the question", 2: "answer repeats the question"}
    assert reasons(drafts, renderer) == repeated


def test_questions_of_one_character_are_left_out(renderer: Renderer) -> None:
    drafts = rows(("？", "您好，请问什么问题？"), ("a", "What do you mean?"), ("嗨", "您好！"))
    drafts.append(Draft((Turn("system", "译成英文"), *qa("猫", "A cat").turns), "f", 9, "g"))
    assert reasons(drafts, renderer) == dict.fromkeys((0, 1), "question of one character")
    assert reasons(rows(("", "写明租金")), renderer) == {0: "empty question"}


def test_classes_calls_bad_examples_and_texts_stay(renderer: Renderer) -> None:
    call = ToolCall(name="look", arguments="{}")
    calling = (Turn("user", "查一下天气"), Turn("assistant", "", calls=(call,)))
    drafts = [qa("很好", "无", label="无"), qa("好", "正", label="正"), Draft(calling, "f", 1, "g")]
    assert reasons(drafts, renderer) == {}
    judged = [qa("怎么写", "略", kind="rating", desirable=liked) for liked in (True, False)]
    assert reasons(judged, renderer) == {0: "answer says nothing"}
    texts = [Draft((Turn("user", text),), "f", 1, "g", kind="text") for text in ("略", "", "3")]
    assert reasons(texts, renderer) == {1: "empty text"}


def test_of_several_turns_one_must_say_something(renderer: Renderer) -> None:
    turns = (*qa("问题一", "略").turns, *qa("问题二", "写明租金").turns)
    assert reasons([Draft(turns, "f", 1, "g")], renderer) == {}
    two_signs = Draft((*qa("一二", "。").turns, *qa("三四", "……").turns), "f", 3, "g")
    assert reasons([two_signs], renderer) == {0: "answer says nothing"}


def test_the_finding_counts_each_kind(renderer: Renderer) -> None:
    drafts = rows(("问题", "略"), ("问题", "问题"), ("？", "什么？"), ("问题", "写明租金。"))
    outcome = run(TRIVIAL, drafts, renderer)
    facts = found(outcome).facts
    assert (facts["rows"], facts["nothing"], facts["repeats"], facts["short"]) == (3, 1, 1, 1)
    assert "3 rows teach nothing" in said(TRIVIAL, outcome)
    kept = run(TRIVIAL, drafts, renderer, "keep")
    assert (kept.drops, found(kept).level) == ((), "care")
    assert run(TRIVIAL, drafts[3:], renderer).finding is None
