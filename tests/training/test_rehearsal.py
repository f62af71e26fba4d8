"""A rehearsal leaves no trace in what is learnt, and finds what would have ended the run late."""

from __future__ import annotations

import resource
from collections.abc import Callable

import pytest

from tunewright.config.training import TrainConfig
from tunewright.core.errors import StorageError
from tunewright.core.events import Event
from tunewright.core.files import sha256_file
from tunewright.core.records import Model, Run
from tunewright.core.store import Store
from tunewright.training.batches import Sampler
from tunewright.training.history import read_history
from tunewright.training.rehearsal import longest_batch
from tunewright.training.train import resume, train

Recipe = Callable[..., TrainConfig]


def test_the_longest_batch_is_rehearsed() -> None:
    units = [range(length) for length in (5, 9, 3, 30, 7, 7, 2)]
    sampler = Sampler(tuple(map(len, units)), 16, seed=1)
    assert longest_batch(units, sampler) == [units[3]]  # type: ignore[arg-type, comparison-overlap]


@pytest.mark.parametrize("method", ["sft"])
def test_losses_are_the_same_bit_for_bit(store: Store, recipe: Recipe, method: str) -> None:
    found = []
    for rehearse in ("never", "always"):
        events: list[Event] = []
        options = {"method": method, "lora": {"rank": 4, "dropout": 0.3}}
        model = train(recipe(memory={"rehearse": rehearse}, **options), store, events.append)
        kinds = [event.kind for event in events]
        assert kinds.count("rehearsed") == (rehearse == "always")
        if rehearse == "always":
            assert kinds.index("plan") < kinds.index("rehearsed") < kinds.index("step")
        steps = read_history(store.folder(Run, model.run))
        adapter = store.folder(Model, model.id) / "adapter_model.safetensors"
        found.append(([(step["loss"], step["grad_norm"]) for step in steps], sha256_file(adapter)))
        assert not (store.folder(Run, model.run) / "rehearsal").exists()
    assert found[0] == found[1]


def test_small_runs_on_a_processor_are_not_rehearsed(store: Store, recipe: Recipe) -> None:
    events: list[Event] = []
    train(recipe(max_steps=1), store, events.append)
    assert "rehearsed" not in [event.kind for event in events]


def test_a_full_disk_is_found_before_the_first_step(store: Store, recipe: Recipe) -> None:
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    steps: list[Event] = []

    def fill(event: Event) -> None:
        if event.kind == "plan":
            resource.setrlimit(resource.RLIMIT_FSIZE, (32_768, limit[1]))
        elif event.kind == "step":
            steps.append(event)

    try:
        with pytest.raises(StorageError):
            train(recipe(memory={"rehearse": "always"}), store, fill)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert steps == []
    run = store.list(Run)[0]
    assert not (store.folder(Run, run.id) / "rehearsal").exists()
    resume(run.id, store)


def test_what_was_measured_is_told_once_beside_the_plan(store: Store, recipe: Recipe) -> None:
    events: list[Event] = []
    model = train(recipe(), store, events.append)
    corrected = [event for event in events if event.kind == "corrected"]
    assert [event.data["step"] for event in corrected] == [5]
    data = corrected[0].data
    steps = {event.data["step"]: event.data for event in events if event.kind == "step"}
    assert data["tokens_per_second"] == steps[5]["tokens_per_second"]
    assert data["remaining_seconds"] == steps[5]["eta_seconds"]
    plan = next(event.data for event in events if event.kind == "plan")
    assert data["planned_peak"] == plan["estimate"]["memory"]["peak"]
    assert f"{data['planned_peak'] / 1e6:.3g} MB planned" in data["text"]["en"]
    assert "实测" in data["text"]["zh"]
    summary = store.get(Run, model.run).summary
    assert summary["planned_peak"] == data["planned_peak"]
    assert summary["measured_peak"] == summary["peak_memory_bytes"] >= data["measured_peak"]


def test_a_run_of_few_steps_is_corrected_at_its_end(store: Store, recipe: Recipe) -> None:
    for steps, told in ((1, []), (3, [3])):
        events: list[Event] = []
        train(recipe(max_steps=steps), store, events.append)
        assert [event.data["step"] for event in events if event.kind == "corrected"] == told
