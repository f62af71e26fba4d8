"""The whole life of fine-tuning jobs with OpenAI's own client against a real server."""

from __future__ import annotations

import io
import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from tunewright.core.records import FineTuningJob, Model, Run
from tunewright.core.store import Store

from .conftest import PATIENCE, Server, eventually, start_server

LR = {"learning_rate_multiplier": 2.0}
ENDED = ("succeeded", "failed", "cancelled")


def examples(count: int, first: int = 0) -> bytes:
    """Rows of a training file."""
    rows = (
        {
            "messages": [
                {"role": "user", "content": f"question {number}?"},
                {"role": "assistant", "content": f"answer number {number} it is"},
            ]
        }
        for number in range(first, first + count)
    )
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


def pairs(count: int) -> bytes:
    """Rows of a preference file."""
    rows = (
        {
            "input": {"messages": [{"role": "user", "content": f"question {number}?"}]},
            "preferred_output": [{"role": "assistant", "content": f"good answer {number}"}],
            "non_preferred_output": [{"role": "assistant", "content": f"bad answer {number}"}],
        }
        for number in range(count)
    )
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


@pytest.fixture(scope="module")
def jobs_server(slow_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of its own home: what these tests make is theirs."""
    home = tmp_path_factory.mktemp("jobs")
    running = start_server(home, bases=[str(slow_base)], timeout=PATIENCE)
    try:
        yield running
    finally:
        running.stop()


@pytest.fixture(scope="module")
def client(jobs_server: Server) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(
        base_url=f"{jobs_server.url}/v1", api_key="none", max_retries=0, timeout=PATIENCE
    ) as made:
        yield made


def upload(client: openai.OpenAI, body: bytes, name: str = "train.jsonl") -> str:
    return client.files.create(file=(name, io.BytesIO(body)), purpose="fine-tune").id


def state(job: Any) -> str:
    """Where it stands in our words; OpenAI's enumeration has none for a paused one."""
    return str(job.model_extra["tunewright"]["state"])


def wait(client: openai.OpenAI, job: str, states: tuple[str, ...] = ENDED) -> Any:
    found: list[Any] = []

    def there() -> bool:
        found[:] = [client.fine_tuning.jobs.retrieve(job)]
        return found[0].status in states

    assert eventually(there), found
    return found[0]


def messages(client: openai.OpenAI, job: str) -> list[str]:
    """All that a job told, oldest first."""
    return [event.message for event in client.fine_tuning.jobs.list_events(job, limit=7)][::-1]


def log_of(server: Server, job: str) -> str:
    path = server.stderr.parent / "jobs" / job / "worker.log"
    return path.read_text() if path.exists() else "no worker ran"


def test_from_a_file_to_a_served_model(jobs_server: Server, client: openai.OpenAI) -> None:
    training = upload(client, examples(24))
    validation = upload(client, examples(6, first=22), "valid.jsonl")
    job = client.fine_tuning.jobs.create(
        model="slow",
        training_file=training,
        validation_file=validation,
        method={"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 2, **LR}}},
        suffix="法律 legal",
        seed=7,
        metadata={"team": "law"},
        integrations=[{"type": "wandb", "wandb": {"project": "p"}}],
        extra_body={"tunewright": {"lora": {"rank": 4}, "batch_tokens": 256}},
    )
    assert job.status in ("validating_files", "queued", "running")
    assert job.id.startswith("ftjob-")
    assert (job.model, job.seed, job.metadata) == ("slow", 7, {"team": "law"})
    done = wait(client, job.id)
    assert done.status == "succeeded", (done, log_of(jobs_server, job.id))
    assert done.error is None
    assert done.fine_tuned_model.startswith("ft:slow:default:法律-legal:")
    assert done.fine_tuned_model.count(":") == 4
    assert done.trained_tokens > 0
    assert done.finished_at >= done.created_at
    assert done.hyperparameters.n_epochs == 2
    assert isinstance(done.hyperparameters.batch_size, int)
    assert done.model_extra["user_provided_suffix"] == "法律 legal"
    told = messages(client, job.id)
    for part in (
        f"Created fine-tuning job: {job.id}", "Integrations are left out", "Validating training",
        "ask what the validation file asks", "Files validated, moving job to queued state",
        "Fine-tuning job started", "Step 1/", "Checkpoint created at step",
        f"New fine-tuned model created: {done.fine_tuned_model}",
        "The job has successfully completed",
    ):  # fmt: skip
        assert any(part in line for line in told), (part, told)
    events = client.fine_tuning.jobs.list_events(job.id, limit=1000).data
    metrics = [event.data for event in events if event.type == "metrics"]
    assert {"step", "total_steps", "train_loss"} <= set(metrics[0])
    assert any("full_valid_loss" in one for one in metrics)
    check_checkpoints(client, job.id, done.fine_tuned_model)
    check_results(client, done)


def check_checkpoints(client: openai.OpenAI, job: str, name: str) -> None:
    points = client.fine_tuning.jobs.checkpoints.list(job).data
    assert len(points) == 2
    assert points[0].step_number == 2 * points[1].step_number
    assert points[0].metrics.full_valid_loss is not None
    assert points[0].fine_tuned_model_checkpoint == f"{name}:ckpt-step-{points[0].step_number}"
    answers = {}
    for model in ("slow", name, *(point.fine_tuned_model_checkpoint for point in points)):
        reply = client.chat.completions.create(
            model=model,
            messages=[{"role": "user", "content": "question 3?"}],
            max_tokens=12,
        )
        assert reply.model == model
        answers[model] = reply.choices[0].message.content
    assert answers[name] != answers["slow"]
    page = client.fine_tuning.jobs.checkpoints.list(job, limit=1)
    assert page.has_more
    assert page.get_next_page().data == points[1:]


def check_results(client: openai.OpenAI, done: Any) -> None:
    (results,) = done.result_files
    assert client.files.retrieve(results).purpose == "fine-tune-results"
    lines = client.files.content(results).text.splitlines()
    assert lines[0] == "step,train_loss,train_accuracy,valid_loss,valid_mean_token_accuracy"
    steps = [line.split(",") for line in lines[1:]]
    assert [int(row[0]) for row in steps] == list(range(1, len(steps) + 1))
    assert steps[-1][3]


def test_tuning_goes_on_from_a_tuned_model_and_deleting(
    jobs_server: Server, client: openai.OpenAI
) -> None:
    first = next(job for job in client.fine_tuning.jobs.list() if job.status == "succeeded")
    assert first.fine_tuned_model
    job = client.fine_tuning.jobs.create(
        model=first.fine_tuned_model,
        training_file=upload(client, pairs(12), "pairs.jsonl"),
        method={"type": "dpo", "dpo": {"hyperparameters": {"beta": 0.2, "n_epochs": 1}}},
    )
    done = wait(client, job.id)
    assert done.status == "succeeded", (done, log_of(jobs_server, job.id))
    assert done.method.dpo.hyperparameters.beta == 0.2
    store = Store(jobs_server.stderr.parent)
    model = store.get(Model, done.fine_tuned_model)
    assert model.parent == store.get(Model, first.fine_tuned_model).id
    with pytest.raises(openai.ConflictError) as refused:
        client.models.delete(first.fine_tuned_model)
    assert refused.value.response.headers["x-should-retry"] == "false"
    assert client.models.retrieve(model.name).id == model.name
    assert client.models.delete(model.name).deleted
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve(model.name)
    with pytest.raises(openai.NotFoundError):
        client.chat.completions.create(
            model=model.name, messages=[{"role": "user", "content": "?"}]
        )


BAD_FILES = {
    "few": (examples(3), "invalid_n_examples", "Training file has 3 example(s), but must have"),
    "role": (
        examples(5) + b'{"messages": [{"role": "pirate", "content": "a"}]}\n' + examples(9, 20),
        "invalid_training_file",
        "row 6: unknown role",
    ),
}


def test_bad_files_fail_the_job_and_say_which_row(
    jobs_server: Server, client: openai.OpenAI
) -> None:
    made = {
        name: client.fine_tuning.jobs.create(model="slow", training_file=upload(client, body)).id
        for name, (body, _, _) in BAD_FILES.items()
    }
    for name, (_, code, said) in BAD_FILES.items():
        done = wait(client, made[name])
        assert done.status == "failed", (name, done)
        assert (done.error.code, done.error.param) == (code, "training_file"), (name, done.error)
        assert said in done.error.message, (name, done.error.message)
        assert str(jobs_server.stderr.parent) not in done.error.message
        assert done.finished_at


def test_a_bad_validation_file_is_told_apart(client: openai.OpenAI) -> None:
    good, bad = upload(client, examples(12)), upload(client, b'{"messages": 3}\n', "train.jsonl")
    job = client.fine_tuning.jobs.create(model="slow", training_file=good, validation_file=bad)
    done = wait(client, job.id)
    assert done.error is not None
    assert (done.error.code, done.error.param) == ("invalid_validation_file", "validation_file")


@pytest.mark.parametrize(
    ("body", "param", "said"),
    [
        ({"model": "nothing"}, "model", "no model 'nothing'"),
        ({"training_file": "file-nothing"}, "training_file", "no file 'file-nothing'"),
        ({"validation_file": "file-nothing"}, "validation_file", "no file"),
        ({"tunewright": {"lora": {"rnak": 8}}}, "tunewright", "did you mean 'lora.rank'"),
        ({"tunewright": {"lora": {"rank": 0}}}, "tunewright", "lora.rank"),
        ({"tunewright": {"watch": {"tensorboard": "/etc"}}}, "tunewright", "cannot be set here"),
        ({"tunewright": {"dataset": "ds_1"}}, "tunewright", "cannot be set here"),
        ({"tunewright": {"checks": {"html": "what"}}}, "tunewright", "html"),
        ({"hyperparameters": {"n_epochs": 0}}, "n_epochs", "n_epochs"),
        ({"hyperparameters": {"n_epochs": True}}, "n_epochs", "n_epochs"),
        ({"method": {"type": "magic"}}, "method.type", "supervised"),
        ({"method": {"type": "dpo", "supervised": {}}}, "method", "options of 'supervised'"),
        ({"suffix": "x" * 65}, "suffix", "64"),
        ({"seed": -1}, "seed", "0"),
        ({"metadata": {"k" * 65: "v"}}, "metadata", "64"),
        ({"unknown_field": 1}, "unknown_field", "Extra"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_at_once(
    jobs_server: Server, client: openai.OpenAI, body: dict[str, Any], param: str, said: str
) -> None:
    training = next(iter(client.files.list(purpose="fine-tune"))).id
    before = len(client.fine_tuning.jobs.list(limit=100).data)
    reply = httpx.post(
        f"{jobs_server.url}/v1/fine_tuning/jobs",
        json={"model": "slow", "training_file": training, **body},
    )
    assert reply.status_code == (404 if param == "model" else 400)
    error = reply.json()["error"]
    assert said in error["message"], error
    assert param in (error["param"] or ""), error
    assert set(error) == {"message", "type", "param", "code"}
    assert len(client.fine_tuning.jobs.list(limit=100).data) == before


LONG = {"tunewright": {"max_steps": 4000, "batch_tokens": 64, "save_steps": 5}}


def test_pause_resume_and_cancel(jobs_server: Server, client: openai.OpenAI) -> None:
    training = upload(client, examples(20))
    point = next(model.id for model in client.models.list() if "ckpt-step" in model.id)
    job = client.fine_tuning.jobs.create(model=point, training_file=training, extra_body=LONG)
    assert eventually(lambda: any("Step 3/" in line for line in messages(client, job.id)))
    waiting = client.fine_tuning.jobs.create(model="slow", training_file=training)
    wait(client, waiting.id, ("queued",))
    assert state(client.fine_tuning.jobs.pause(waiting.id)) == "paused"
    assert eventually(lambda: bool(client.fine_tuning.jobs.retrieve(job.id).estimated_finish))
    client.fine_tuning.jobs.pause(job.id)
    assert eventually(lambda: state(client.fine_tuning.jobs.retrieve(job.id)) == "paused")
    assert client.fine_tuning.jobs.retrieve(job.id).status == "queued"
    steps = steps_of(jobs_server, job.id)
    assert state(client.fine_tuning.jobs.pause(job.id)) == "paused"
    client.fine_tuning.jobs.resume(job.id)
    assert eventually(lambda: steps_of(jobs_server, job.id) > steps + 2)
    assert eventually(lambda: any("goes on from" in line for line in messages(client, job.id)))
    cancelled = client.fine_tuning.jobs.cancel(job.id)
    assert cancelled.status == "cancelled"
    assert eventually(lambda: "Fine-tuning job cancelled" in messages(client, job.id))
    assert client.fine_tuning.jobs.cancel(waiting.id).status == "cancelled"
    for verb in (client.fine_tuning.jobs.resume, client.fine_tuning.jobs.pause):
        with pytest.raises(openai.ConflictError):
            verb(job.id)
    store = Store(jobs_server.stderr.parent)
    run = store.get(FineTuningJob, job.id).run
    assert not [m for m in store.list(Model) if m.run == run and "ckpt" not in m.name]


def steps_of(server: Server, job: str) -> int:
    from tunewright.training.history import read_history

    store = Store(server.stderr.parent)
    run = store.get(FineTuningJob, job).run
    return len(read_history(store.folder(Run, run))) if run else 0


@pytest.mark.parametrize(
    "body", [b"{", b"[1]", b'{"suffix": "\\ud800"}', b'{"seed": NaN}', b"[" * 100_000]
)
def test_what_is_no_json_is_refused(jobs_server: Server, body: bytes) -> None:
    reply = httpx.post(
        f"{jobs_server.url}/v1/fine_tuning/jobs",
        content=body,
        headers={"content-type": "application/json"},
    )
    assert reply.status_code == 400


def test_a_cursor_that_is_none_ends_the_list(client: openai.OpenAI) -> None:
    job = client.fine_tuning.jobs.list(limit=1).data[0].id
    for after in ("x", "ftevent-zz", "ftevent-", "ftevent-" + "f" * 24, "\x00"):
        assert client.fine_tuning.jobs.list_events(job, after=after).object == "list"
        assert client.fine_tuning.jobs.checkpoints.list(job, after=after).object == "list"
    first = client.fine_tuning.jobs.list_events(job, limit=1)
    assert first.has_more
    assert client.fine_tuning.jobs.list_events(job, limit=0).data == []


def test_lists_are_pages_and_filters(client: openai.OpenAI) -> None:
    everything = client.fine_tuning.jobs.list(limit=100).data
    assert [job.id for job in client.fine_tuning.jobs.list(limit=2)] == [j.id for j in everything]
    assert all(a.id > b.id for a, b in itertools.pairwise(everything))
    (only,) = client.fine_tuning.jobs.list(metadata={"team": "law"}).data
    assert only.metadata == {"team": "law"}
    assert client.fine_tuning.jobs.list(metadata={"team": "none"}).data == []
    with pytest.raises(openai.NotFoundError):
        client.fine_tuning.jobs.retrieve("ftjob-nothing")


def test_a_strict_client_is_content(jobs_server: Server, client: openai.OpenAI) -> None:
    with openai.OpenAI(
        base_url=f"{jobs_server.url}/v1", api_key="none", _strict_response_validation=True
    ) as strict:
        jobs = [job for job in strict.fine_tuning.jobs.list(limit=100) if job.status == "succeeded"]
        for job in jobs:
            strict.fine_tuning.jobs.retrieve(job.id)
            assert strict.fine_tuning.jobs.list_events(job.id).data
            assert strict.fine_tuning.jobs.checkpoints.list(job.id).data
        assert jobs
        assert strict.files.list().data
        assert strict.models.list().data


def test_permissions_of_checkpoints_are_kept(client: openai.OpenAI) -> None:
    permissions = client.fine_tuning.checkpoints.permissions
    name = next(m.id for m in client.models.list() if "ckpt-step" in m.id)
    made = permissions.create(name, project_ids=["proj_a", "proj_b"])
    again = permissions.create(name, project_ids=["proj_b"])
    assert again.data[0].id == made.data[1].id
    listed = permissions.list(name, order="ascending", limit=1)
    assert [one.project_id for one in listed] == ["proj_a", "proj_b"]
    assert permissions.delete(made.data[0].id, fine_tuned_model_checkpoint=name).deleted
    assert [one.project_id for one in permissions.list(name)] == ["proj_b"]
    with pytest.raises(openai.NotFoundError):
        permissions.create("ft:none", project_ids=["proj_a"])


def test_graders_run_by_rules_and_ask_nobody(client: openai.OpenAI) -> None:
    graders = client.fine_tuning.alpha.graders
    check: Any = {
        "type": "string_check", "name": "same", "operation": "eq",
        "input": "{{ sample.output_text }}", "reference": "{{ item.answer }}",
    }  # fmt: skip
    assert graders.validate(grader=check).grader is not None
    result = graders.run(grader=check, model_sample="yes", item={"answer": "yes"})
    assert result.reward == 1.0
    judge: Any = {
        "type": "score_model", "name": "judge", "model": "m", "endpoint": "http://127.0.0.1:9/v1",
        "input": [{"role": "user", "content": "?"}],
    }  # fmt: skip
    with pytest.raises(openai.BadRequestError, match="asks another server"):
        graders.validate(grader=judge)


@pytest.mark.slow
def test_reinforcement_learns_what_a_grader_rewards(
    jobs_server: Server, client: openai.OpenAI
) -> None:
    grader: Any = {
        "type": "text_similarity",
        "name": "like",
        "evaluation_metric": "fuzzy_match",
        "input": "{{ sample.output_text }}",
        "reference": "{{ item.reference_answer }}",
    }
    job = client.fine_tuning.jobs.create(
        model="slow",
        training_file=upload(client, examples(12)),
        method={
            "type": "reinforcement",
            "reinforcement": {"grader": grader, "hyperparameters": {"batch_size": 2}},
        },
        extra_body={"tunewright": {"max_steps": 2, "rl": {"group": 2, "max_new_tokens": 4}}},
    )
    done = wait(client, job.id)
    assert done.status == "succeeded", (done, log_of(jobs_server, job.id))
    assert done.method.reinforcement.grader.name == "like"
    assert client.fine_tuning.jobs.checkpoints.list(job.id).data
