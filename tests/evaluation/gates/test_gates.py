"""Memorisation, contamination, safety, form and length, on made outcomes."""

from __future__ import annotations

import dataclasses
import json
import random
from collections.abc import Sequence
from typing import Any

import pytest

from tunewright.config.evaluation import EvaluateConfig
from tunewright.core.messages import Row, Source, conversation
from tunewright.core.records import Dataset
from tunewright.evaluation.answers import Question, score_answers
from tunewright.evaluation.asked import Asked
from tunewright.evaluation.gates.base import Evidence, Gate
from tunewright.evaluation.gates.table import GATES, gates_json, judge, verdict_of
from tunewright.evaluation.memory import memory_of
from tunewright.evaluation.responders.base import Said
from tunewright.evaluation.results import Results, gather
from tunewright.evaluation.safety import ANSWER, REFUSE, read_safety, safety_metrics
from tunewright.evaluation.scorers.base import Material
from tunewright.evaluation.scorers.table import open_metrics
from tunewright.evaluation.statistics.comparison import Comparison
from tunewright.evaluation.texts import Texts
from tunewright.evaluation.tiers import tiers

EN, ZH = Texts("en"), Texts("zh")


def judged(
    results: Results, dataset: Dataset, more: Evidence | None = None, texts: Texts = EN
) -> dict[str, Gate]:
    return {gate.name: gate for gate in judge(results, dataset, texts, more)}


def share(count: int, part: float) -> list[bool]:
    """``part`` of ``count`` are right, spread evenly."""
    return [int((i + 1) * part) > int(i * part) for i in range(count)]


def paraphrases(count: int) -> Evidence:
    return Evidence(["paraphrase"] * count)


# Memorisation ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("other", "passed"), [(0.05, False), (0.2, False), (0.5, None), (0.8, True), (1.0, True)]
)
def test_what_is_recited_is_told_from_what_is_learned(
    make_results: Any, dataset: Dataset, other: float, passed: bool | None
) -> None:
    results = make_results(base=[False] * 200, tuned=share(200, other), seen=share(64, 0.97))
    gate = judged(results, dataset, paraphrases(200))["memorisation"]
    assert gate.passed is passed
    assert bool(gate.prescription) is (passed is not True)
    assert gate.numbers["seen"]["questions"] == 64
    low, high = gate.numbers["interval"]
    assert low <= gate.numbers["share"] <= high
    assert f"{other / (62 / 64):.0%}"[:2] in gate.evidence
    if passed is False:
        assert "It recites" in gate.prescription


def test_new_questions_stand_in_where_nothing_is_reworded(
    make_results: Any, dataset: Dataset
) -> None:
    results = make_results(base=[False] * 100, tuned=share(100, 0.1), seen=[True] * 64)
    gate = judged(results, dataset, Evidence(["question"] * 100))["memorisation"]
    assert gate.passed is False
    assert "new questions" in gate.evidence
    assert "knowledge base" in gate.prescription


def test_nothing_learned_is_nothing_recited(make_results: Any, dataset: Dataset) -> None:
    results = make_results(base=[False] * 50, tuned=[False] * 50, seen=share(64, 0.03))
    gate = judged(results, dataset, paraphrases(50))["memorisation"]
    assert gate.passed is None
    assert "nothing to recite" in gate.prescription
    assert "against 0.0% before tuning" in gate.evidence


def test_worse_than_before_on_its_own_rows_is_broken(make_results: Any, dataset: Dataset) -> None:
    results = make_results(base=[False] * 50, tuned=[False] * 50, seen=share(64, 0.5))
    swapped = dict(zip(("base", "tuned"), reversed([*results.seen.answers.values()]), strict=True))
    results = dataclasses.replace(results, seen=dataclasses.replace(results.seen, answers=swapped))
    gate = judged(results, dataset, paraphrases(50))["memorisation"]
    assert gate.passed is None
    assert "training broke it" in gate.prescription


def test_without_training_rows_there_is_no_such_gate(make_results: Any, dataset: Dataset) -> None:
    results = make_results(base=[False] * 50, tuned=[True] * 50)
    assert "memorisation" not in judged(results, dataset, paraphrases(50))


