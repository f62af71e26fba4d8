"""An interrupted run ends as if nothing had happened: same losses, same adapter, bit for bit."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tunewright.config.training import TrainConfig
from tunewright.core.dataset_io import write_rows
from tunewright.core.errors import InputError, Interrupted, StorageError, TrainingError
from tunewright.core.events import Event
from tunewright.core.files import sha256_file
from tunewright.core.messages import Row
from tunewright.core.records import Dataset, Model, Run
from tunewright.core.store import Store
from tunewright.training.checkpoints import list_checkpoints
from tunewright.training.history import read_history, run_is_alive
from tunewright.training.train import resume, train

Recipe = Callable[..., TrainConfig]

# Trains in a process of its own, which sends itself a signal after a given step.
WORKER = """
import json, os, sys
from pathlib import Path
import torch
from tunewright.config.training import TrainConfig
from tunewright.core.errors import TunewrightError
from tunewright.core.settings import Settings
from tunewright.core.store import Store
from tunewright.training.train import resume, train

home, what = Path(sys.argv[1]), sys.argv[2]
signal_number, at_step = map(int, sys.argv[3:])
torch.set_num_threads(1)

def listen(event):
    if event.kind == "step" and event.data["step"] == at_step:
        os.kill(os.getpid(), signal_number)

store = Store(home, Settings(home=home, offline=True))
try:
    if what.startswith("run_"):
        resume(what, store, listen)
    else:
        train(TrainConfig.build(json.loads(what)), store, listen)
except TunewrightError as error:
    print(error)
    sys.exit(error.exit_code)
