"""Control tokens spelled in texts: of the base, and of others."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.data.checks.compared import found, rows, run, said

from tunewright.data.checks.control import CONTROL
from tunewright.data.records import Draft, Turn
from tunewright.model.rendering import Renderer


@pytest.fixture(scope="module")
def renderer(tiny_base: Path) -> Renderer:
    return Renderer(tiny_base)


def test_the_bases_own_and_others_are_told_apart(renderer: Renderer) -> None:
    own = renderer.control_tokens[0]
    drafts = rows(
        ("问", f"结束{own}吗"), ("问", "[INST] hi [/INST]"), ("a < b", "a <s"), ("问", "答</s>")
    )
    outcome = run(CONTROL, drafts, renderer)
    facts = found(outcome).facts
    assert (facts["rows"], facts["own"]) == (3, 1)
    assert own in said(CONTROL, outcome)
    assert (outcome.drops, outcome.changes, found(outcome).level) == ((), (), "info")
    (first, second, third) = run(CONTROL, drafts, renderer, "drop").drops
    assert (first.index, first.reason, first.detail) == (0, "spells a control token", own)
    assert (second.index, second.detail) == (1, "[INST] [/INST]")
    assert third.index == 3
    assert run(CONTROL, drafts[2:3], renderer).finding is None
    others = run(CONTROL, drafts[1:2], renderer)
    assert "of this base" in said(CONTROL, outcome)
    assert "of this base" not in said(CONTROL, others)


def test_every_kind_of_turn_is_looked_at(renderer: Renderer) -> None:
    turns = (Turn("system", "<|im_start|>"), Turn("user", "q"), Turn("assistant", "a"))
    worse = Draft(turns[1:], "f", 2, "g", kind="preference")
    worse.rejected = (Turn("assistant", "<start_of_turn>"),)
    assert found(run(CONTROL, [Draft(turns, "f", 1, "g"), worse], renderer)).rows == 2
