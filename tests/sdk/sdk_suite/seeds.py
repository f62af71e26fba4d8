"""What OpenAI's tests take for granted: objects under the ids that they name."""

from __future__ import annotations

import time
from collections.abc import Sequence

from sqlalchemy import text

from tunewright.core.asked_records import Batch
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
    return [*files, upload, *models, *lent, job, batch]


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


def _queue_anew(store: Store) -> None:
    queue = Queue(store)
    if all(job.id != JOB or job.state != "queued" for job in queue.list()):
        with store.transaction() as connection:
            connection.execute(text("DELETE FROM queue WHERE id = :id"), {"id": JOB})
            queue.enqueue(JOB, FILES, DEFAULT_PROJECT)
