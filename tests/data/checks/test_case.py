"""Texts in capitals."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.data.checks.compared import found, rows, run, said

from tunewright.data.checks.case import CASE
from tunewright.data.records import Draft, Turn
from tunewright.model.rendering import Renderer


@pytest.fixture(scope="module")
def renderer(tiny_base: Path) -> Renderer:
    return Renderer(tiny_base)


def shouting(count: int, plain: int) -> list[Draft]:
    loud = [(f"HOW LONG IS RULE {n}?", f"It is about {n} months long.") for n in range(count)]
    return rows(*loud, *((f"What is meant by rule {n}?", "It is a rule.") for n in range(plain)))


def test_shouted_questions_are_found_and_lowered_when_asked(renderer: Renderer) -> None:
    drafts = shouting(8, 4)
    outcome = run(CASE, drafts, renderer)
    facts = found(outcome).facts
    assert (facts["rows"], facts["questions"], facts["answers"]) == (8, 8, 0)
    assert "8 questions" in said(CASE, outcome)
    assert outcome.changes == ()
    lowered = run(CASE, drafts, renderer, "lower").changes
    assert [change.index for change in lowered] == list(range(8))
    assert [turn.text for turn in lowered[1].turns] == ["how long is rule 1?", drafts[1].answer]


def test_half_is_not_most(renderer: Renderer) -> None:
    assert run(CASE, shouting(8, 8), renderer).finding is None
    assert run(CASE, shouting(5, 0), renderer).finding is None


def test_chinese_with_abbreviations_is_no_shouting(renderer: Renderer) -> None:
    drafts = rows(*((f"什么是GDPR和HTTPAPI第{n}条？", f"VIP客户的KYC流程{n}") for n in range(30)))
    assert run(CASE, drafts, renderer).finding is None


def test_other_roles_and_worse_answers(renderer: Renderer) -> None:
    drafts = []
    for n in range(12):
        turns = (
            Turn("system", "BE BRIEF"),
            Turn("user", "why?"),
            Turn("assistant", f"BECAUSE OF RULE {n}"),
        )
        worse = (Turn("assistant", "NO IDEA AT ALL"),)
        drafts.append(Draft(turns, "f", n, "g", kind="preference", rejected=worse))
    change = run(CASE, drafts, renderer, "lower").changes[0]
    assert [turn.text for turn in change.turns] == ["BE BRIEF", "why?", "because of rule 0"]
    assert change.rejected == (Turn("assistant", "no idea at all"),)
