"""Judges and embedding models behind an API."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.grading.conftest import Judge, refuses, says

from tunewright.config.grading import parse_grader
from tunewright.core.errors import ConfigError, EndpointError
from tunewright.core.store import Store
from tunewright.grading.results import Grade, Means
from tunewright.grading.table import check_grader, grade, run_grader

CONFIG: dict[str, Any] = {
    "type": "score_model",
    "name": "helpful",
    "model": "judge-1",
    "input": [
        {"role": "system", "content": "Judge answers."},
        {
            "role": "user",
            "content": {
                "type": "input_text",
                "text": "Q: {{ item.question }}\nA: {{ sample.output_text }}",
            },
        },
    ],
    "range": [0, 10],
    "sampling_params": {"seed": 7, "top_p": 0.9},
    "limits": {"retries": 1},
}


def graded(judge: Judge, store: Store, samples: list[str], **changes: Any) -> list[Grade]:
    config = parse_grader({**CONFIG, "endpoint": judge.url, **changes})
    items = [{"question": f"q{number}"} for number in range(len(samples))]
    return grade(config, samples, items, Means(store))


def test_a_judge_scores_answers_in_order(judge: Judge, store: Store) -> None:
    def by_length(body: dict[str, Any]) -> Any:
        answer = body["messages"][-1]["content"].split("A: ")[1].split("\n")[0]
        return says(json.dumps({"reasoning": "", "score": len(answer)}))

    judge.rule = by_length
    grades = graded(judge, store, ["x" * size for size in (5, 2, 9, 0, 7)])
    assert [one.score for one in grades] == [5, 2, 9, 0, 7]
    assert grades[0].tokens == {"judge-1": 48}
    body = judge.requests[0]
    assert (body["model"], body["temperature"], body["seed"], body["top_p"]) == (
        "judge-1", 0.0, 7, 0.9,
    )  # fmt: skip
    assert body["messages"][0] == {"role": "system", "content": "Judge answers."}
    assert "from 0 to 10" in body["messages"][-1]["content"]


@pytest.mark.parametrize(
    ("text", "score"),
    [
        ("7", 7.0),
        ("<think>{\"score\": 1}</think> So: ```json\n{\"score\": 8, \"reasoning\": \"{\"}\n```", 8),
        ('{"result": 3.5, "steps": []}', 3.5),
        ('First {"score": 1}, no: {"score": 2}', 2),
    ],
)  # fmt: skip
def test_scores_are_found_in_what_judges_say(
    text: str, score: float, judge: Judge, store: Store
) -> None:
    judge.rule = lambda body: says(text)
    assert graded(judge, store, ["a"])[0].score == score


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("very good", "model_grader_parse_error"),
        ('{"score": 11}', "model_grader_parse_error"),
        ('{"score": "high"}', "model_grader_parse_error"),
        ("", "model_grader_refusal_error"),
    ],
)
def test_a_judge_that_gives_no_score_is_asked_once_more(
    text: str, error: str, judge: Judge, store: Store
) -> None:
    judge.rule = lambda body: says(text)
    (found,) = graded(judge, store, ["a"])
    assert found.failed
    assert found.errors.names() == (error,)
    assert len(judge.requests) == 2
    judge.faults.append(says("hm"))
    judge.rule = lambda body: says("4")
    (found,) = graded(judge, store, ["a"])
    assert (found.score, found.failed, found.tokens) == (4, False, {"judge-1": 96})


def test_faults_of_one_request_leave_the_others(judge: Judge, store: Store) -> None:
    judge.rule = lambda body: (
        refuses(400, "The content was filtered")
        if "A: bad" in body["messages"][-1]["content"]
        else says("1")
    )
    judge.faults.append(refuses(503, "busy"))
    grades = graded(judge, store, ["good", "bad", "good"], limits={"retries": 1, "concurrency": 1})
    assert [one.score for one in grades] == [1, 0, 1]
    assert grades[1].errors.names() == ("model_grader_refusal_error",)


def test_what_an_endpoint_does_not_take_is_left_out_for_good(judge: Judge, store: Store) -> None:
    judge.rule = lambda body: (
        refuses(400, "no", "response_format") if "response_format" in body else says("1")
    )
    grades = graded(judge, store, ["a", "b"], limits={"concurrency": 1})
    assert [one.score for one in grades] == [1, 1]
    assert sum("response_format" in body for body in judge.requests) == 2


def test_a_judge_that_refuses_everything_ends_the_work(judge: Judge, store: Store) -> None:
    judge.rule = lambda body: refuses(401, "bad key")
    with pytest.raises(EndpointError, match="401"):
        graded(judge, store, ["a"] * 20)


def test_a_judge_that_is_not_there(store: Store) -> None:
    with pytest.raises(ConfigError, match="no endpoint is named"):
        check_grader(parse_grader(CONFIG), {"question"}, Means(store))
    config = parse_grader({**CONFIG, "endpoint": "http://127.0.0.1:1", "limits": {"retries": 0}})
    check_grader(config, {"question"}, Means(store))
    told = run_grader(config, "a", {"question": "q"}, Means(store))
    errors = told["metadata"]["errors"]
    assert errors["model_grader_server_error"]
    assert "cannot be reached" in errors["model_grader_server_error_details"]


def test_likeness_by_embeddings(judge: Judge, store: Store) -> None:
    grader = {
        "type": "text_similarity",
        "evaluation_metric": "cosine",
        "endpoint": judge.url,
        "model": "embed-1",
    }
    items = [{"reference_answer": "ab"}] * 40
    grades = grade(parse_grader(grader), ["aabb", "", *["c"] * 38], items, Means(store))
    assert [round(one.score, 6) for one in grades] == [1, *[0] * 39]
    assert [len(body["input"]) for body in judge.requests] in ([64, 16], [16, 64])
    judge.faults.extend([refuses(500, "no")] * 2)
    grader["limits"] = {"retries": 1}  # type: ignore[assignment]
    (found,) = grade(parse_grader(grader), ["a"], items[:1], Means(store))
    assert found.errors.names() == ("model_grader_server_error",)
