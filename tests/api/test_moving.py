"""Moving from OpenAI: the page's code as it stands, and the whole life of a tuned model."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
from openai.types.fine_tuning import FineTuningJobEvent

from .conftest import HELLO, PATIENCE, Server, start_server
from .test_fine_tuning import ENDED, examples

ROOT = Path(__file__).resolve().parents[2]
PAGES = ("docs/fine-tuning-api.md", "docs/fine-tuning-api.zh-CN.md")
READMES = ("README.md", "README.zh-CN.md")
SECTIONS = {"README.md": "## Moving from OpenAI", "README.zh-CN.md": "## 从 OpenAI 迁移"}


def blocks(page: str, language: str) -> list[str]:
    """Code of a page; of a README, of its section on moving."""
    text = (ROOT / page).read_text(encoding="utf-8")
    if page in SECTIONS:
        text = text.split(SECTIONS[page])[1].split("\n## ")[0]
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


@pytest.mark.parametrize("pages", [PAGES, READMES])
def test_both_languages_show_the_same_code(pages: tuple[str, str]) -> None:
    for language in ("python", "sh"):
        english, chinese = (blocks(page, language) for page in pages)
        assert english == chinese
        assert english


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("page", "says"),
    [
        pytest.param(
            PAGES[0],
            ("New fine-tuned model created: ft:nano:default:colours:", "ftjob-"),
            marks=pytest.mark.slow,
        ),
        (READMES[0], ("New fine-tuned model created: ft:nano:default:next:", "After")),
    ],
)
def test_the_code_runs_as_it_stands(tmp_path: Path, page: str, says: tuple[str, ...]) -> None:
    server = start_server(tmp_path / "home", timeout=PATIENCE)
    try:
        program = tmp_path / "moving.py"
        program.write_text("\n".join(blocks(page, "python")), encoding="utf-8")
        done = subprocess.run(
            [sys.executable, str(program)],
            cwd=tmp_path,
            env={**os.environ, "OPENAI_BASE_URL": f"{server.url}/v1", "OPENAI_API_KEY": "none"},
            capture_output=True,
            text=True,
            timeout=2 * PATIENCE,
        )
        assert done.returncode == 0, done.stderr + server.stderr.read_text()
        for part in says:
            assert part in done.stdout
    finally:
        server.stop()


def told(client: openai.OpenAI, job: str) -> Iterator[FineTuningJobEvent]:
    """A job's events in their order, as they come, until the job has ended."""
    seen: set[str] = set()
    ended = False
    while not ended:
        # Looked at before the events are: what it told last is among them.
        ended = client.fine_tuning.jobs.retrieve(job).status in ENDED
        for event in reversed(list(client.fine_tuning.jobs.list_events(job, limit=50))):
            if event.id not in seen:
                seen.add(event.id)
                yield event
        time.sleep(0.2)


@pytest.fixture(scope="module")
def moved(slow_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with a base that learns in seconds."""
    running = start_server(tmp_path_factory.mktemp("moved"), bases=[str(slow_base)])
    try:
        yield running
    finally:
        running.stop()


@pytest.mark.slow  # in every run: README's code, and test_fine_tuning
@pytest.mark.timeout(600)
def test_the_whole_life_of_a_tuned_model(moved: Server) -> None:
    """With the stock client, told to refuse whatever its types do not know."""
    with openai.OpenAI(
        base_url=f"{moved.url}/v1",
        api_key="none",
        timeout=PATIENCE,
        max_retries=0,
        _strict_response_validation=True,
    ) as client:
        training = client.files.create(file=("a.jsonl", examples(16)), purpose="fine-tune")
        waiting = client.fine_tuning.jobs.create(
            model="slow", training_file=training.id, extra_body={"tunewright": {"max_steps": 2}}
        )
        client.fine_tuning.jobs.pause(waiting.id)
        job = client.fine_tuning.jobs.create(
            model="slow",
            training_file=training.id,
            suffix="moved",
            metadata={"team": "law"},
            method={"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 2}}},
            extra_body={"tunewright": {"lora": {"rank": 4}, "batch_tokens": 256}},
        )
        events = list(told(client, job.id))
        done = client.fine_tuning.jobs.retrieve(job.id)
        assert done.status == "succeeded", (done.error, moved.stderr.read_text())
        assert [event.id for event in events] == sorted(event.id for event in events)
        assert {"message", "metrics"} == {event.type for event in events}
        assert events[-1].message == "The job has successfully completed"
        tuned = done.fine_tuned_model
        assert tuned is not None
        _use(client, tuned)
        _look_at_all(client, done.id)
        checkpoint = client.fine_tuning.jobs.checkpoints.list(job.id).data[0]
        _use(client, checkpoint.fine_tuned_model_checkpoint)
        assert client.fine_tuning.jobs.retrieve(waiting.id).status == "queued"
        client.fine_tuning.jobs.resume(waiting.id)
        assert client.fine_tuning.jobs.cancel(waiting.id).status == "cancelled"
        _delete(client, [checkpoint.fine_tuned_model_checkpoint, tuned], training.id)


def _use(client: openai.OpenAI, model: str) -> None:
    """Whole and streamed, a tuned model says the same."""
    asked: Any = {"model": model, "messages": HELLO, "max_tokens": 8, "seed": 1}
    whole = client.chat.completions.create(**asked)
    assert whole.model == model
    pieces = client.chat.completions.create(**asked, stream=True)
    text = "".join(piece.choices[0].delta.content or "" for piece in pieces if piece.choices)
    assert text == whole.choices[0].message.content
    assert client.completions.create(model=model, prompt="How", max_tokens=2).choices[0].text


def _look_at_all(client: openai.OpenAI, job: str) -> None:
    """Every list and object that a job leaves behind can be read."""
    done = client.fine_tuning.jobs.retrieve(job)
    assert {one.id for one in client.fine_tuning.jobs.list()} >= {job}
    result = client.files.content(done.result_files[0]).text
    assert result.startswith("step,train_loss")
    assert {one.id for one in client.files.list()} >= {done.training_file, *done.result_files}
    assert done.fine_tuned_model in {model.id for model in client.models.list()}
    vector = client.embeddings.create(model="slow", input="a", encoding_format="float")
    assert vector.data[0].embedding
    name = client.fine_tuning.jobs.checkpoints.list(job).data[0].fine_tuned_model_checkpoint
    lent = client.fine_tuning.checkpoints.permissions
    assert {one.project_id for one in lent.create(name, project_ids=["other"])} == {"other"}
    (permission,) = lent.list(name).data
    assert lent.delete(permission.id, fine_tuned_model_checkpoint=name).deleted


def _delete(client: openai.OpenAI, models: list[str], file: str) -> None:
    for model in models:
        assert client.models.delete(model).deleted
        with pytest.raises(openai.NotFoundError):
            client.models.retrieve(model)
        with pytest.raises(openai.NotFoundError):
            client.chat.completions.create(model=model, messages=HELLO)
    assert client.files.delete(file).deleted
    with pytest.raises(openai.NotFoundError):
        client.files.retrieve(file)
