"""Jobs in a store, without a server around them."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tunewright.config.jobs import JobsConfig
from tunewright.core.queue import Queue
from tunewright.core.records import File, FineTuningJob
from tunewright.core.store import Store
from tunewright.jobs.dispatcher import Dispatcher
from tunewright.jobs.filestore import place, spooling
from tunewright.jobs.journal import Journal
from tunewright.jobs.work import FILES

PROJECT = "shop"
PATIENCE = 240.0


def rows(count: int, first: int = 0) -> bytes:
    """Lines of a training file."""
    return b"".join(
        json.dumps(
            {
                "messages": [
                    {"role": "user", "content": f"question {number}?"},
                    {"role": "assistant", "content": f"answer number {number} it is"},
                ]
            }
        ).encode()
        + b"\n"
        for number in range(first, first + count)
    )


def add_file(store: Store, body: bytes, name: str = "train.jsonl") -> File:
    """A file as the API keeps it."""
    with spooling(store, File) as spool:
        spool.write(body)
        file = File(
            id=store.new_id(File),
            name=name,
            purpose="fine-tune",
            bytes=spool.size,
            sha256=spool.sha256,
            project=PROJECT,
        )
        place(store, file, spool)
    store.add(file)
    return file


def add_job(store: Store, base: Path, file: File, **recipe: Any) -> str:
    """A job as the API creates it."""
    job = FineTuningJob(
        id=store.new_id(FineTuningJob),
        project=PROJECT,
        model=base.name,
        start=str(base),
        training_file=file.id,
        method="supervised",
        hyperparameters={"n_epochs": "auto", "batch_size": "auto"},
        seed=1,
        recipe={"method": "sft", "seed": 1, "precision": "float32", "device": "cpu", **recipe},
        checks={},
    )
    with store.transaction():
        store.add(job)
        Queue(store).enqueue(job.id, FILES, PROJECT)
    return job.id


def eventually(condition: Callable[[], bool], seconds: float = PATIENCE) -> bool:
    """Whether a condition comes true in time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.02)
    return False


def told(store: Store, job: str) -> list[str]:
    """What a job told, oldest first."""
    return [one.note.message for one in Journal(store).newest(job, 10_000)][::-1]


@contextmanager
def dispatching(store: Store, **options: Any) -> Iterator[Dispatcher]:
    """A dispatcher of a store."""
    dispatcher = Dispatcher(store, JobsConfig.build({"pause": 0, **options}))
    dispatcher.start()
    try:
        yield dispatcher
    finally:
        dispatcher.stop()


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers read it from their environment."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
