"""What OpenAI's tests take for granted: objects under the ids that they name."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from sqlalchemy import text

from tunewright.core.asked_records import Batch, Eval, EvalRun
from tunewright.core.completions import Completions, StoredCompletion
from tunewright.core.queue import Queue
from tunewright.core.records import (
    CheckpointPermission,
    File,
    FineTuningJob,
    Model,
    Record,
    Upload,
)
from tunewright.core.results import Result, Results
from tunewright.core.scopes import DEFAULT_PROJECT
from tunewright.core.store import Store
from tunewright.jobs.journal import Journal, Note
from tunewright.jobs.work import FILES

JOB = "ft-AF1WoRqd3aJAHsqc9NY7iL8F"
# Tuned models: to be deleted, to be lent, and a job's id where a checkpoint's name belongs.
MODELS = (
    "ft:gpt-4o-mini:acemeco:suffix:abc123",
    "ft:gpt-4o-mini-2024-07-18:org:weather:B7R9VjQd",
    JOB,
)
PERMISSION = "cp_zc4Q7MP6XxulcVzj4MZdwsAB"
CHAT_MODEL = "gpt-6-astra"
JOB_MODEL = "gpt-4o-mini"
TUNED = ("gpt-3.5-turbo-instruct", "text-embedding-3-small")
COMPLETION = StoredCompletion(
    id="completion_id",
    created=time.time(),
    model=CHAT_MODEL,
    metadata={"foo": "string"},
    # Their type of a stored message knows no role but the assistant's.
    request={"model": CHAT_MODEL, "messages": [{"role": "assistant", "content": "Rain?"}]},
    reply={
        "id": "completion_id",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": CHAT_MODEL,
        "choices": [
            {
                "index": 0,
                "finish_reason": "stop",
                "logprobs": None,
                "message": {"role": "assistant", "content": "Rain.", "refusal": None},
            }
        ],
        "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5},
    },
)
_BODY = b'{"prompt": "a", "completion": "b"}\n'
_FILES = {"file-abc123": "fine-tune", "file_id": "fine-tune", "input_file_id": "batch"}
# Their types want an error in every run and in every answer.
_ERROR = {"code": "stopped", "message": "it was stopped"}
_SAMPLE = {
    "input": [], "output": [], "finish_reason": "stop", "model": CHAT_MODEL, "error": _ERROR,
    "temperature": 1.0, "max_completion_tokens": 1, "top_p": 1.0, "seed": 1,
    "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2, "cached_tokens": 0},
}  # fmt: skip
_METRICS = {"step": 1, "train_loss": 0.5, "train_mean_token_accuracy": 0.75}


def restore(store: Store, made: Sequence[Record]) -> None:
    """Put back what a test may have changed or deleted."""
    for record in made:
        now = store.by_id(type(record), record.id)
        if now is None:
            _put_body(store, record)
            store.add(record)
        elif now != record:
            _put_body(store, record)
            store.update(record)
    _queue_anew(store)
    kept = Completions(store, keep=3600, most=1000)
    if kept.get(DEFAULT_PROJECT, COMPLETION.id) is None:
        kept.add(DEFAULT_PROJECT, COMPLETION)


def placeholders(store: Store) -> list[Record]:
    """The objects, as they are to be at the beginning of every test."""
    common = {"project": DEFAULT_PROJECT, "version": "0", "created": time.time()}
    base = str(store.home / JOB_MODEL)
    files = [
        File(id=key, name="a.jsonl", purpose=purpose, bytes=len(_BODY), sha256="0", **common)
        for key, purpose in _FILES.items()
    ]
    upload = Upload(
        id="upload_abc123",
        name="a",
        purpose="batch",
        bytes=2**20,
        expires=time.time() + 3600,
        **common,
    )
    models = [
        Model(
            id=f"mdl_{place:012x}", name=name, base=base, base_digest="0", renderer_hash="0",
            run="run_0", step=1, **common,
        )
        for place, name in enumerate(MODELS, 1)
    ]  # fmt: skip
    lent = [
        CheckpointPermission(id=key, checkpoint=name, grantee="project_id", **common)
        for key, name in ((PERMISSION, MODELS[1]), ("cp_1", JOB))
    ]
    job = FineTuningJob(
        id=JOB, model=JOB_MODEL, start=base, training_file="file-abc123", method="supervised",
        hyperparameters=dict.fromkeys(
            ("n_epochs", "batch_size", "learning_rate_multiplier"), "auto"
        ),
        seed=1, recipe={}, checks={}, **common,
    )  # fmt: skip
    batch = Batch(
        id="batch_id", endpoint="/v1/completions", input_file="input_file_id",
        expires=time.time() + 3600, cancelling_at=time.time(), cancelled_at=time.time(), **common,
    )  # fmt: skip
    return [*files, upload, *models, *lent, job, batch, *_evaluated(common)]


def _evaluated(common: dict[str, Any]) -> list[Record]:
    """An eval, and a run that has ended."""
    check = {
        "type": "string_check", "name": "same", "input": "{{ item.foo }}", "reference": "bar",
        "operation": "eq",
    }  # fmt: skip
    schema = {"type": "object", "properties": {"foo": {"type": "string"}}}
    return [
        Eval(
            id="eval_id", name="same", criteria=(check,),
            source={"type": "custom", "item_schema": schema}, **common,
        ),
        EvalRun(
            id="run_id", eval="eval_id", name="once", canceled_at=time.time(), total=1,
            error=_ERROR,
            source={"type": "jsonl", "source": {"type": "file_id", "id": "file_id"}}, **common,
        ),
    ]  # fmt: skip


def tell(store: Store) -> None:
    """What the job told so far."""
    checkpoint = {"model": f"{MODELS[1]}:ckpt-step-1", "metrics": _METRICS}
    notes = [
        Note("Created fine-tuning job"),
        Note("Step 1/2: training loss=0.50", type="metrics", data=_METRICS),
        Note("Checkpoint created at step 1", data=checkpoint, checkpoint=1),
    ]
    Journal(store).write(JOB, notes)


def _put_body(store: Store, record: Record) -> None:
    if isinstance(record, File):
        with store.stage(File, record.id) as folder:
            (folder / "content").write_bytes(_BODY)
    if isinstance(record, EvalRun):
        body = {"created": time.time(), "item": {"foo": "bar"}, "results": [], "sample": _SAMPLE}
        Results(store).delete(record.id)
        Results(store).add(record.id, [Result(0, "pass", body)])


def _queue_anew(store: Store) -> None:
    queue = Queue(store)
    if all(job.id != JOB or job.state != "queued" for job in queue.list()):
        with store.transaction() as connection:
            connection.execute(text("DELETE FROM queue WHERE id = :id"), {"id": JOB})
            queue.enqueue(JOB, FILES, DEFAULT_PROJECT)
