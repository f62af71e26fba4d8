"""The same row twice."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.data.checks.compared import dropped, found, qa, rows, run, said

from tunewright.data.checks.duplicates import DUPLICATES
from tunewright.data.records import Draft, Turn
from tunewright.model.rendering import Renderer


@pytest.fixture(scope="module")
def renderer(tiny_base: Path) -> Renderer:
    return Renderer(tiny_base)


def test_rows_equal_but_for_space_width_and_style_are_repeated(renderer: Renderer) -> None:
    outcome = run(
        DUPLICATES,
        rows(
            ("怎么退押金？", "找房东。"),
            ("别的问题", "找房东。"),
            ("怎么退押金？", "找房东。"),
            ("怎么 退押金?", "找房东."),
            (" 怎么　退押金？", "找房东。"),
            ("怎么退押金？", "找房东。"),
        ),
        renderer,
    )
    assert dropped(outcome) == {2: 0, 4: 3, 5: 0}
    assert {drop.reason for drop in outcome.drops} == {"duplicate"}


def test_the_style_of_punctuation_does_not_matter(renderer: Renderer) -> None:
    drafts = rows(("怎么退？", "好。“行”"), ("怎么退?", '好."行"'), ("怎么退", "好。“行”"))
    assert dropped(run(DUPLICATES, drafts, renderer)) == {1: 0}


@pytest.mark.parametrize(
    ("one", "other"),
    [("1+1", "1<1"), ("税率1.5%?", "税率15%?"), ("合同", "合 同"), ("ABC", "abc"), ("??", "!!")],
)
def test_signs_that_carry_the_meaning_keep_rows_apart(
    one: str, other: str, renderer: Renderer
) -> None:
    assert run(DUPLICATES, rows((one, "是"), (other, "是")), renderer).finding is None
    assert run(DUPLICATES, rows(("q", one), ("q", other)), renderer).finding is None


def test_every_part_counts(renderer: Renderer) -> None:
    ask = (Turn("user", "q"), Turn("assistant", "a"))
    bad, worse = (Turn("assistant", "b"),), (Turn("assistant", "c"),)
    system = (Turn("system", "s"), *ask)
    weighed = (Turn("user", "q"), Turn("assistant", "a", 0))
    split = (Turn("user", "q"), Turn("assistant", ""), Turn("user", ""), Turn("assistant", "a"))
    drafts = [
        Draft(ask, "f", 0, "g"),
        Draft(system, "f", 1, "g"),
        Draft(weighed, "f", 2, "g"),
        Draft(split, "f", 3, "g"),
        Draft(ask, "f", 4, "g", rejected=bad),
        Draft(ask, "f", 5, "g", rejected=worse),
        Draft(ask, "f", 6, "g", desirable=True),
        Draft(ask, "f", 7, "g", desirable=False),
        Draft(ask, "f", 8, "g", tools=({"name": "t"},)),
    ]
    assert run(DUPLICATES, drafts, renderer).finding is None
    twice = [*drafts, *drafts]
    assert dropped(run(DUPLICATES, twice, renderer)) == {n + 9: n for n in range(9)}


def test_plain_texts_are_compared_too(renderer: Renderer) -> None:
    texts = [Draft((Turn("user", t),), "f", 0, "g", kind="text") for t in ("甲 乙", "甲  乙", "丙")]
    assert dropped(run(DUPLICATES, texts, renderer)) == {1: 0}


def test_the_row_marked_best_or_dated_last_stays(renderer: Renderer) -> None:
    drafts = [qa("q", "a", 0), qa("q", "a", 1, best=True), qa("q", "a", 2)]
    assert dropped(run(DUPLICATES, drafts, renderer)) == {0: 1, 2: 1}
    drafts = [qa("q", "a"), qa("q", "a", date="2020-01"), qa("q", "a", date="2020-01-02")]
    assert dropped(run(DUPLICATES, drafts, renderer)) == {0: 2, 1: 2}


def test_what_is_said_and_shown(renderer: Renderer) -> None:
    outcome = run(DUPLICATES, rows(*[("q", "a")] * 3, *[(str(n), "a") for n in range(7)]), renderer)
    assert found(outcome).level == "info"
    assert said(DUPLICATES, outcome).startswith("2 rows (20.0%)")
    shown = found(outcome).examples
    assert [(e.row, e.other and e.other[1]) for e in shown] == [(1, 0), (2, 0)]
    assert found(run(DUPLICATES, rows(*[("q", "a")] * 3), renderer)).level == "care"


def test_kept_rows_are_still_reported(renderer: Renderer) -> None:
    outcome = run(DUPLICATES, rows(("q", "a"), ("q", "a")), renderer, "keep")
    assert (found(outcome).rows, found(outcome).action, len(outcome.drops)) == (1, "keep", 0)