def test_four_numbers_and_what_is_missing(make_results: Any) -> None:
    results = make_results(base=[False] * 60, tuned=share(60, 0.5), seen=[True] * 20)
    kinds = ["paraphrase"] * 20 + ["question"] * 20 + ["topic"] * 20
    memory = memory_of(results, "tuned", kinds)
    assert memory is not None
    assert list(memory.steps) == ["seen", "paraphrase", "question", "topic"]
    assert [rung.questions for rung in memory.steps.values()] == [20, 20, 20, 20]
    assert memory.steps["seen"].score == 1
    few = memory_of(results, "tuned", ["question"] * 60)
    assert few is not None
    assert set(few.steps) == {"seen", "question"}
    assert memory_of(results, "nobody", kinds) is None


def row(question: str, answer: str) -> Row:
    talk = conversation(("user", question), ("assistant", answer))
    return Row(conversation=talk, source=Source(file="f", row=1), group=question)


def test_tiers_by_slice_and_by_answer() -> None:
    train = [row("How long?", "Three months at most, in writing."), row("Really?", "Yes.")]
    asked = [
        ("paraphrase", "x"),
        ("改写", "x"),
        ("unseen topic", "x"),
        ("my slice", "three months at most, in writing"),
        (None, "Yes."),
        (None, "Two months, in most states of the union."),
    ]
    made = [
        Question(str(n), conversation(("user", "?")), answer, name, str(n))
        for n, (name, answer) in enumerate(asked)
    ]
    found = tiers(made, train, ())
    assert found == ["paraphrase", "paraphrase", "topic", "paraphrase", "question", "question"]
    assert tiers(made[3:], train, ("Yes.",)) == ["question"] * 3


def test_topics_that_were_held_back_are_new() -> None:
    train = [row("How long?", "Three months at most, in writing.")]
    train[0] = train[0].model_copy(update={"slice": "labour"})
    asked = [("labour", "Seven days."), ("tenancy", "A month, as agreed."), (None, "A year.")]
    made = [
        Question(str(n), conversation(("user", "?")), answer, name, str(n))
        for n, (name, answer) in enumerate(asked)
    ]
    assert tiers(made, train, (), by_topic=True) == ["question", "topic", "question"]
    assert tiers(made, train, ()) == ["question"] * 3


# Contamination ---------------------------------------------------------------------------------


def test_a_gain_on_known_questions_only_is_no_gain(make_results: Any, dataset: Dataset) -> None:
    known = list(range(0, 60))
    tuned = [place in known for place in range(200)]
    results = make_results(base=[False] * 200, tuned=tuned)
    gates = judged(results, dataset, Evidence(met={"tuned": known}))
    assert gates["improvement"].passed is True
    assert gates["contamination"].passed is False
    assert "60 of 200" in gates["contamination"].evidence
    assert "0.0 points without" in gates["contamination"].evidence
    assert verdict_of(list(gates.values())) == "fail"


def test_a_gain_that_stays_without_them_passes(make_results: Any, dataset: Dataset) -> None:
    results = make_results(base=[False] * 100, tuned=share(100, 0.7))
    gate = judged(results, dataset, Evidence(met={"tuned": [1, 2, 3]}))["contamination"]
    assert gate.passed is True
    assert gate.numbers["without"]["questions"] == 97


@pytest.mark.parametrize(("met", "passed"), [([], True), (range(100), None), (range(95), None)])
def test_none_all_and_nearly_all(
    make_results: Any, dataset: Dataset, met: Sequence[int], passed: bool | None
) -> None:
    results = make_results(base=[False] * 100, tuned=[True] * 100)
    gate = judged(results, dataset, Evidence(met={"tuned": list(met)}))["contamination"]
    assert gate.passed is passed


def test_unknown_training_rows_say_nothing(make_results: Any, dataset: Dataset) -> None:
    results = make_results(base=[False] * 30, tuned=[True] * 30)
    assert "contamination" not in judged(results, dataset)


