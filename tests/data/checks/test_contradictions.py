"""One question, several answers."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.data.checks.compared import dropped, found, qa, rows, run, said

from tunewright.data.checks.contradictions import CONTRADICTIONS
from tunewright.data.records import Draft, Turn
from tunewright.model.rendering import Renderer

Q = "试用期公司可以随意辞退员工吗？"
LONG = "不可以。公司须证明员工不符合录用条件，否则属于违法解除，应当支付赔偿金。"
SHORT = "可以随时辞退。"
MANY = [(f"完全不同的问题第{number}个是什么意思呢？", "各有各的回答。") for number in range(20)]


@pytest.fixture(scope="module")
def renderer(tiny_base: Path) -> Renderer:
    return Renderer(tiny_base)


def test_the_longest_answer_stays_where_nothing_is_marked(renderer: Renderer) -> None:
    outcome = run(CONTRADICTIONS, rows((Q, SHORT), (Q, LONG), *MANY), renderer)
    assert dropped(outcome) == {0: 1}
    assert outcome.drops[0].reason == "contradicting answer"
    assert (found(outcome).rows, found(outcome).level) == (2, "care")
    assert said(CONTRADICTIONS, outcome).startswith("1 questions")
    assert found(outcome).examples[0].other is not None


def test_marks_decide(renderer: Renderer) -> None:
    drafts = [qa(Q, SHORT, 0, best=True), qa(Q, LONG, 1, best=False)]
    assert dropped(run(CONTRADICTIONS, drafts, renderer)) == {1: 0}
    assert dropped(run(CONTRADICTIONS, drafts, renderer, "best")) == {1: 0}
    assert dropped(run(CONTRADICTIONS, drafts, renderer, "longest")) == {0: 1}


def test_dates_decide_when_the_newest_is_asked_for(renderer: Renderer) -> None:
    drafts = [qa(Q, LONG, 0, date="2024-03"), qa(Q, SHORT, 1, date="2021-05"), qa(Q, "看情况。")]
    assert dropped(run(CONTRADICTIONS, drafts, renderer, "newest")) == {1: 0, 2: 0}
    assert dropped(run(CONTRADICTIONS, rows((Q, LONG), (Q, SHORT)), renderer, "newest")) == {0: 1}


def test_all_answers_can_be_kept(renderer: Renderer) -> None:
    outcome = run(CONTRADICTIONS, rows((Q, SHORT), (Q, LONG), *MANY), renderer, "all")
    assert (dropped(outcome), found(outcome).rows) == ({}, 2)


def test_a_task_with_many_answers_to_most_questions_keeps_them(renderer: Renderer) -> None:
    drafts = rows((Q, SHORT), (Q, LONG), *MANY[:3])
    outcome = run(CONTRADICTIONS, drafts, renderer)
    assert (dropped(outcome), found(outcome).level) == ({}, "info")
    assert dropped(run(CONTRADICTIONS, drafts, renderer, "longest")) == {0: 1}


def test_classes_take_the_later_one(renderer: Renderer) -> None:
    drafts = [qa(Q, "劳动法", 0, label="劳动法"), qa(Q, "婚姻", 1, label="婚姻")]
    assert dropped(run(CONTRADICTIONS, drafts, renderer)) == {0: 1}


def test_near_equal_answers_do_not_contradict(renderer: Renderer) -> None:
    longer = LONG * 2
    assert run(CONTRADICTIONS, rows((Q, longer), (Q, longer + "吧")), renderer).finding is None
    numbered = rows((Q, longer + "赔偿30日工资"), (Q, longer + "赔偿60日工资"), *MANY)
    assert len(run(CONTRADICTIONS, numbered, renderer).drops) == 1


@pytest.mark.parametrize("mark", ["?", "", "??", " 。"])
def test_the_end_of_a_question_does_not_matter(mark: str, renderer: Renderer) -> None:
    drafts = rows((Q, SHORT), (Q.rstrip("？") + mark, LONG), *MANY)
    assert dropped(run(CONTRADICTIONS, drafts, renderer)) == {0: 1}


def test_other_questions_and_settings_are_no_contradiction(renderer: Renderer) -> None:
    def in_setting(system: str, answer: str) -> Draft:
        turns = (Turn("system", system), Turn("user", Q), Turn("assistant", answer))
        return Draft(turns, "f", 0, "g")

    assert (
        run(CONTRADICTIONS, [in_setting("甲", LONG), in_setting("乙", SHORT)], renderer).drops == ()
    )
    signs = rows(("税率1.5%怎么算", LONG), ("税率15%怎么算", SHORT), *MANY)
    assert dropped(run(CONTRADICTIONS, signs, renderer)) == {}


def test_near_questions_are_reported_and_stay(renderer: Renderer) -> None:
    base = "公司在试用期内没有任何理由就把我辞退了并且没有给任何补偿请问我应该怎么维权才好"
    drafts = [qa(base, LONG, 0), qa(base + "呢", SHORT, 1)]
    drafts[1].group = drafts[0].group
    outcome = run(CONTRADICTIONS, drafts, renderer)
    assert (dropped(outcome), found(outcome).facts["near"]) == ({}, 1)
    assert found(outcome).level == "info"


def test_preferences_are_meant_to_have_several_answers() -> None:
    assert CONTRADICTIONS.kinds == {"conversation"}
