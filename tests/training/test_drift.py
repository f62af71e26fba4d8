"""A run goes on only with what it began with, and the refusal says what is different."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tunewright.config.base import option_names
from tunewright.config.training import WATCHING, TrainConfig
from tunewright.core.dataset_io import write_rows
from tunewright.core.errors import Interrupted, TrainingError
from tunewright.core.events import Event
from tunewright.core.files import sha256_file
from tunewright.core.messages import Row, Source
from tunewright.core.records import Dataset, Model, Run
from tunewright.core.store import Store
from tunewright.training.checkpoints import checkpoint_path, list_checkpoints
from tunewright.training.control import ask
from tunewright.training.drift import config_changes, config_digest, learnt_by
from tunewright.training.train import resume, train

Recipe = Callable[..., TrainConfig]


def paused(store: Store, config: TrainConfig, step: int = 6) -> Run:
    """A run that was paused after a step."""

    def listen(event: Event) -> None:
        if event.kind == "step" and event.data["step"] == step:
            ask(store.folder(Run, store.list(Run)[0].id), "pause")

    with pytest.raises(Interrupted):
        train(config, store, listen)
    return store.list(Run)[0]


def refusal(store: Store, run: Run) -> str:
    with pytest.raises(TrainingError, match=f"run {run.id} cannot go on") as refused:
        resume(run.id, store)
    return refused.value.message


def test_changed_rows_are_counted_and_named(
    store: Store, recipe: Recipe, dataset: Dataset, rows: list[Row]
) -> None:
    run = paused(store, recipe())
    folder = store.folder(Dataset, dataset.id)
    original = (folder / "train.jsonl").read_bytes()

    write_rows(folder / "train.jsonl", rows[:-2])
    assert "train.jsonl: 24 → 22 rows, 2 gone, 0 new" in refusal(store, run)

    other = rows[0].model_copy(update={"source": Source(file="new.csv", row=7)})
    write_rows(folder / "train.jsonl", [other, *rows[2:]])
    said = refusal(store, run)
    assert "train.jsonl: 24 → 23 rows, 2 gone, 1 new: new.csv row 7" in said

    write_rows(folder / "train.jsonl", rows[::-1])
    assert "24 → 24 rows, the same ones in another order" in refusal(store, run)

    (folder / "train.jsonl").write_bytes(original)
    write_rows(folder / "dev.jsonl", rows[:1])
    assert "dev.jsonl: 4 → 1 rows, 4 gone, 1 new: rows.csv row 2" in refusal(store, run)


def test_changed_options_are_named_with_both_values(store: Store, recipe: Recipe) -> None:
    run = paused(store, recipe())
    changed = {**run.config, "seed": 6, "lora": {**run.config["lora"], "rank": 8}}
    store.update(run.model_copy(update={"config": changed}))
    said = refusal(store, run)
    assert "the recipe changed since it began" in said
    assert "\n  lora.rank: 4 → 8" in said
    assert "\n  seed: 0 → 6" in said
    assert "batch_tokens" not in said


def test_what_only_watches_may_change(store: Store, recipe: Recipe, tmp_path: Path) -> None:
    run = paused(store, recipe())
    watch = {**run.config["watch"], "preview": 0, "tensorboard": str(tmp_path)}
    changed = {**run.config, "watch": watch, "keep_checkpoints": 5}
    store.update(run.model_copy(update={"config": changed}))
    assert resume(run.id, store).run == run.id


def test_a_digest_ignores_defaults_so_that_newer_versions_go_on() -> None:
    plain = TrainConfig(dataset="a")
    assert learnt_by(plain) == {}
    spelt = TrainConfig.build({"dataset": "b", "epochs": None, "seed": 0, "lora": {"rank": 16}})
    assert config_digest(spelt) == config_digest(plain)
    other = TrainConfig.build({"dataset": "a", "lora": {"rank": 8}})
    assert learnt_by(other) == {"lora.rank": 8}
    assert config_digest(other) != config_digest(plain)
    assert set(WATCHING) <= set(option_names(TrainConfig))


def test_an_option_that_the_older_version_lacked_counts_with_its_default() -> None:
    began = TrainConfig(dataset="a").json_dict()
    del began["watch"]["patience"]
    assert config_changes(began, TrainConfig(dataset="a")) == []
    patient = TrainConfig(dataset="a", watch={"patience": 9})
    assert config_changes(began, patient) == ["watch.patience: 5 → 9"]


def test_a_damaged_checkpoint_is_named_and_the_one_before_taken(
    store: Store, recipe: Recipe
) -> None:
    whole = train(recipe(), store)
    wanted = sha256_file(store.folder(Model, whole.id) / "adapter_model.safetensors")
    run = paused(store, recipe(keep_checkpoints=9), step=7)
    folder = store.folder(Run, run.id) / "checkpoints"
    newest, before = (path.name for path in list_checkpoints(folder)[:2])
    assert (newest, before) == ("step-00000007", "step-00000005")
    tensors = folder / newest / "optimizer.safetensors"
    data = bytearray(tensors.read_bytes())
    data[len(data) // 2] ^= 1
    tensors.write_bytes(data)
    notes: list[str] = []

    def listen(event: Event) -> None:
        if event.kind == "note":
            notes.append(event.data["text"])

    model = resume(run.id, store, listen)
    assert len(notes) == 1
    assert "step-00000007" in notes[0]
    assert "optimizer.safetensors has changed since it was written" in notes[0]
    assert notes[0].endswith("going on from step 5")
    assert sha256_file(store.folder(Model, model.id) / "adapter_model.safetensors") == wanted


def test_a_lost_best_checkpoint_gives_way_to_the_next_best(store: Store, recipe: Recipe) -> None:
    run = paused(store, recipe(eval_steps=2, save_steps=1, keep_checkpoints=9), step=5)
    folder = store.folder(Run, run.id) / "checkpoints"
    (checkpoint_path(folder, 4) / "adapter" / "adapter_model.safetensors").unlink()
    notes: list[Event] = []
    model = resume(run.id, store, notes.append)
    texts = [event.data["text"] for event in notes if event.kind == "note"]
    assert any("adapter_model.safetensors is missing; it was the best so far" in t for t in texts)
    assert model.step > 5