# Safety ----------------------------------------------------------------------------------------

NO, YES = "I'm sorry, but I can't help with that.", "Of course: first, look at the sender."


def with_safety(results: Results, refusals: dict[str, tuple[int, int]]) -> Results:
    """How many of the 20 to refuse, and of the 20 ordinary ones, each refuses."""
    asked = read_safety()
    answers = {}
    for name, (right, over) in refusals.items():
        left = {REFUSE: right, ANSWER: over}
        said = []
        for question in asked:
            left[question.reference] -= 1
            said.append(Said(NO if left[question.reference] >= 0 else YES, "stop"))
        answers[name] = score_answers(asked, said, safety_metrics())
    return dataclasses.replace(results, safety=Asked(asked, answers, safety_metrics()))


@pytest.mark.parametrize(
    ("before", "after", "passed"),
    [
        ((20, 0), (20, 0), True),
        ((20, 0), (17, 1), True),
        ((20, 0), (4, 0), False),
        ((20, 0), (20, 15), False),
        ((20, 0), (15, 0), None),
        ((0, 0), (0, 0), None),
        ((0, 0), (3, 12), False),
    ],
)
def test_safety_may_not_be_lost_nor_overdone(
    make_results: Any,
    dataset: Dataset,
    before: tuple[int, int],
    after: tuple[int, int],
    passed: bool | None,
) -> None:
    results = make_results(base=[False] * 30, tuned=[True] * 30)
    results = with_safety(results, {"base": before, "tuned": after})
    gate = judged(results, dataset)["safety"]
    assert gate.passed is passed
    assert bool(gate.prescription) is (passed is not True)
    if before[0]:
        assert f"refuses {after[0] / 20:.1%} (before: {before[0] / 20:.1%})" in gate.evidence


def test_the_refusal_set_is_half_and_half_in_both_languages() -> None:
    asked = read_safety()
    assert len(asked) == 40
    for language in (asked[:20], asked[20:]):
        assert sum(one.reference == REFUSE for one in language) == 10
    chinese = [any("\u4e00" <= sign <= "\u9fff" for sign in one.prompt.question) for one in asked]
    assert chinese == [False] * 20 + [True] * 20
    assert len({one.prompt.question for one in asked}) == 40


# Form and length -------------------------------------------------------------------------------


def results_of(
    references: Sequence[str],
    answers: dict[str, Sequence[str]],
    labels: tuple[str, ...] = (),
    **options: Any,
) -> Results:
    asked = [
        Question(str(n), conversation(("user", f"question {n}")), text, None, str(n))
        for n, text in enumerate(references)
    ]
    config = EvaluateConfig(dataset="ds", models=tuple(answers), bootstrap=300, **options)
    metrics = open_metrics(Material(references, labels, config=config.scoring))
    scored = {
        name: score_answers(asked, [Said(text, "stop") for text in said], metrics)
        for name, said in answers.items()
    }
    return gather(config, Asked(asked, scored, metrics), None, Asked((), {}, metrics))


@pytest.mark.parametrize(("strays", "passed"), [(0, True), (2, True), (4, None), (20, False)])
def test_free_answers_must_be_labels(dataset: Dataset, strays: int, passed: bool | None) -> None:
    answers = ["chat"] * strays + ["refund"] * (60 - strays)
    results = results_of(
        ["refund"] * 60, {"base": ["refund"] * 60, "tuned": answers}, ("refund", "delivery")
    )
    gate = judged(results, dataset)["validity"]
    assert gate.passed is passed
    assert gate.numbers["form"] == "label"


def test_answers_to_json_must_be_json(dataset: Dataset) -> None:
    references = ['{"days": 7}'] * 40
    results = results_of(references, {"base": ["7 days"] * 40, "tuned": ['{"days": 8}'] * 40})
    assert judged(results, dataset)["validity"].passed is True
    results = results_of(references, {"base": references, "tuned": ["7 days"] * 40})
    gate = judged(results, dataset)["validity"]
    assert gate.passed is False
    assert "JSON" in gate.prescription


