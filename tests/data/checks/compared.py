"""Rows and runs for the tests of checks that compare rows."""

from __future__ import annotations

from typing import Any

from tunewright.config.data import PrepareConfig
from tunewright.data.checks.base import Check, Context, Corpus, Finding, Outcome
from tunewright.data.normal import turns_group
from tunewright.data.records import Draft, Turn
from tunewright.model.rendering import Renderer


def qa(question: str, answer: str, number: int = 0, **fields: Any) -> Draft:
    turns = (Turn("user", question), Turn("assistant", answer))
    return Draft(turns, "f.csv", number, turns_group(turns), **fields)


def rows(*pairs: tuple[str, str]) -> list[Draft]:
    return [qa(question, answer, number) for number, (question, answer) in enumerate(pairs)]


def run(
    check: Check,
    drafts: list[Draft],
    renderer: Renderer,
    action: str | None = None,
    held: list[Draft] | None = None,
    **checks: Any,
) -> Outcome:
    """The outcome under an action, the recommended one when not given."""
    config = PrepareConfig.build({"files": ["f.csv"], "checks": checks})
    context = Context(config, renderer, tuple(held or ()))
    return check.run(Corpus(drafts), action or check.actions[0], context)


def found(outcome: Outcome) -> Finding:
    """The finding, which must be there and fill in its check's sentences."""
    assert outcome.finding is not None
    return outcome.finding


def dropped(outcome: Outcome) -> dict[int, int | None]:
    """Rows left out → the row that stands for each."""
    places = [drop.index for drop in outcome.drops]
    assert places == sorted(set(places))
    return {drop.index: drop.kept for drop in outcome.drops}


def said(check: Check, outcome: Outcome) -> str:
    """The English sentence, once both are known to take the finding's facts."""
    facts = found(outcome).facts
    assert facts["rows"] == found(outcome).rows
    assert check.says["zh"].format(**facts)
    assert all(set(check.does[action]) == {"en", "zh"} for action in check.actions)
    return check.says["en"].format(**facts)
