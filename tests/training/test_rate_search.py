"""Three learning rates are tried, the best one is used, and nothing else is different for it."""

from __future__ import annotations

import json
import math
import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.training.rated import keep, preferences

from tunewright.config.training import OptimizerConfig, TrainConfig
from tunewright.core.errors import ConfigError, Interrupted, TrainingError
from tunewright.core.events import Event
from tunewright.core.files import sha256_file
from tunewright.core.messages import Row
from tunewright.core.records import Dataset, Model, Run
from tunewright.core.store import Store
from tunewright.training.history import read_history
from tunewright.training.rate_search import rates_around, trial_steps
from tunewright.training.train import resume, train

Recipe = Callable[..., TrainConfig]
FULL = ("weights-00001-of-00001.safetensors", "adapter_model.safetensors")


def weights_hash(store: Store, model: Model) -> str:
    """Of the one file that holds what was trained."""
    folder = store.folder(Model, model.id)
    (found,) = [folder / name for name in FULL if (folder / name).exists()]
    return sha256_file(found)


def only_run(store: Store) -> Run:
    (run,) = store.list(Run)
    return run


def searches(events: list[Event]) -> list[Event]:
    return [event for event in events if event.kind == "rate_search"]


def test_a_tenth_of_the_steps_in_bounds() -> None:
    assert [trial_steps(steps) for steps in (4, 30, 101, 450, 5000)] == [4, 10, 11, 45, 100]


def test_rates_can_be_typed_again_and_stay_allowed() -> None:
    assert rates_around(3e-3) == [0.003, 0.001, 0.009]
    assert rates_around(0.5) == [0.5, 0.166667]


@pytest.mark.parametrize(
    "options",
    [
        {"lora": {"rank": 4, "dropout": 0.2}, "seed": 5},
        {"tuner": "full"},
        {"lora": {"rank": 4, "plus": 2}},
    ],
    ids=["lora with dropout", "full", "lora+"],
)
def test_a_run_with_auto_equals_one_with_the_rate_it_finds(
    store: Store, recipe: Recipe, options: dict[str, object]
) -> None:
    events: list[Event] = []
    asked = {"optimizer": {"learning_rate": 1e-3, "auto": True}, **options}
    tried = train(recipe(max_steps=12, **asked), store, events.append)
    (found,) = searches(events)
    run = store.get(Run, tried.run)

    losses = {trial["rate"]: trial["loss"] for trial in found.data["trials"]}
    assert list(losses) == [0.000333333, 0.001, 0.003]
    assert len(set(losses.values())) == 3
    best = min(losses, key=lambda rate: losses[rate])
    assert found.data["rate"] == best != 0.001
    assert found.data["judged_by"] == "validation"
    assert found.data["steps"] == 10
    assert run.config["optimizer"]["learning_rate"] == best
    assert "validation loss" in found.data["lines"][0]
    assert "tried first" in " ".join(events[0].data["lines"])

    given = {"optimizer": {"learning_rate": best}, **options}
    plain = train(recipe(max_steps=12, **given), store)
    assert weights_hash(store, tried) == weights_hash(store, plain)
    folders = [store.folder(Run, model.run) for model in (tried, plain)]
    assert [s["loss"] for s in read_history(folders[0])] == [
        s["loss"] for s in read_history(folders[1])
    ]


def test_a_rate_that_diverges_loses(store: Store, recipe: Recipe) -> None:
    events: list[Event] = []
    options = {"learning_rate": 1.0, "auto": True, "max_grad_norm": 1e9}
    train(recipe(tuner="full", max_steps=12, optimizer=options), store, events.append)
    (found,) = searches(events)
    trials = {trial["rate"]: trial["loss"] for trial in found.data["trials"]}
    assert list(trials) == [0.333333, 1.0]
    assert trials[1.0] is None or trials[1.0] > trials[0.333333]
    assert found.data["rate"] == 0.333333
    assert all(math.isfinite(step["loss"]) for step in read_history_of(store))


def read_history_of(store: Store) -> list[dict[str, float]]:
    return read_history(store.folder(Run, only_run(store).id))


def test_without_held_out_rows_the_training_loss_decides_and_that_is_said(
    store: Store, recipe: Recipe, new_dataset: Callable[..., Dataset], rows: list[Row]
) -> None:
    events: list[Event] = []
    dataset = new_dataset(rows, [], "nodev")
    train(recipe(dataset=dataset.id, max_steps=10, optimizer={"auto": True}), store, events.append)
    (found,) = searches(events)
    assert found.data["judged_by"] == "training"
    assert "training loss" in found.data["lines"][0]