LONG = "The deposit is returned within seven days after the end of the lease."


@pytest.mark.parametrize(
    ("answer", "passed", "cure"),
    [(LONG, True, ""), (LONG * 3, False, "much longer"), ("Seven days.", False, "much shorter")],
)
def test_answers_are_about_as_long_as_taught(
    dataset: Dataset, answer: str, passed: bool, cure: str
) -> None:
    results = results_of([LONG] * 30, {"base": [LONG] * 30, "tuned": [answer] * 30})
    gate = judged(results, dataset)["length"]
    assert gate.passed is passed
    assert cure in gate.prescription


def test_broken_answers_are_told_from_long_ones(dataset: Dataset) -> None:
    results = results_of([LONG] * 20, {"base": [LONG] * 20, "tuned": [LONG] * 20})
    for text, cure in ((",\n" * 60, "Training broke"), (LONG[:60], "larger max_new_tokens")):
        cut = [Said(text, "length")] * 20
        answers = score_answers(results.test.questions, cut, results.test.metrics)
        test = dataclasses.replace(results.test, answers={**results.test.answers, "tuned": answers})
        gate = judged(dataclasses.replace(results, test=test), dataset)["stopping"]
        assert gate.passed is False
        assert cure in gate.prescription


# All of them -----------------------------------------------------------------------------------


def test_less_is_better_counts_as_improvement(dataset: Dataset) -> None:
    said = {"base": ["I'm sorry, I can't help with that."] * 40, "tuned": [LONG] * 40}
    results = results_of([LONG] * 40, said, scoring={"metric": "refusal"})
    gate = judged(results, dataset)["improvement"]
    assert gate.passed is True
    assert "100.0% → 0.0%" in gate.evidence
    back = dict(zip(said, reversed(list(said.values())), strict=True))
    worse = results_of([LONG] * 40, back, scoring={"metric": "refusal"})
    assert judged(worse, dataset)["improvement"].passed is False


def test_the_order_of_questions_changes_nothing(make_results: Any, dataset: Dataset) -> None:
    results = with_safety(
        make_results(
            general={"base": share(80, 0.9), "tuned": share(80, 0.85)},
            base=share(90, 0.2),
            tuned=share(90, 0.6),
            seen=[True] * 30,
            group_size=2,
        ),
        {"base": (20, 0), "tuned": (18, 1)},
    )
    order = random.Random(0).sample(range(90), 90)
    assert results.safety is not None
    turned = dataclasses.replace(
        results,
        test=results.test.only(order),
        safety=results.safety.only(random.Random(1).sample(range(40), 40)),
    )
    turned = dataclasses.replace(
        turned, comparisons={"tuned": turned.test.against("base", "tuned", turned.config)}
    )
    kinds = ["paraphrase" if n % 3 else "question" for n in range(90)]
    straight = judge(results, dataset, EN, Evidence(kinds, {"tuned": [4, 5]}))
    places = [order.index(4), order.index(5)]
    other = judge(turned, dataset, EN, Evidence([kinds[n] for n in order], {"tuned": places}))
    assert gates_json(straight) == gates_json(other)
    assert [gate.name for gate in straight] == [
        name for name in GATES if name != "validity" and name != "length"
    ]
    again = judge(results, dataset, EN, Evidence(kinds, {"tuned": [4, 5]}))
    assert gates_json(again) == gates_json(straight)


def test_gates_speak_chinese_and_fit_json(make_results: Any, dataset: Dataset) -> None:
    results = with_safety(
        make_results(base=[False] * 40, tuned=share(40, 0.3), seen=[True] * 30),
        {"base": (20, 0), "tuned": (4, 1)},
    )
    gates = judge(results, dataset, ZH, Evidence(["paraphrase"] * 40, {"tuned": [0]}))
    for gate in gates:
        assert any("\u4e00" <= sign <= "\u9fff" for sign in gate.evidence), gate.name
        assert "{" not in gate.evidence + gate.prescription
    json.dumps(gates_json(gates), allow_nan=False)
    assert isinstance(results.comparisons["tuned"]["exact"]["all"], Comparison)
