"""Evals with OpenAI's own client against a real server, killed meanwhile."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from .conftest import HELLO, PATIENCE, eventually
from .test_batches import Home, blocks, home_at

ENDED = ("completed", "failed", "canceled")
CUSTOM: Any = {
    "type": "custom",
    "item_schema": {
        "type": "object",
        "properties": {"question": {"type": "string"}, "answer": {"type": "string"}},
        "required": ["question"],
    },
    "include_sample_schema": True,
}
EQUAL: Any = {
    "type": "string_check",
    "name": "equal",
    "input": "{{sample.output_text}}",
    "reference": "{{item.answer}}",
    "operation": "eq",
}
ALIKE: Any = {
    "type": "text_similarity",
    "name": "alike",
    "input": "{{sample.output_text}}",
    "reference": "{{item.answer}}",
    "evaluation_metric": "fuzzy_match",
    "pass_threshold": 0.5,
}
LABEL: Any = {
    "type": "label_model",
    "name": "label",
    "model": "slow",
    "input": [{"role": "user", "content": "Good? {{sample.output_text}}"}],
    "labels": ["yes", "no"],
    "passing_labels": ["yes", "no"],
}
TEMPLATE: Any = {
    "type": "template",
    "template": [{"role": "user", "content": "{{item.question}}"}],
}


@pytest.fixture(scope="module")
def shared(slow_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    with home_at(tmp_path_factory.mktemp("evals"), slow_base) as home:
        home.serve()
        yield home


@pytest.fixture
def client(shared: Home) -> Iterator[openai.OpenAI]:
    with shared.client("a") as made:
        yield made


def create(client: openai.OpenAI, *criteria: Any, source: Any = CUSTOM) -> str:
    return client.evals.create(
        name="laws", data_source_config=source, testing_criteria=list(criteria)
    ).id


def rows(*answers: tuple[str, str | None]) -> Any:
    """Rows with the answer expected, and the one that was given."""
    content = [
        {
            "item": {"question": f"question {number}", "answer": expected},
            **({} if given is None else {"sample": {"output_text": given}}),
        }
        for number, (expected, given) in enumerate(answers)
    ]
    return {"type": "file_content", "content": content}


def asking(source: Any, **more: Any) -> Any:
    """A run in which the tiny model answers."""
    drawn = {"max_completion_tokens": 4, "temperature": 0.0}
    return {
        **{"type": "completions", "model": "slow", "source": source},
        **{"input_messages": TEMPLATE, "sampling_params": drawn, **more},
    }


def wait(client: openai.OpenAI, run: Any, states: Sequence[str] = ENDED) -> Any:
    found: list[Any] = []

    def there() -> bool:
        found[:] = [client.evals.runs.retrieve(run.id, eval_id=run.eval_id)]
        return found[0].status in states

    assert eventually(there), found
    return found[0]


def items(client: openai.OpenAI, run: Any, **query: Any) -> list[Any]:
    return list(client.evals.runs.output_items.list(run.id, eval_id=run.eval_id, **query))


def test_answers_that_rows_hold_are_tested(client: openai.OpenAI) -> None:
    made = create(client, EQUAL, ALIKE)
    given = rows(("七天内", "七天内"), ("七天内", "七天"), ("七天内", "no"))
    run = client.evals.runs.create(
        made, data_source={"type": "jsonl", "source": given}, name="first", metadata={"v": "1"}
    )
    assert run.status in ("queued", "in_progress")
    done = wait(client, run)
    assert done.status == "completed", done
    assert (done.name, done.metadata, done.error) == ("first", {"v": "1"}, None)
    assert done.data_source.model_dump(exclude_none=True) == {"type": "jsonl", "source": given}
    counts = {"total": 3, "passed": 1, "failed": 2, "errored": 0}
    assert done.result_counts.model_dump() == counts
    told = {one.testing_criteria: (one.passed, one.failed)
            for one in done.per_testing_criteria_results}  # fmt: skip
    assert told == {"equal": (1, 2), "alike": (2, 1)}
    assert done.per_model_usage == []
    found = items(client, run, limit=2)
    assert [one.status for one in found] == ["pass", "fail", "fail"]
    assert [one.datasource_item_id for one in found] == [0, 1, 2]
    second = client.evals.runs.output_items.retrieve(found[1].id, eval_id=made, run_id=run.id)
    assert second.datasource_item["question"] == "question 1"
    assert [(one.name, one.passed) for one in second.results] == [("equal", False), ("alike", True)]
    assert second.sample.output[0].content == "七天"
    assert [one.id for one in items(client, run, status="pass")] == [found[0].id]
    back = items(client, run, order="desc", limit=1)
    assert [one.id for one in back] == [one.id for one in reversed(found)]
    report = httpx.get(done.report_url, headers={"Authorization": f"Bearer {client.api_key}"})
    assert len(report.json()["data"]) == 3


def test_a_model_answers_and_a_judge_labels(client: openai.OpenAI) -> None:
    alone = client.chat.completions.create(model="slow", messages=HELLO, max_tokens=4)
    said = alone.choices[0].message.content or ""
    content = [{"item": {"question": "hello", "answer": said}} for _ in range(3)]
    source: Any = {"type": "file_content", "content": [*content, {"item": {"question": "x"}}]}
    run = client.evals.runs.create(create(client, EQUAL, LABEL), data_source=asking(source))
    done = wait(client, run)
    counts = {"total": 4, "passed": 3, "failed": 0, "errored": 1}
    assert done.result_counts.model_dump() == counts
    (used,) = done.per_model_usage
    assert (used.model_name, used.invocation_count) == ("slow", 8)
    assert used.total_tokens == used.prompt_tokens + used.completion_tokens > 0
    found = items(client, run)
    sample = found[0].sample
    assert (sample.model, sample.output[0].content) == ("slow", said)
    assert (sample.input[0].content, sample.max_completion_tokens) == ("hello", 4)
    assert sample.usage.prompt_tokens == alone.usage.prompt_tokens  # type: ignore[union-attr]
    label = found[0].results[1]
    assert label.passed
    assert label.sample["label"] in ("yes", "no")
    assert found[3].status == "error"
    assert found[3].results[0].error == "invalid_variable_error"


def test_rows_can_come_from_a_file(client: openai.OpenAI) -> None:
    lines = [{"item": {"question": "a", "answer": "b"}, "sample": {"output_text": "b"}}] * 5
    body = "\n".join(json.dumps(one) for one in lines).encode()
    file = client.files.create(file=("rows.jsonl", io.BytesIO(body)), purpose="evals")
    source: Any = {"type": "jsonl", "source": {"type": "file_id", "id": file.id}}
    made = create(client, EQUAL)
    done = wait(client, client.evals.runs.create(made, data_source=source))
    assert done.result_counts.passed == 5
    with pytest.raises(openai.BadRequestError) as caught:
        client.evals.runs.create(
            made, data_source={"type": "jsonl", "source": {"type": "file_id", "id": "file-x"}}
        )
    assert caught.value.code == "file_not_found"


def test_stored_completions_are_tested_and_answered_anew(client: openai.OpenAI) -> None:
    for label in ("law", "law", "tax"):
        client.chat.completions.create(
            model="slow", messages=HELLO, max_tokens=4, store=True, metadata={"of": label}
        )
    config: Any = {"type": "stored_completions", "metadata": {"of": "law"}}
    holds = {**EQUAL, "operation": "ne", "reference": "{{item.metadata.of}}"}
    made = create(client, holds, source=config)
    source: Any = {"type": "stored_completions"}
    old = client.evals.runs.create(made, data_source={"type": "completions", "source": source})
    new = client.evals.runs.create(
        made,
        data_source={
            **asking(source),
            "input_messages": {"type": "item_reference", "item_reference": "item.input"},
        },
    )
    before, after = wait(client, old), wait(client, new)
    assert before.result_counts.passed == after.result_counts.passed == 2
    assert before.per_model_usage == []
    assert after.per_model_usage[0].invocation_count == 2
    said = [[one.sample.output[0].content for one in items(client, run)] for run in (old, new)]
    assert said[0] == said[1]


def test_rows_that_do_not_fit_fail_the_run(client: openai.OpenAI) -> None:
    source: Any = {"type": "file_content", "content": [{"item": {"question": 3}}]}
    made = create(client, EQUAL)
    run = client.evals.runs.create(made, data_source={"type": "jsonl", "source": source})
    done = wait(client, run)
    assert (done.status, done.error.code) == ("failed", "invalid_data")
    assert "row 0" in done.error.message
    with pytest.raises(openai.ConflictError):
        client.evals.runs.cancel(run.id, eval_id=made)


def test_a_cancelled_run_keeps_what_it_has(client: openai.OpenAI) -> None:
    made = create(client, EQUAL)
    long = {"max_completion_tokens": 25_000}
    given = rows(*(("x", None) for _ in range(20)))
    run = client.evals.runs.create(made, data_source=asking(given, sampling_params=long))
    wait(client, run, ("in_progress",))
    client.evals.runs.cancel(run.id, eval_id=made)
    done = wait(client, run)
    assert done.status == "canceled"
    assert done.result_counts.total == 20
    again = client.evals.runs.create(made, data_source=asking(given, sampling_params=long))
    wait(client, again, ("in_progress",))
    url = f"{str(client.base_url).rstrip('/')}/evals/{made}/runs/{again.id}"
    headers = {"Authorization": f"Bearer {client.api_key}", "Content-Type": "application/json"}
    assert httpx.post(url, headers=headers).status_code == 200
    assert wait(client, again).status == "canceled"


def test_evals_are_listed_renamed_and_deleted(shared: Home, client: openai.OpenAI) -> None:
    made = [create(client, EQUAL) for _ in range(3)]
    listed = [one.id for one in client.evals.list(limit=2)]
    assert listed[-3:] == made
    assert client.evals.list(order="desc", limit=1).data[0].id == made[2]
    changed = client.evals.update(made[0], name="taxes", metadata={"of": "tax"})
    assert (changed.name, changed.metadata) == ("taxes", {"of": "tax"})
    assert client.evals.list(order_by="updated_at", order="desc").data[0].id == made[0]
    kept = client.evals.retrieve(made[0])
    assert kept.testing_criteria[0].name == "equal"
    schema: Any = kept.data_source_config.model_dump(by_alias=True)["schema"]
    assert schema["properties"]["item"] == CUSTOM["item_schema"]
    given = rows(*(("x", None) for _ in range(9)))
    busy = asking(given, sampling_params={"max_completion_tokens": 25_000})
    run = client.evals.runs.create(made[0], data_source=busy)
    quick = client.evals.runs.create(
        made[0], data_source={"type": "jsonl", "source": rows(("x", "x"))}
    )
    wait(client, quick)
    runs = client.evals.runs.list(made[0], status="completed").data
    assert [one.id for one in runs] == [quick.id]
    with shared.client("b") as theirs:
        assert theirs.evals.list().data == []
        for attempt in (
            lambda: theirs.evals.retrieve(made[0]),
            lambda: theirs.evals.delete(made[0]),
            lambda: theirs.evals.runs.list(made[0]),
            lambda: theirs.evals.runs.retrieve(run.id, eval_id=made[0]),
            lambda: theirs.evals.runs.output_items.list(quick.id, eval_id=made[0]),
        ):
            with pytest.raises(openai.NotFoundError):
                attempt()
    assert client.evals.runs.delete(quick.id, eval_id=made[0]).deleted
    wait(client, run, ("in_progress",))
    assert client.evals.delete(made[0]).deleted
    for gone in (
        lambda: client.evals.retrieve(made[0]),
        lambda: client.evals.runs.retrieve(run.id, eval_id=made[0]),
    ):
        with pytest.raises(openai.NotFoundError):
            gone()


def test_what_cannot_work_is_refused(client: openai.OpenAI) -> None:
    python: Any = {"type": "python", "name": "p", "source": "def grade(a, b): return 1"}
    for criteria, source, param in (
        ([python], CUSTOM, "testing_criteria.0"),
        ([EQUAL, {**LABEL, "passing_labels": ["x"]}], CUSTOM, "testing_criteria.1"),
        ([EQUAL, EQUAL], CUSTOM, "testing_criteria.1"),
        ([EQUAL], {**CUSTOM, "item_schema": {"type": 7}}, "data_source_config.item_schema"),
    ):
        with pytest.raises(openai.BadRequestError) as caught:
            create(client, *criteria, source=source)
        assert caught.value.param == param
    with pytest.raises(openai.NotFoundError):
        create(client, {**LABEL, "model": "nobody"})
    made = create(client, EQUAL)
    given = rows(("x", None))
    bad = {"type": "template", "template": [{"role": "user", "content": "{{secret}}"}]}
    runs: list[tuple[Any, type[openai.APIStatusError]]] = [
        (asking(given, model="nobody"), openai.NotFoundError),
        (asking(given, model=None), openai.BadRequestError),
        (asking(given, input_messages=bad), openai.BadRequestError),
        (asking(given, sampling_params={"temperature": 9}), openai.BadRequestError),
        (asking(given, sampling_params={"tempo": 1}), openai.BadRequestError),
        ({"type": "responses", "source": given}, openai.BadRequestError),
    ]
    for source, error in runs:
        with pytest.raises(error):
            client.evals.runs.create(made, data_source=source)
    assert client.evals.runs.list(made).data == []


@pytest.mark.timeout(900)
@pytest.mark.slow  # three servers, one after the other
def test_killed_servers_lose_no_row_and_repeat_none(slow_base: Path, tmp_path: Path) -> None:
    with home_at(tmp_path / "home", slow_base) as home:
        client = home.serve()
        made = create(client, EQUAL, LABEL)
        given = rows(*(("x", None) for _ in range(60)))
        run = client.evals.runs.create(
            made, data_source=asking(given, sampling_params={"max_completion_tokens": 60})
        )

        def tested(at: openai.OpenAI, least: int) -> bool:
            counts = at.evals.runs.retrieve(run.id, eval_id=made).result_counts
            return bool(counts.failed + counts.errored + counts.passed >= least)

        for least in (3, 15):
            assert eventually(partial(tested, client, least))
            home.stop(signal.SIGKILL)
            client = home.serve()
        done = wait(client, run)
        assert done.result_counts.model_dump() == {
            "total": 60, "failed": 60, "passed": 0, "errored": 0,
        }  # fmt: skip
        found = items(client, run)
        assert [one.datasource_item_id for one in found] == list(range(60))
        (used,) = done.per_model_usage
        assert used.invocation_count == 120
        totals = {name: getattr(used, name) for name in ("prompt_tokens", "completion_tokens")}
        assert home.used() == totals


def test_the_page_runs_as_it_stands(shared: Home) -> None:
    code = blocks("evals.md")
    assert code == blocks("evals.zh-CN.md")
    url = f"{shared.servers[-1].url}/v1"
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(code)],
        env={**os.environ, "OPENAI_BASE_URL": url, "OPENAI_API_KEY": shared.secrets["a"]},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert done.returncode == 0, done.stderr
    assert "completed" in done.stdout