def test_the_methods_own_loss_decides(store: Store, recipe: Recipe) -> None:
    dataset = keep(store, "preference", preferences(16), preferences(4, seed=1))
    events: list[Event] = []

    def config(**optimizer: object) -> TrainConfig:
        return recipe(dataset=dataset.id, method="dpo", max_steps=10, optimizer=optimizer)

    tried = train(config(auto=True, learning_rate=1e-3), store, events.append)
    (found,) = searches(events)
    # Before training the better answer leads by nothing: the loss is ln 2 and falls from there.
    assert all(0 < trial["loss"] < math.log(2) + 0.05 for trial in found.data["trials"])
    plain = train(config(learning_rate=found.data["rate"]), store)
    assert weights_hash(store, tried) == weights_hash(store, plain)


def test_a_resumed_run_does_not_search_again(store: Store, recipe: Recipe) -> None:
    asked = {"learning_rate": 1e-3, "auto": True}
    whole = train(recipe(max_steps=12, optimizer=asked), store)
    interrupted: list[Event] = []

    def stop(event: Event) -> None:
        interrupted.append(event)
        if event.kind == "step" and event.data["step"] == 7:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Interrupted, match="step 7"):
        train(recipe(max_steps=12, optimizer=asked), store, stop)
    run = next(run for run in store.list(Run) if run.state == "stopped")
    assert run.config["optimizer"]["learning_rate"] == searches(interrupted)[0].data["rate"]
    events: list[Event] = []
    model = resume(run.id, store, events.append)
    assert not searches(events)
    assert not [e for e in events if e.kind == "progress" and "rates" in e.data["stage"]]
    assert "lowest validation loss" in events[0].data["learning_rate_reason"]
    assert weights_hash(store, model) == weights_hash(store, whole)


def test_an_interrupted_search_starts_again(store: Store, recipe: Recipe) -> None:
    asked = {"learning_rate": 1e-3, "auto": True}
    whole = train(recipe(max_steps=12, optimizer=asked), store)

    def stop(event: Event) -> None:
        if event.kind == "progress" and event.data["done"] == 14:
            os.kill(os.getpid(), signal.SIGINT)

    assert threading.current_thread() is threading.main_thread()
    with pytest.raises(Interrupted, match="tried") as refusal:
        train(recipe(max_steps=12, optimizer=asked), store, stop)
    run = next(run for run in store.list(Run) if run.state == "stopped")
    assert run.id in refusal.value.hint
    assert read_history(store.folder(Run, run.id)) == []
    events: list[Event] = []
    model = resume(run.id, store, events.append)
    assert len(searches(events)) == 1
    assert weights_hash(store, model) == weights_hash(store, whole)


def test_a_changed_recipe_is_still_refused(store: Store, recipe: Recipe) -> None:
    def stop(event: Event) -> None:
        if event.kind == "step":
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Interrupted):
        train(recipe(optimizer={"auto": True}), store, stop)
    run = only_run(store)
    store.update(run.model_copy(update={"config": {**run.config, "seed": 9}}))
    with pytest.raises(TrainingError, match="seed: 0 → 9") as refusal:
        resume(run.id, store)
    assert "learning_rate" not in refusal.value.message


def test_no_rate_with_a_number_is_a_failure_that_says_so(
    store: Store, recipe: Recipe, tmp_path: Path
) -> None:
    options = {"learning_rate": 1.0, "auto": True, "max_grad_norm": 1e30, "beta2": 0.0}
    config = recipe(tuner="full", max_steps=40, optimizer={**options, "warmup": 0.0})
    broken = json.loads((Path(config.base) / "config.json").read_text())
    folder = tmp_path / "broken"
    folder.mkdir()
    for file in Path(config.base).iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    (folder / "config.json").write_text(json.dumps({**broken, "rms_norm_eps": float("nan")}))
    with pytest.raises(TrainingError, match="none of the learning rates"):
        train(config.model_copy(update={"base": str(folder)}), store)
    assert only_run(store).state == "failed"


def test_the_flag_takes_no_value() -> None:
    assert OptimizerConfig.build({"auto": True}).auto
    with pytest.raises(ConfigError, match="auto"):
        OptimizerConfig.build({"auto": "perhaps"})


@pytest.mark.parametrize("method", ["grpo", "rloo"])
def test_losses_say_nothing_of_methods_that_raise_rewards(method: str) -> None:
    with pytest.raises(ConfigError, match=f"say nothing of method {method}"):
        TrainConfig.build({"dataset": "x", "method": method, "optimizer": {"auto": True}})
