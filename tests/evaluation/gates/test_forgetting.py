"""Forgetting: ruled out, shown, or open, on the probe and on benchmarks; on made outcomes."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from tunewright.config.serving import GenerationConfig
from tunewright.core.messages import conversation
from tunewright.core.records import Dataset
from tunewright.evaluation.answers import Question
from tunewright.evaluation.benchmarks.questions import Benchmark
from tunewright.evaluation.benchmarks.scores import Scores
from tunewright.evaluation.gates.base import Evidence, Gate
from tunewright.evaluation.gates.table import judge, verdict_of
from tunewright.evaluation.responders.base import Said
from tunewright.evaluation.results import Results
from tunewright.evaluation.texts import Texts

EN, ZH = Texts("en"), Texts("zh")


def rights(count: int, *spans: tuple[int, int]) -> list[bool]:
    """Right but for these spans."""
    return [not any(begin <= n < end for begin, end in spans) for n in range(count)]


def made(make: Any, base: list[bool], tuned: list[bool], **limits: Any) -> Results:
    results: Results = make(
        base=[False] * 20,
        tuned=[True] * 20,
        general={"base": base, "tuned": tuned},
        limits=limits,
    )
    return results


def gates_of(results: Results, dataset: Dataset, **more: Any) -> list[Gate]:
    return judge(results, dataset, more.pop("texts", EN), Evidence(**more))


def gate_of(results: Results, dataset: Dataset, **more: Any) -> Gate:
    return next(g for g in gates_of(results, dataset, **more) if g.name == "forgetting")


@pytest.mark.parametrize(
    ("lost", "gained", "passed", "verdict", "finding"),
    [
        (0, 0, True, "pass", "out"),
        (8, 3, True, "pass", "out"),  # the demo: 144 → 139 of 160
        (11, 2, None, "not enough evidence", "open"),
        (20, 0, False, "fail", "shown"),
        (106, 1, False, "fail", "shown"),
    ],
)
def test_three_outcomes(
    make_results: Any,
    dataset: Dataset,
    lost: int,
    gained: int,
    passed: bool | None,
    verdict: str,
    finding: str,
) -> None:
    base = rights(160, (0, 16))
    tuned = rights(160, (gained, 16), (16, 16 + lost))
    results = made(make_results, base, tuned)
    gates = gates_of(results, dataset)
    gate = next(one for one in gates if one.name == "forgetting")
    assert gate.passed is passed
    assert gate.numbers["finding"] == finding
    assert verdict_of(gates) == verdict
    assert (gate.numbers["lost"], gate.numbers["gained"]) == (lost, gained)
    low, high = gate.numbers["interval"]
    assert low < gate.numbers["delta"] < high
    assert bool(gate.prescription) is (passed is not True)


def test_few_questions_rule_nothing_out(make_results: Any, dataset: Dataset) -> None:
    gate = gate_of(made(make_results, rights(20), rights(20)), dataset)
    assert gate.passed is None
    assert gate.numbers["questions_needed"] > 20
    assert f"about {gate.numbers['questions_needed']} questions in all" in gate.prescription
    assert gate_of(made(make_results, rights(40), rights(40)), dataset).passed is True


def test_the_margin_decides(make_results: Any, dataset: Dataset) -> None:
    base, tuned = rights(160, (0, 16)), rights(160, (3, 16), (16, 24))
    strict = gate_of(made(make_results, base, tuned, forgetting_margin=0.05), dataset)
    assert strict.passed is None
    assert "A loss of 5 points cannot be ruled out yet" in strict.evidence
    assert strict.numbers["questions_needed"] > 1000


def test_the_prescription_has_numbers(make_results: Any, dataset: Dataset) -> None:
    results = made(make_results, rights(160), rights(160, (0, 60)))
    plain = gate_of(results, dataset).prescription
    assert "--mix general=50%" in plain
    assert "halve the learning rate;" not in plain
    recipe = {"optimizer": {"learning_rate": 2e-3}, "epochs": 5.0}
    mixed = dataset.model_copy(update={"mixed": 20, "splits": {"train": 20}})
    told = gate_of(results, mixed, recipes={"tuned": recipe}).prescription
    assert "20 general rows (50% of the training rows)" in told
    assert "--mix general=75%" in told
    assert "from 0.002 to 0.001" in told
    assert "train 3 epochs instead of 5" in told
    chinese = gate_of(results, mixed, recipes={"tuned": recipe}, texts=ZH).prescription
    assert "训练轮数从 5 减到 3" in chinese
    assert "--mix general=75%" in chinese


def test_losing_as_much_as_the_margin_asks_for_another_training(
    make_results: Any, dataset: Dataset
) -> None:
    gate = gate_of(made(make_results, rights(40), rights(40, (0, 4))), dataset)
    assert gate.passed is None
    assert gate.numbers["questions_needed"] is None
    assert "sooner show it than rule it out" in gate.prescription


def test_a_base_that_knows_nothing_cannot_show_forgetting(
    make_results: Any, dataset: Dataset
) -> None:
    nothing = [False] * 50
    gates = gates_of(made(make_results, nothing, nothing), dataset)
    gate = next(one for one in gates if one.name == "forgetting")
    assert gate.passed is None
    assert "a loss could not be seen" in gate.evidence
    assert verdict_of(gates) == "pass"  # blind, so that it blocks nothing


def with_benchmark(results: Results, before: list[bool], after: list[bool]) -> Results:
    questions = [
        Question(f"law/{n}", conversation(("user", "?")), "A", "law", f"law/{n}")
        for n in range(len(before))
    ]
    how = GenerationConfig(choices=("A", "B", "C", "D"))
    asked = Benchmark(
        "cmmlu", "CMMLU", "test", questions, {"Humanities": ["law"]}, {"law": "法学"}, how, 5
    )
    said = {
        name: [Said("A" if right else "B", "stop") for right in one]
        for name, one in (("base", before), ("tuned", after))
    }
    return dataclasses.replace(results, benchmarks=[Scores(asked, said)])


@pytest.mark.parametrize(
    ("after", "passed"),
    [
        (rights(2000, (0, 820)), True),
        (rights(2000, (0, 1000)), False),
        (rights(2000, (0, 890)), None),
    ],
)
def test_every_benchmark_has_to_hold(
    make_results: Any, dataset: Dataset, after: list[bool], passed: bool | None
) -> None:
    healthy = made(make_results, rights(160, (0, 16)), rights(160, (0, 16)))
    results = with_benchmark(healthy, rights(2000, (0, 800)), after)
    gate = gate_of(results, dataset)
    assert gate.passed is passed
    assert "General questions answered right: 90.0% → 90.0%" in gate.evidence
    assert "CMMLU: 60.0% →" in gate.evidence
    assert gate.numbers["benchmarks"]["cmmlu"]["margin"] == 0.05
    assert gate.numbers["finding"] == "out"


def test_a_benchmark_that_is_guessed_decides_nothing(make_results: Any, dataset: Dataset) -> None:
    healthy = made(make_results, rights(160), rights(160))
    guessed = with_benchmark(healthy, rights(400, (0, 296)), rights(400, (0, 320)))
    gate = gate_of(guessed, dataset)
    assert gate.passed is True
    assert "near the 25% of a model that knows nothing" in gate.evidence
    assert gate.numbers["benchmarks"]["cmmlu"]["finding"] == "blind"
    alone = dataclasses.replace(
        guessed, general=None, benchmarks=with_benchmark(
            healthy, rights(2000, (0, 800)), rights(2000, (0, 810))
        ).benchmarks
    )  # fmt: skip
    assert gate_of(alone, dataset).passed is True


def test_a_base_that_was_not_asked_leaves_it_open(make_results: Any, dataset: Dataset) -> None:
    gate = gate_of(make_results(base=[False] * 20, tuned=[True] * 20), dataset)
    assert gate.passed is None
    assert not gate.blocks
    assert "general=true" in gate.prescription
