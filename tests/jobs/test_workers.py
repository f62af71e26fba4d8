"""Workers and dispatchers as real processes: stale ones shut out, poison given up, none doubled."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest

from tunewright.config.jobs import JobsConfig
from tunewright.core.queue import Queue, Retry
from tunewright.core.records import FineTuningJob, Model, Run
from tunewright.core.store import Lease, Store
from tunewright.jobs.dispatcher import end_silent_worker, worker_command
from tunewright.jobs.heart import LEASE_LOST
from tunewright.jobs.journal import Journal, Note
from tunewright.jobs.work import FILES, TRAINING
from tunewright.training.history import read_history

from .conftest import add_file, add_job, dispatching, eventually, rows, told

ERROR = {"code": "x", "message": "x", "param": None}
LONG = {"max_steps": 5000, "batch_tokens": 64, "save_steps": 1000}


def steps(store: Store, job: str) -> int:
    record = store.by_id(FineTuningJob, job)
    run = record.run if record else None
    return len(read_history(store.folder(Run, run))) if run else 0


def start_worker(store: Store, lease: Lease, seconds: float) -> subprocess.Popen[bytes]:
    log = store.home / "worker.log"
    with log.open("ab") as file:
        return subprocess.Popen(
            worker_command(store.home, lease, JobsConfig(lease=seconds)), stdout=file, stderr=file
        )


@pytest.mark.parametrize("times", [1, pytest.param(10, marks=pytest.mark.slow)])
@pytest.mark.timeout(900)
def test_a_worker_that_slept_through_its_lease_changes_nothing_any_more(
    store: Store, tiny_base: Path, times: int
) -> None:
    queue, seconds = Queue(store), 2.0
    for _ in range(times):
        job = add_job(store, tiny_base, add_file(store, rows(20)), **LONG)
        files = queue.lease(FILES, 9, "test", 60)
        assert files is not None
        assert start_worker(store, files.lease, 60).wait(timeout=120) == 0
        entry = queue.lease(TRAINING, 9, "test", seconds)
        assert entry is not None
        worker = start_worker(store, entry.lease, seconds)
        try:
            assert eventually(lambda job=job: steps(store, job) > 2)
            worker.send_signal(signal.SIGSTOP)
            assert eventually(lambda entry=entry: entry.id in [e.id for e in queue.expired()])
            queue.retry(entry.lease, Retry(attempts=99, pause=0), ERROR)
            taken = queue.lease(TRAINING, 9, "another", 600)
            assert taken is not None
            assert taken.token == entry.token + 1
            known = told(store, job)
            worker.send_signal(signal.SIGCONT)
            assert worker.wait(timeout=120) == LEASE_LOST
        finally:
            worker.kill()
            worker.wait()
        assert queue.get(job) == taken
        assert told(store, job) == known
        assert store.list(Model) == []
        queue.end(taken.lease, "failed", ERROR)


def test_a_silent_worker_is_ended_before_its_job_is_given_away(
    store: Store, tiny_base: Path
) -> None:
    job = add_job(store, tiny_base, add_file(store, rows(3)))
    queue = Queue(store)
    entry = queue.lease(FILES, 1, "test", 1.0)
    assert entry is not None
    worker = start_worker(store, entry.lease, 1.0)
    try:
        assert eventually(lambda: (queue.get(job).owner or "").endswith(f":{worker.pid}"))
        worker.send_signal(signal.SIGSTOP)
        assert eventually(lambda: bool(queue.expired()))
        with dispatching(store):
            assert worker.wait(timeout=60) == -signal.SIGKILL
            assert eventually(lambda: queue.get(job).state == "failed"), told(store, job)
    finally:
        worker.kill()
        worker.wait()
    assert "Its worker fell silent; attempt 2 of 3 follows" in told(store, job)
    error = queue.get(job).error
    assert error is not None
    assert error["code"] == "invalid_n_examples"


def test_nobody_else_is_taken_for_a_silent_worker(store: Store) -> None:
    from tunewright.jobs.heart import owner_here

    queue = Queue(store)
    queue.enqueue("a", FILES, "shop")
    entry = queue.lease(FILES, 1, owner_here(), 1)
    assert entry is not None
    end_silent_worker(entry)  # its owner is this very process, which is no worker


def test_a_job_whose_workers_always_die_is_given_up(store: Store, tiny_base: Path) -> None:
    job = add_job(store, tiny_base, add_file(store, rows(12)))
    queue = Queue(store)
    killed: set[int] = set()

    def kill_what_runs() -> bool:
        for stat in Path("/proc").glob("[0-9]*/cmdline"):
            pid = int(stat.parent.name)
            try:
                mine = f"--job={job}".encode() in stat.read_bytes().split(b"\0")
            except OSError:
                continue
            if mine and pid not in killed:
                os.kill(pid, signal.SIGKILL)
                killed.add(pid)
        return queue.get(job).state == "failed"

    with dispatching(store, attempts=3):
        assert eventually(kill_what_runs), told(store, job)
    assert len(killed) == 3
    error = queue.get(job).error
    assert error is not None
    assert error["code"] == "worker_failed"
    assert "broke off 3 times" in error["message"]
    assert "signal 9" in error["message"]
    assert told(store, job)[-1].startswith("The job failed: ")


def test_a_run_that_fails_fails_its_job_at_once(store: Store, tiny_base: Path) -> None:
    file = add_file(store, rows(12))
    job = add_job(store, tiny_base, file, optimizer={"learning_rate": 1.0}, max_steps=2)
    broken = store.by_id(FineTuningJob, job)
    assert broken is not None
    store.update(broken.model_copy(update={"start": str(tiny_base.parent / "gone")}))
    with dispatching(store):
        assert eventually(lambda: Queue(store).get(job).state == "failed")
    entry = Queue(store).get(job)
    assert entry.error is not None
    assert entry.error["code"] == "training_failed"
    assert "gone" in entry.error["message"]
    assert entry.attempts == 1


@pytest.mark.slow
def test_two_dispatchers_give_every_job_to_one_worker(store: Store, tiny_base: Path) -> None:
    jobs = [add_job(store, tiny_base, add_file(store, rows(3))) for _ in range(5)]
    other = Store(settings=store.settings)
    queue = Queue(store)
    with dispatching(store), dispatching(other):
        assert eventually(lambda: all(queue.get(job).state == "failed" for job in jobs))
    for job in jobs:
        assert queue.get(job).token == 1
        assert sum("Validating" in line for line in told(store, job)) == 1
    other.close()


@pytest.mark.slow
def test_two_dispatchers_train_every_job_once(store: Store, tiny_base: Path) -> None:
    file = add_file(store, rows(12))
    jobs = [add_job(store, tiny_base, file, max_steps=1, suffix=f"n{n}") for n in range(6)]
    other = Store(settings=store.settings)
    queue = Queue(store)
    with dispatching(store, slots=2), dispatching(other, slots=2):
        assert eventually(lambda: all(queue.get(job).state == "succeeded" for job in jobs))
    for job in jobs:
        assert queue.get(job).token == 2
        assert told(store, job).count("Fine-tuning job started") == 1
    names = [model.name for model in store.list(Model) if "ckpt" not in model.name]
    assert len(names) == 6
    assert {model.project for model in store.list(Model)} == {"shop"}
    other.close()


def test_the_journal_keeps_the_order_and_tells_a_checkpoint_once(store: Store) -> None:
    journal = Journal(store)
    journal.write("a", [Note("one"), Note("two", "warn", data={"x": 1})])
    journal.write("b", [Note("other")])
    journal.write("a", [Note("point", checkpoint=5), Note("point", checkpoint=5)])
    journal.write("a", [Note("point", checkpoint=5), Note("point", checkpoint=10)])
    assert told(store, "a") == ["one", "two", "point", "point"]
    newest = journal.newest("a", 2)
    assert [one.note.checkpoint for one in newest] == [10, 5]
    assert [one.note.message for one in journal.newest("a", 9, newest[-1].sequence)] == [
        "two",
        "one",
    ]
    assert [one.note.checkpoint for one in journal.checkpoints("a")] == [10, 5]
