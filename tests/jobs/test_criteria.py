"""Testing criteria: rules, and judges whose replies are written here."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from tunewright.core.errors import ConfigError
from tunewright.grading.results import Case
from tunewright.jobs.asking import Reply
from tunewright.jobs.criteria import Verdict, parse_criterion

ITEM = {"question": "退货期限?", "answer": "七天"}
LABELS: dict[str, Any] = {
    "type": "label_model",
    "name": "tone",
    "model": "judge",
    "input": [{"role": "user", "content": "Rate: {{sample.output_text}} ({{item.question}})"}],
    "labels": ["good", "bad", "very bad"],
    "passing_labels": ["good"],
}
SCORES: dict[str, Any] = {
    "type": "score_model",
    "name": "score",
    "model": "judge",
    "input": [{"role": "user", "content": "Rate {{ sample.output_text }}"}],
    "range": [0, 10],
    "pass_threshold": 7,
}


def said(text: str) -> Reply:
    usage = {"prompt_tokens": 5, "completion_tokens": 2}
    body = {"choices": [{"message": {"content": text}}], "usage": usage}
    return Reply("req", 200, body, "judge")


def refused(status: int) -> Reply:
    return Reply("req", status, {"error": {"message": "not this way"}})


def judged(values: Any, answer: str, *replies: Reply) -> tuple[Verdict, Sequence[Any]]:
    """The verdict, and what a judge that gives these replies was asked."""
    asked: list[Any] = []

    async def ask(body: dict[str, Any]) -> Reply:
        asked.append(body)
        return replies[len(asked) - 1]

    verdict = asyncio.run(parse_criterion(values).judged(Case(answer, ITEM), ask))
    assert len(asked) == len(replies)
    return verdict, asked


@pytest.mark.parametrize(
    ("criterion", "answer", "score", "passed"),
    [
        ({"type": "string_check", "operation": "eq"}, "七天", 1.0, True),
        ({"type": "string_check", "operation": "eq"}, "八天", 0.0, False),
        ({"type": "string_check", "operation": "like"}, "是七天。", 1.0, True),
        (
            {"type": "text_similarity", "evaluation_metric": "rouge_l", "pass_threshold": 0.7},
            "七天",
            1.0,
            True,
        ),
        (
            {"type": "text_similarity", "evaluation_metric": "rouge_l", "pass_threshold": 0.7},
            "七年",
            0.5,
            False,
        ),
    ],
)
def test_rules(criterion: Any, answer: str, score: float, passed: bool) -> None:
    texts = {"input": "{{sample.output_text}}", "reference": "{{item.answer}}"}
    verdict, _ = judged({"name": "it", **texts, **criterion}, answer)
    assert (verdict.score, verdict.passed, verdict.failed) == (score, passed, None)


def test_a_field_that_is_not_there_gives_no_grade() -> None:
    blank = {"input": "{{sample.output_text}}", "reference": "{{item.nothing}}"}
    verdict, _ = judged({"type": "string_check", "name": "it", "operation": "eq", **blank}, "x")
    assert (verdict.passed, verdict.failed) == (False, "invalid_variable_error")


@pytest.mark.parametrize(
    ("text", "passed"),
    [("good", True), (' "bad". ', False), ("I say: very bad", False), ("It is good!", True)],
)
def test_a_judge_gives_a_label(text: str, passed: bool) -> None:
    verdict, (body,) = judged(LABELS, "七天", said(text))
    assert (verdict.passed, verdict.score, verdict.failed) == (passed, float(passed), None)
    assert body["guided_choice"] == LABELS["labels"]
    prompt = body["messages"][0]["content"]
    assert prompt.startswith("Rate: 七天 (退货期限?)")
    assert '["good", "bad", "very bad"]' in prompt
    (spent,) = verdict.costs
    assert (spent.model, spent.prompt_tokens, spent.completion_tokens) == ("judge", 5, 2)


def test_a_judge_that_takes_no_choices_is_asked_freely() -> None:
    verdict, bodies = judged(LABELS, "x", refused(400), said("good"))
    assert verdict.passed
    assert "guided_choice" not in bodies[1]
    assert [spent.failed for spent in verdict.costs] == [True, False]


@pytest.mark.parametrize("text", ["good or bad", "none", ""])
def test_what_is_no_label_gives_no_grade(text: str) -> None:
    verdict, _ = judged(LABELS, "x", said(text))
    assert (verdict.passed, verdict.failed) == (False, "model_grader_parse_error")


@pytest.mark.parametrize(
    ("text", "score", "passed"), [('{"score": 7}', 7.0, True), ("6.9", 6.9, False)]
)
def test_a_judge_gives_a_score(text: str, score: float, passed: bool) -> None:
    verdict, (body,) = judged(SCORES, "七天", said(text))
    assert (verdict.score, verdict.passed, verdict.failed) == (score, passed, None)
    assert body["response_format"]["type"] == "json_schema"


def test_a_score_without_a_threshold_passes_from_the_middle_on() -> None:
    free = {key: value for key, value in SCORES.items() if key != "pass_threshold"}
    assert judged(free, "x", said("5"))[0].passed
    assert not judged(free, "x", said("4.9"))[0].passed


def test_a_judge_without_a_score_is_asked_once_more() -> None:
    verdict, _ = judged(SCORES, "x", said("eleven"), said("9"))
    assert (verdict.score, len(verdict.costs)) == (9.0, 2)
    verdict, _ = judged(SCORES, "x", said("11"), said("eleven"))
    assert (verdict.passed, verdict.failed) == (False, "model_grader_parse_error")


@pytest.mark.parametrize("values", [SCORES, {**LABELS}])
def test_a_judge_that_does_not_answer_gives_no_grade(values: Any) -> None:
    verdict, _ = judged(values, "x", refused(503))
    assert verdict.failed == "model_grader_server_error: not this way"


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"type": "python", "name": "p", "source": "x"}, "run no code"),
        ({"type": "magic"}, "string_check"),
        ({**SCORES, "endpoint": "http://127.0.0.1:1/v1"}, "models of this server"),
        ({**LABELS, "passing_labels": ["fine"]}, "'fine' is none of the labels"),
        ({**LABELS, "labels": ["a", "a"]}, "different"),
        ({**LABELS, "input": [{"role": "user", "content": "{{ os.environ }}"}]}, "a blank is"),
        ({"type": "text_similarity", "name": "t", "evaluation_metric": "bleu"}, "pass_threshold"),
        (
            {"type": "text_similarity", "name": "t", "evaluation_metric": "cosine",
             "pass_threshold": 1, "endpoint": "http://127.0.0.1:1/v1", "model": "e"},
            "models of this server",
        ),
        ({"type": "string_check", "name": "s", "operation": "is"}, "operation"),
    ],
)  # fmt: skip
def test_what_cannot_be_a_criterion_is_refused(values: Any, problem: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_criterion(values)
    assert problem in caught.value.message
