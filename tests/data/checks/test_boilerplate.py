"""The same short answer again and again."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.data.checks.compared import dropped, found, qa, run, said

from tunewright.data.checks.boilerplate import BOILERPLATE
from tunewright.data.records import Draft
from tunewright.model.rendering import Renderer

SAME = "您好，建议委托律师处理。"


@pytest.fixture(scope="module")
def renderer(tiny_base: Path) -> Renderer:
    return Renderer(tiny_base)


def answered(count: int, answer: str, start: int = 0, **fields: str) -> list[Draft]:
    return [qa(f"第{n}个问题", answer, n, **fields) for n in range(start, start + count)]


def others(count: int) -> list[Draft]:
    return [qa(f"其他{n}", f"第{n}种回答，各不相同。", n) for n in range(count)]


def test_a_repeated_answer_is_capped(renderer: Renderer) -> None:
    drafts = answered(30, SAME) + others(100)
    outcome = run(BOILERPLATE, drafts, renderer, cap=4)
    assert list(dropped(outcome)) == list(range(4, 30))
    assert {drop.reason for drop in outcome.drops} == {"boilerplate answer"}
    assert found(outcome).level == "care"
    assert "1 short answers" in said(BOILERPLATE, outcome)
    assert found(outcome).figure == {"answers": {SAME: 30}}
    assert dropped(run(BOILERPLATE, drafts, renderer, "keep")) == {}
    assert len(dropped(run(BOILERPLATE, drafts, renderer, "drop"))) == 30


def test_punctuation_does_not_hide_it(renderer: Renderer) -> None:
    drafts = answered(15, SAME) + answered(15, "您好,建议委托律师处理", 15) + others(50)
    assert found(run(BOILERPLATE, drafts, renderer)).rows == 30


def test_few_rows_long_answers_and_one_question_are_none(renderer: Renderer) -> None:
    assert run(BOILERPLATE, answered(19, SAME) + others(10), renderer).finding is None
    assert run(BOILERPLATE, answered(30, SAME * 7) + others(50), renderer).finding is None
    one = [qa("同一个问题", SAME, n) for n in range(50)]
    assert run(BOILERPLATE, one + others(10), renderer).finding is None


def test_in_large_sets_a_hundred_are_enough(renderer: Renderer) -> None:
    rest = others(12_000)
    assert run(BOILERPLATE, answered(99, SAME) + rest, renderer).finding is None
    assert found(run(BOILERPLATE, answered(100, SAME) + rest, renderer)).rows == 100


def test_the_rows_that_stay_are_of_different_questions(renderer: Renderer) -> None:
    drafts = answered(25, SAME)
    for draft in drafts[1:5]:
        draft.group = drafts[0].group
    gone = dropped(run(BOILERPLATE, drafts + others(30), renderer, cap=3))
    assert {0, 5, 6}.isdisjoint(gone)
    assert len(gone) == 22


def test_classes_are_exempt(renderer: Renderer) -> None:
    labelled = answered(50, "劳动法", label="劳动法") + others(20)
    assert run(BOILERPLATE, labelled, renderer).finding is None
    bare = answered(50, "正面") + answered(40, "负面", 50)
    assert run(BOILERPLATE, bare, renderer).finding is None


def test_when_most_rows_say_it_training_is_in_vain(renderer: Renderer) -> None:
    assert found(run(BOILERPLATE, answered(60, SAME) + others(40), renderer)).level == "stop"
    all_the_same = run(BOILERPLATE, answered(60, "不知道"), renderer)
    assert found(all_the_same).level == "stop"
