"""Running checks: their order, their effects, the user's say, the account."""

from __future__ import annotations

from pathlib import Path

import pytest

from tunewright.config.data import PrepareConfig
from tunewright.core.errors import ConfigError
from tunewright.data.checks.base import (
    Change,
    Check,
    Context,
    Corpus,
    Drop,
    Finding,
    Outcome,
)
from tunewright.data.checks.table import CHECKS
from tunewright.data.collect import Collection
from tunewright.data.pipeline import run_checks
from tunewright.data.records import Draft, Turn
from tunewright.model.rendering import Renderer

WORDS = {"en": "x", "zh": "x"}


def shout(corpus: Corpus, action: str, context: Context) -> Outcome:
    """Finds answers in small letters; raises them or leaves them out."""
    found = [i for i, draft in enumerate(corpus.drafts) if draft.answer.islower()]
    finding = Finding("case", len(found), "info", action, {"rows": len(found)})
    if action == "keep" or not found:
        return Outcome(finding if found else None)
    if action == "drop":
        return Outcome(finding, drops=[Drop(i, "trivial answer", kept=0) for i in found])
    changes = []
    for i in found:
        turns = tuple(
            turn._replace(text=turn.text.upper()) if turn.role == "assistant" else turn
            for turn in corpus.drafts[i].turns
        )
        changes.append(Change(i, turns, "raised"))
    return Outcome(finding, changes=changes)


def together(corpus: Corpus, action: str, context: Context) -> Outcome:
    """All rows are one cluster."""
    return Outcome(clusters=[0] * len(corpus.drafts))


SHOUT = Check("case", ("lower", "drop", "keep"), shout, WORDS, WORDS, {})
TOGETHER = Check("near_duplicates", ("drop", "keep"), together, WORDS, WORDS, {})
TEXT_ONLY = Check("html", ("keep",), shout, WORDS, WORDS, {}, frozenset({"text"}))


def collection(*answers: str) -> Collection:
    drafts = [
        Draft((Turn("user", f"q{n}"), Turn("assistant", answer)), "f.csv", n, f"g{n}")
        for n, answer in enumerate(answers)
    ]
    return Collection(train=drafts, read=len(drafts))


def config(**checks: str) -> PrepareConfig:
    return PrepareConfig.build({"files": ["f.csv"], "checks": checks})


@pytest.fixture(scope="module")
def renderer(tiny_base: Path) -> Renderer:
    return Renderer(tiny_base)


def test_the_recommended_action_is_taken_and_accounted_for(renderer: Renderer) -> None:
    rows = collection("A", "b", "c")
    findings = run_checks(rows, config(), renderer, checks=[SHOUT])
    assert [(f.check, f.rows, f.action) for f in findings] == [("case", 2, "lower")]
    assert [draft.answer for draft in rows.train] == ["A", "B", "C"]
    assert [(c.row, c.check, c.detail) for c in rows.changed] == [
        (1, "case", "raised"),
        (2, "case", "raised"),
    ]


def test_the_user_may_decide_otherwise_where_the_config_is_silent(renderer: Renderer) -> None:
    rows = collection("A", "b", "c")
    asked: list[str] = []

    def choose(check: Check, finding: Finding) -> str:
        asked.append(check.name)
        return "drop"

    findings = run_checks(rows, config(), renderer, choose, checks=[SHOUT])
    assert (asked, findings[0].action) == (["case"], "drop")
    assert [draft.answer for draft in rows.train] == ["A"]
    assert [(d.reason, d.kept) for d in rows.dropped] == [("trivial answer", ("f.csv", 0))] * 2
    assert rows.read == len(rows.train) + len(rows.dropped)
    run_checks(collection("a"), config(case="keep"), renderer, choose, checks=[SHOUT])
    assert asked == ["case"]


def test_a_later_check_sees_what_an_earlier_one_left(renderer: Renderer) -> None:
    rows = collection("A", "b")
    findings = run_checks(rows, config(), renderer, checks=[SHOUT, SHOUT, TOGETHER])
    assert len(findings) == 1
    assert {draft.group for draft in rows.train} == {"g0"}


def test_a_cluster_joins_groups_without_tearing_them(renderer: Renderer) -> None:
    def pairs(corpus: Corpus, action: str, context: Context) -> Outcome:
        return Outcome(clusters=[0, 1, 1, 3, 4])  # the second and third rows are alike

    rows = collection("A", "B", "C", "D", "E")
    rows.train[0].group = rows.train[2].group = "case"  # a column says that these belong together
    check = Check("near_duplicates", ("drop", "keep"), pairs, WORDS, WORDS, {})
    run_checks(rows, config(), renderer, checks=[check])
    assert [draft.group for draft in rows.train] == ["case", "case", "case", "g3", "g4"]


def test_checks_pass_over_kinds_that_they_do_not_know(renderer: Renderer) -> None:
    assert run_checks(collection("a"), config(), renderer, checks=[TEXT_ONLY]) == []
    assert run_checks(Collection(), config(), renderer, checks=[SHOUT]) == []


def test_an_action_that_a_check_does_not_know_is_refused(renderer: Renderer) -> None:
    other = Check("case", ("drop",), shout, WORDS, WORDS, {})
    with pytest.raises(ConfigError, match=r"'checks.case': 'lower' is not one of"):
        run_checks(collection("a"), config(case="lower"), renderer, checks=[other])


def test_every_check_of_the_table_can_be_set_and_speaks_both_languages() -> None:
    options = PrepareConfig.model_fields["checks"].annotation
    assert options is not None
    for check in CHECKS:
        if len(check.actions) > 1:
            field = options.model_fields[check.name]
            for action in check.actions:
                PrepareConfig.build({"files": ["f"], "checks": {check.name: action}})
            assert field.description
        for language in ("en", "zh"):
            assert check.title[language]
            assert check.says[language]
            assert all(check.does[action][language] for action in check.actions)
