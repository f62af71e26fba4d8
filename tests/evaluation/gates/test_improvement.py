"""Improvement, forgetting, stopping and the verdict, on made outcomes."""

from __future__ import annotations

from typing import Any

import pytest

from tunewright.core.records import Dataset
from tunewright.evaluation.gates.base import Evidence, Gate
from tunewright.evaluation.gates.table import gates_json, judge, verdict_of
from tunewright.evaluation.results import Results
from tunewright.evaluation.texts import Texts

EN = Texts("en")


def judged(results: Results, dataset: Dataset) -> dict[str, Gate]:
    return {gate.name: gate for gate in judge(results, dataset, EN)}


def half(count: int, share: float) -> list[bool]:
    """``share`` of ``count`` are right, spread evenly."""
    return [int((i + 1) * share) > int(i * share) for i in range(count)]


def test_a_clear_gain_passes(make_results: Any, dataset: Dataset) -> None:
    results = make_results(base=[False] * 60, tuned=half(60, 0.7), general=None)
    gates = judged(results, dataset)
    assert gates["improvement"].passed is True
    assert "0.0% → 70.0%, +70.0 points" in gates["improvement"].evidence
    assert gates["improvement"].prescription == ""
    assert gates["forgetting"].passed is None
    assert verdict_of(list(gates.values())) == "pass"


def test_a_loss_fails(make_results: Any, dataset: Dataset) -> None:
    results = make_results(base=half(60, 0.7), tuned=[False] * 60)
    gates = judged(results, dataset)
    assert gates["improvement"].passed is False
    assert "learning rate" in gates["improvement"].prescription
    assert verdict_of(list(gates.values())) == "fail"


def test_no_change_fails_once_a_worthwhile_gain_is_ruled_out(
    make_results: Any, dataset: Dataset
) -> None:
    same = half(200, 0.5)
    gate = judged(make_results(base=same, tuned=same), dataset)["improvement"]
    assert gate.passed is False
    assert "3.0 points or more is ruled out" in gate.prescription


@pytest.mark.parametrize("wins", [3, 4, 5])
def test_a_handful_of_wins_is_not_evidence(make_results: Any, dataset: Dataset, wins: int) -> None:
    results = make_results(base=[False] * 100, tuned=[True] * wins + [False] * (100 - wins))
    gates = judged(results, dataset)
    assert gates["improvement"].passed is None
    assert verdict_of(list(gates.values())) == "not enough evidence"
    assert "questions in all" in gates["improvement"].prescription


def test_few_groups_are_never_enough(make_results: Any, dataset: Dataset) -> None:
    results = make_results(base=[False] * 27, tuned=[True] * 27, group_size=3)
    gate = judged(results, dataset)["improvement"]
    assert gate.passed is None
    assert "Only 9 independent groups" in gate.evidence
    assert "at least 10 groups" in gate.prescription


def test_overlap_decides_where_nobody_is_exactly_right(make_results: Any, dataset: Dataset) -> None:
    results = make_results(base=[False] * 20, tuned=[False] * 20, wrong="three weeks")
    assert results.headline == "char_f1"
    assert "Overlap with the reference" in judged(results, dataset)["improvement"].evidence


@pytest.mark.parametrize(
    ("wrong", "cure"),
    [("three", "max_new_tokens (128 now)"), ("on and on and on", "learns where to end")],
)
def test_answers_must_end(make_results: Any, dataset: Dataset, wrong: str, cure: str) -> None:
    results = make_results(base=[False] * 20, tuned=[False] * 20, wrong=wrong, finish="length")
    gate = judged(results, dataset)["stopping"]
    assert gate.passed is False
    assert "0.0% of 20 answers" in gate.evidence
    assert cure in gate.prescription


def test_one_responder_alone_gets_no_verdict(make_results: Any, dataset: Dataset) -> None:
    gates = judge(make_results(base=[True] * 20), dataset, EN)
    assert [gate.name for gate in gates] == ["improvement", "stopping"]
    assert verdict_of(gates) == "not enough evidence"


def test_every_challenger_has_to_pass(make_results: Any, dataset: Dataset) -> None:
    results = make_results(base=[False] * 30, good=[True] * 30, bad=[False] * 30)
    gates = judge(results, dataset, EN)
    assert verdict_of(gates) == "fail"
    stored = gates_json(gates)
    assert stored["improvement (good)"]["passed"] is True
    assert stored["improvement (bad)"]["passed"] is False
    alone = judge(make_results(base=[False] * 30, good=[True] * 30), dataset, EN)
    assert set(gates_json(alone)) == {"improvement", "forgetting", "stopping"}


def test_only_candidates_are_judged(make_results: Any, dataset: Dataset) -> None:
    results = make_results(base=[False] * 30, shots=[False] * 30, tuned=[True] * 30)
    gates = judge(results, dataset, EN, Evidence(candidates=["tuned"]))
    assert {gate.responder for gate in gates} == {"tuned"}
    assert verdict_of(gates) == "pass"
