"""Pause, save and stop from another process, by a file that the loop honours between steps."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tunewright.config.training import TrainConfig
from tunewright.core.errors import InputError, Interrupted
from tunewright.core.events import Event, EventLog
from tunewright.core.files import sha256_file
from tunewright.core.records import Model, Run
from tunewright.core.store import Store
from tunewright.training.checkpoints import list_checkpoints
from tunewright.training.control import Action, Requests, ask, follow
from tunewright.training.history import read_history, run_lock
from tunewright.training.train import resume, train

Recipe = Callable[..., TrainConfig]


def asking(store: Store, action: Action, step: int) -> Callable[[Event], None]:
    """A listener that asks the run for something after a step, as another process would."""

    def listen(event: Event) -> None:
        if event.kind == "step" and event.data["step"] == step:
            ask(store.folder(Run, store.list(Run)[0].id), action)

    return listen


def events(store: Store, kind: str) -> list[dict[str, Any]]:
    folder = store.folder(Run, store.list(Run)[0].id)
    return [event.data for event in EventLog(folder / "events.jsonl").read() if event.kind == kind]


def adapter(store: Store, model: Model) -> str:
    return sha256_file(store.folder(Model, model.id) / "adapter_model.safetensors")


def test_a_paused_run_is_saved_and_goes_on_bit_for_bit(store: Store, recipe: Recipe) -> None:
    whole = train(recipe(), store)
    with pytest.raises(Interrupted, match=r"paused as asked, after step 3 of") as paused:
        train(recipe(), store, asking(store, "pause", 3))
    run = store.list(Run)[0]
    folder = store.folder(Run, run.id)
    assert run.state == "stopped"
    assert f"tunewright train --resume {run.id}" in paused.value.hint
    assert [path.name for path in list_checkpoints(folder / "checkpoints")] == ["step-00000003"]
    assert not (folder / "control.json").exists()
    assert adapter(store, resume(run.id, store)) == adapter(store, whole)


def test_save_now_saves_and_goes_on(store: Store, recipe: Recipe) -> None:
    train(recipe(save_steps=1000, eval_steps=1000), store, asking(store, "save", 4))
    assert events(store, "asked") == [{"action": "save", "step": 4}]
    assert events(store, "checkpoint")[0]["step"] == 4
    run = store.list(Run)[0]
    assert run.state == "succeeded"
    assert run.summary["ended"] == "done"


def test_stop_validates_keeps_the_best_and_makes_the_model(store: Store, recipe: Recipe) -> None:
    model = train(recipe(eval_steps=1000), store, asking(store, "stop", 4))
    run = store.list(Run)[0]
    assert (run.state, run.summary["ended"], run.summary["steps"]) == ("succeeded", "asked", 4)
    assert model.step == 4
    assert run.summary["valid_loss"] == events(store, "validation")[-1]["loss"]
    assert len(read_history(store.folder(Run, run.id))) == 4
    with pytest.raises(InputError, match="is finished"):
        resume(run.id, store)


def test_only_a_run_in_training_can_be_asked(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not being trained now") as refused:
        ask(tmp_path, "pause")
    assert f"--resume {tmp_path.name}" in refused.value.hint
    assert list(tmp_path.iterdir()) == []


def test_what_an_earlier_process_was_asked_for_is_void(tmp_path: Path) -> None:
    with run_lock(tmp_path):
        ask(tmp_path, "stop")
    assert (tmp_path / "control.json").exists()
    assert Requests(tmp_path).pending() is None
    assert not (tmp_path / "control.json").exists()


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b'{"action": "format the disk"}', b'{"action": ["stop"]}', b"\xff" * 9999],
)
def test_a_file_that_is_no_request_is_removed_and_ignored(tmp_path: Path, content: bytes) -> None:
    requests = Requests(tmp_path)
    (tmp_path / "control.json").write_bytes(content)
    assert requests.pending() is None
    assert not (tmp_path / "control.json").exists()


def test_a_newer_request_replaces_one_that_waits(tmp_path: Path) -> None:
    requests = Requests(tmp_path)
    with run_lock(tmp_path):
        ask(tmp_path, "save")
        ask(tmp_path, "stop")
        assert requests.pending() == "stop"
        assert json.loads((tmp_path / "control.json").read_bytes())["action"] == "stop"
        assert follow(tmp_path, patience=0) == "waiting"
        requests.done()
        assert follow(tmp_path, patience=0) == "done"
        ask(tmp_path, "save")
    assert follow(tmp_path, patience=60) == "ended"
