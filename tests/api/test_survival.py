"""Kills of workers, of servers, of both: the job goes on, and learns what it would have learnt."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from tunewright.core.files import sha256_file
from tunewright.core.queue import Queue
from tunewright.core.records import FineTuningJob, Model, Run
from tunewright.core.store import Store
from tunewright.training.history import read_history, run_is_alive

from .conftest import PATIENCE, Server, eventually, start_server
from .test_fine_tuning import examples

STEPS = 250
OPTIONS = {"batch_tokens": 64, "save_steps": 7, "precision": "float32",
           "lora": {"rank": 4, "dropout": 0.1}}  # fmt: skip


@dataclass
class Home:
    """A home, and the server that runs on it now."""

    folder: Path
    base: Path
    servers: list[Server] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.store = Store(self.folder)

    def serve(self, **jobs: Any) -> Server:
        options = {"pause": 0, "lease": 3, "attempts": 50, **jobs}
        server = start_server(self.folder, bases=[str(self.base)], jobs=options)
        self.servers.append(server)
        return server

    def create(self, server: Server, steps: int) -> str:
        with httpx.Client(base_url=f"{server.url}/v1", timeout=PATIENCE) as client:
            files = {"file": ("train.jsonl", examples(200))}
            file = client.post("/files", files=files, data={"purpose": "fine-tune"}).json()["id"]
            job: dict[str, Any] = {"model": "slow", "training_file": file, "seed": 3}
            job["tunewright"] = {**OPTIONS, "max_steps": steps}
            made: str = client.post("/fine_tuning/jobs", json=job).json()["id"]
            return made

    def state(self, job: str) -> str:
        return Queue(self.store).get(job).state

    def steps(self, job: str) -> int:
        record = self.store.by_id(FineTuningJob, job)
        run = record.run if record else None
        return len(read_history(self.store.folder(Run, run))) if run else 0

    def further(self, job: str, by: int) -> bool:
        """Wait until some more steps are done by a worker that lives."""
        before = self.steps(job)
        return eventually(lambda: self.steps(job) >= before + by or self.state(job) == "succeeded")

    def worker(self, job: str) -> int:
        """Process id of the job's worker."""
        pids: list[int] = []

        def there() -> bool:
            for path in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    words = path.read_bytes().split(b"\0")
                except OSError:
                    continue
                if f"--job={job}".encode() in words:
                    pids[:] = [int(path.parent.name)]
                    return True
            return False

        assert eventually(there)
        return pids[0]

    def adapter(self, job: str) -> str:
        """Digest of the job's tuned model."""
        record = self.store.get(FineTuningJob, job)
        assert record.fine_tuned_model
        model = self.store.get(Model, record.fine_tuned_model)
        return sha256_file(self.store.folder(Model, model.id) / "adapter_model.safetensors")


@contextmanager
def opened(folder: Path, base: Path) -> Iterator[Home]:
    home = Home(folder, base)
    try:
        yield home
    finally:
        for server in home.servers:
            server.stop(signal.SIGKILL)
        for entry in Queue(home.store).list("running"):
            os.kill(home.worker(entry.id), signal.SIGKILL)
        home.store.close()


def kill_worker(home: Home, server: Server, job: str) -> Server:
    os.kill(home.worker(job), signal.SIGKILL)
    return server


def kill_server(home: Home, server: Server, job: str) -> Server:
    """Its worker lives on, and the next server leaves it alone."""
    worker = home.worker(job)
    token = Queue(home.store).get(job).token
    server.stop(signal.SIGKILL)
    following = home.serve()
    assert home.further(job, 3)
    if home.state(job) == "running":
        assert home.worker(job) == worker
        assert Queue(home.store).get(job).token == token
    return following


def kill_both(home: Home, server: Server, job: str) -> Server:
    worker = home.worker(job)
    server.stop(signal.SIGKILL)
    os.kill(worker, signal.SIGKILL)
    return home.serve()


def stop_server(home: Home, server: Server, job: str) -> Server:
    """SIGTERM: the worker saves, and the job waits for the next server."""
    assert server.stop(signal.SIGTERM) == 0
    assert eventually(lambda: home.state(job) != "running")
    entry = Queue(home.store).get(job)
    assert entry.state in ("queued", "succeeded")
    assert entry.attempts <= 1
    return home.serve()


Blow = Callable[[Home, Server, str], Server]
EVERY: tuple[Blow, ...] = (kill_worker, stop_server, kill_server, kill_both)


@pytest.mark.timeout(900)
@pytest.mark.slow  # how far a job is when a blow falls depends on the machine
def test_a_job_outlives_every_kind_of_blow_and_learns_the_same(
    slow_base: Path, tmp_path: Path
) -> None:
    live_through(slow_base, tmp_path, EVERY)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_job_outlives_twenty_random_blows(slow_base: Path, tmp_path: Path) -> None:
    blows = random.Random(20).choices(EVERY, k=20)
    live_through(slow_base, tmp_path, tuple(blows), 2000)


def live_through(base: Path, folder: Path, blows: tuple[Blow, ...], steps: int = STEPS) -> None:
    with opened(folder / "home", base) as home:
        server = home.serve()
        quiet = home.create(server, steps)
        assert eventually(lambda: home.state(quiet) == "succeeded")
        job = home.create(server, steps)
        for blow in blows:
            assert home.further(job, 5)
            assert home.state(job) == "running", "the job was too quick for this test"
            server = blow(home, server, job)
        assert eventually(lambda: home.state(job) in ("succeeded", "failed"))
        assert home.state(job) == "succeeded", Queue(home.store).get(job).error
        runs = [home.store.get(FineTuningJob, one).run for one in (quiet, job)]
        assert len(home.store.list(Run)) == 2
        losses = [
            [entry["loss"] for entry in read_history(home.store.folder(Run, run or ""))]
            for run in runs
        ]
        assert losses[0] == losses[1]
        assert len(losses[1]) == steps
        assert home.adapter(job) == home.adapter(quiet)
        assert not run_is_alive(home.store.folder(Run, runs[1] or ""))
        finals = [m for m in home.store.list(Model) if m.run == runs[1] and "ckpt" not in m.name]
        assert len(finals) == 1