"""


def work(store: Store, what: str, number: int, step: int) -> subprocess.CompletedProcess[str]:
    """Train or resume in a subprocess that gets a signal after a step."""
    return subprocess.run(
        [sys.executable, "-c", WORKER, str(store.home), what, str(int(number)), str(step)],
        capture_output=True,
        text=True,
        timeout=240,
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
    )


def losses(store: Store, run: Run) -> list[tuple[int, float, float]]:
    steps = read_history(store.folder(Run, run.id))
    return [(step["step"], step["loss"], step["grad_norm"]) for step in steps]


def adapter_hash(store: Store, model: Model) -> str:
    return sha256_file(store.folder(Model, model.id) / "adapter_model.safetensors")


@pytest.fixture
def config(recipe: Recipe) -> TrainConfig:
    """Dropout on, three epochs of seven batches, checkpoints inside epochs and at an edge."""
    return recipe(epochs=3, save_steps=7, eval_steps=4, lora={"rank": 4, "dropout": 0.2}, seed=5)


def test_a_killed_run_goes_on_bit_for_bit(store: Store, config: TrainConfig) -> None:
    whole = train(config, store)
    expected = losses(store, store.get(Run, whole.run))

    killed = work(store, json.dumps(config.json_dict()), signal.SIGKILL, 11)
    assert killed.returncode == -signal.SIGKILL
    run = store.list(Run)[0]
    folder = store.folder(Run, run.id)
    # The record could not be told; the lock knows.
    assert run.state == "running"
    assert not run_is_alive(folder)
    assert store.list(Model) == [store.get(Model, whole.id)]

    again = work(store, run.id, signal.SIGKILL, 16)
    assert again.returncode == -signal.SIGKILL

    model = resume(run.id, store)
    assert losses(store, store.get(Run, run.id)) == expected
    assert adapter_hash(store, model) == adapter_hash(store, whole)
    assert model.step == whole.step
    summary, reference = store.get(Run, run.id).summary, store.get(Run, whole.run).summary
    for key in ("steps", "trained_tokens", "train_loss", "valid_loss", "best_checkpoint"):
        assert summary[key] == reference[key]


def test_resuming_from_every_checkpoint_gives_the_same_adapter(
    store: Store, config: TrainConfig
) -> None:
    whole = train(config.model_copy(update={"keep_checkpoints": 99}), store)
    folder = store.folder(Run, whole.run)
    expected, wanted = losses(store, store.get(Run, whole.run)), adapter_hash(store, whole)
    for kept in range(len(list_checkpoints(folder / "checkpoints")) - 1, -1, -1):
        run = _forget(store, whole.run, kept)
        model = resume(run.id, store)
        assert losses(store, run) == expected
        assert adapter_hash(store, model) == wanted


def _forget(store: Store, run_id: str, kept: int) -> Run:
    """Put a finished run back to where only its ``kept`` oldest checkpoints were written."""
    for model in store.list(Model):
        store.delete(Model, model.id)
    run = store.get(Run, run_id).model_copy(update={"state": "stopped", "summary": {}})
    store.update(run)
    paths = list_checkpoints(store.folder(Run, run_id) / "checkpoints")
    for path in paths[: len(paths) - kept]:
        (path / "manifest.json").unlink()
    return run


def test_ctrl_c_finishes_the_step_saves_and_says_how_to_go_on(
    store: Store, config: TrainConfig
) -> None:
    stopped = work(store, json.dumps(config.json_dict()), signal.SIGINT, 6)
    run = store.list(Run)[0]
    assert stopped.returncode == Interrupted.exit_code, stopped.stderr
    assert stopped.stdout.endswith(f"Continue with: tunewright train --resume {run.id}\n")
    assert "Traceback" not in stopped.stderr
    assert run.state == "stopped"
    newest = list_checkpoints(store.folder(Run, run.id) / "checkpoints")[0]
    assert newest.name == "step-00000006"
    events: list[Event] = []
    model = resume(run.id, store, events.append)
    assert [event.data["step"] for event in events if event.kind == "resumed"] == [6]
    assert adapter_hash(store, model) == adapter_hash(store, train(config, store))


def test_sigterm_saves_too_and_a_second_signal_stops_at_once(
    store: Store, config: TrainConfig
) -> None:
    run = _stopped(store, config, signal.SIGTERM)
    folder = store.folder(Run, run.id) / "checkpoints"
    assert list_checkpoints(folder)[0].name == "step-00000005"

    def insist(event: Event) -> None:
        if event.kind == "step" and event.data["step"] == 6:
            signal.raise_signal(signal.SIGTERM)
            signal.raise_signal(signal.SIGTERM)

    with pytest.raises(Interrupted, match="steps since the last checkpoint are lost"):
        resume(run.id, store, insist)
    assert store.get(Run, run.id).state == "stopped"
    assert list_checkpoints(folder)[0].name == "step-00000005"


def test_changed_data_or_base_or_recipe_is_refused(
    store: Store, config: TrainConfig, dataset: Dataset, rows: list[Row], tiny_base: Path
) -> None:
    run = _stopped(store, config)
    folder = store.folder(Dataset, dataset.id)
    original = (folder / "train.jsonl").read_bytes()
    write_rows(folder / "train.jsonl", rows[:-1])
    with pytest.raises(TrainingError, match="the dataset's rows changed since it began"):
        resume(run.id, store)
    (folder / "train.jsonl").write_bytes(original)

    changed = {**run.config, "seed": 6}
    store.update(run.model_copy(update={"config": changed}))
    with pytest.raises(TrainingError, match="the recipe changed since it began"):
        resume(run.id, store)
    store.update(run)
    assert resume(run.id, store).run == run.id


def _stopped(store: Store, config: TrainConfig, number: int = signal.SIGINT) -> Run:
    """A run that was asked to stop during step 5."""

    def press(event: Event) -> None:
        if event.kind == "step" and event.data["step"] == 5:
            signal.raise_signal(number)

    with pytest.raises(Interrupted):
        train(config, store, press)
    return store.list(Run)[0]


def test_a_full_disk_pauses_the_run(store: Store, config: TrainConfig) -> None:
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill(event: Event) -> None:
        # From here on the kernel refuses every file beyond 1 KiB: checkpoints, the run's log,
        # and the database as well.
        if event.kind == "step" and event.data["step"] == 6:
            resource.setrlimit(resource.RLIMIT_FSIZE, (1024, limit[1]))

    try:
        with pytest.raises(StorageError) as failure:
            train(config, store, fill)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    run = store.list(Run)[0]
    assert f"tunewright train --resume {run.id}" in failure.value.hint
    assert not run_is_alive(store.folder(Run, run.id))
    model = resume(run.id, store)
    assert adapter_hash(store, model) == adapter_hash(store, train(config, store))


def test_a_run_in_training_is_not_resumed_by_another(store: Store, config: TrainConfig) -> None:
    refused: list[str] = []

    def meddle(event: Event) -> None:
        if event.kind == "step" and event.data["step"] == 3:
            run = store.list(Run)[0]
            with pytest.raises(InputError, match=f"trained by process {os.getpid()}") as failure:
                resume(run.id, store)
            refused.append(str(failure.value))

    train(config, store, meddle)
    assert len(refused) == 1
