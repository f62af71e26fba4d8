"""Questions that are nearly equal, and rows that are so altogether."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.data.checks.compared import dropped, found, qa, rows, run, said

from tunewright.data.checks.near_duplicates import NEAR_DUPLICATES
from tunewright.data.records import Draft, Turn
from tunewright.model.rendering import Renderer

Q = "公司拖欠我三个月工资一直不发，我应该怎么办才能要回来？"
Q_NEAR = "公司拖欠我三个月工资一直不发，我应该怎么办才能要回来呢？"
OTHER = "离婚以后孩子的抚养费应该由谁来承担，标准是什么？"
A = (
    "您可以先与公司协商，协商不成的，可以向当地劳动监察部门投诉，也可以申请劳动仲裁，要求支付"
    "拖欠的工资；同时请保留好劳动合同、考勤记录和工资流水等证据，必要时委托律师提起诉讼。"
)
A_NEAR = A.replace("也可以申请", "也可申请")
B = "建议收集劳动合同、考勤记录和工资流水等证据，然后委托律师向人民法院提起诉讼，主张您的权利。"


@pytest.fixture(scope="module")
def renderer(tiny_base: Path) -> Renderer:
    return Renderer(tiny_base)


def test_near_questions_form_a_cluster(renderer: Renderer) -> None:
    outcome = run(NEAR_DUPLICATES, rows((OTHER, A), (Q, A), (Q_NEAR, B), (OTHER, B)), renderer)
    assert outcome.clusters == [0, 1, 1, 0]
    assert dropped(outcome) == {}
    finding = found(outcome)
    assert (finding.rows, finding.level) == (4, "info")
    assert finding.figure is not None
    assert finding.figure["cluster_sizes"]["2"] == 2
    assert "2 clusters" in said(NEAR_DUPLICATES, outcome)
    assert [(e.row, e.other and e.other[1]) for e in finding.examples] == [(2, 1)]


def test_rows_near_in_question_and_answer_are_near_duplicates(renderer: Renderer) -> None:
    drafts = rows((Q, A_NEAR), (Q_NEAR, A), (OTHER, A))
    outcome = run(NEAR_DUPLICATES, drafts, renderer)
    assert dropped(outcome) == {0: 1}
    assert outcome.drops[0].reason == "near-duplicate"
    assert found(outcome).level == "care"
    assert dropped(run(NEAR_DUPLICATES, drafts, renderer, "keep")) == {}
    assert run(NEAR_DUPLICATES, drafts, renderer, "keep").clusters == [0, 0, 2]


def test_the_row_marked_best_stays_then_the_longest_then_the_first(renderer: Renderer) -> None:
    drafts = [qa(Q, A_NEAR, best=True), qa(Q_NEAR, A), qa(Q, A)]
    assert dropped(run(NEAR_DUPLICATES, drafts, renderer)) == {1: 0, 2: 0}
    drafts = [qa(Q_NEAR, A), qa(Q, A)]
    assert dropped(run(NEAR_DUPLICATES, drafts, renderer)) == {1: 0}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("支付30日的工资", "支付60日的工资"),
        ("可以要求赔偿", "不可以要求赔偿"),
        ("1.5倍", "15倍"),
        ("两倍", "三倍"),
    ],
)
def test_a_number_or_a_negation_makes_another_answer(
    one: str, other: str, renderer: Renderer
) -> None:
    drafts = rows((Q, A * 2 + one), (Q_NEAR, A * 2 + other))
    outcome = run(NEAR_DUPLICATES, drafts, renderer)
    assert outcome.clusters == [0, 0]
    assert dropped(outcome) == {}
    same = rows((Q, A * 2 + one), (Q_NEAR, A * 2 + one + "。"))
    assert dropped(run(NEAR_DUPLICATES, same, renderer)) == {0: 1}


def test_the_setting_and_the_worse_answer_count(renderer: Renderer) -> None:
    def draft(system: str, worse: str) -> Draft:
        turns = (Turn("system", system), Turn("user", Q), Turn("assistant", A))
        rejected = (Turn("assistant", worse),)
        return Draft(turns, "f", 0, "g", kind="preference", rejected=rejected)

    apart = [draft("简短", B), draft("详细", B), draft("简短", OTHER)]
    assert dropped(run(NEAR_DUPLICATES, apart, renderer)) == {}
    assert dropped(run(NEAR_DUPLICATES, [*apart, draft("简短", B + "吧")], renderer)) == {3: 0}


def test_judgements_are_not_mixed(renderer: Renderer) -> None:
    drafts = [qa(Q, A, desirable=True), qa(Q_NEAR, A, desirable=False)]
    assert dropped(run(NEAR_DUPLICATES, drafts, renderer)) == {}


def test_plain_texts_need_to_be_as_near_as_answers(renderer: Renderer) -> None:
    def text(content: str) -> Draft:
        return Draft((Turn("user", content),), "f", 0, "g", kind="text")

    far = [text(A), text(A[:-9])]
    outcome = run(NEAR_DUPLICATES, far, renderer)
    assert (outcome.clusters, dropped(outcome)) == ([0, 0], {})
    assert dropped(run(NEAR_DUPLICATES, [text(A), text(A_NEAR)], renderer, same=0.85)) == {1: 0}


def test_thresholds_are_the_users(renderer: Renderer) -> None:
    drafts = rows((Q, A), (Q_NEAR, B))
    assert run(NEAR_DUPLICATES, drafts, renderer, near=1.0).clusters == [0, 1]
    assert run(NEAR_DUPLICATES, drafts, renderer, near=1.0).finding is None


def test_short_questions_are_near_only_when_equal(renderer: Renderer) -> None:
    drafts = rows(("怎么退款", A), ("怎么退货", A), ("怎么退款！", A))
    outcome = run(NEAR_DUPLICATES, drafts, renderer)
    assert outcome.clusters == [0, 1, 0]
    assert dropped(outcome) == {2: 0}


def test_a_row_stays_unless_one_that_stays_is_near_it(renderer: Renderer) -> None:
    """A chain of small steps does not drop what is far from the row that is kept."""
    steps = [A[place:] + "的" * (4 * place) for place in range(0, 30, 3)]
    drafts = rows(*[(Q, step) for step in steps])
    outcome = run(NEAR_DUPLICATES, drafts, renderer, same=0.8)
    gone = dropped(outcome)
    assert 0 < len(gone) < len(steps) - 1
    assert not set(gone) & set(gone.values())


def test_the_result_is_the_same_every_time(renderer: Renderer) -> None:
    drafts = rows(*[(f"{Q}{'吧呢吗'[n % 3]}", f"{A}{chr(0x6000 + n)}") for n in range(60)])
    first = run(NEAR_DUPLICATES, drafts, renderer)
    assert first == run(NEAR_DUPLICATES, drafts, renderer)
    assert dropped(first) == dict.fromkeys(range(1, 60), 0)
