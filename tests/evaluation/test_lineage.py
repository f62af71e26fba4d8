from __future__ import annotations

from collections.abc import Sequence

from tunewright.core.events import Event, EventLog
from tunewright.core.messages import Row, Source, conversation
from tunewright.core.records import Dataset, Model, Run
from tunewright.core.store import Store
from tunewright.evaluation.answers import limited
from tunewright.evaluation.lineage import curve_of, find_origin


def add_run(store: Store, events: Sequence[Event] = ()) -> Run:
    run = Run(
        id="run_0123456789ab", dataset="ds_1", base="tiny", config={"epochs": 1}, state="succeeded"
    )
    log = EventLog(store.open_folder(Run, run.id) / "events.jsonl")
    for event in events:
        log.append(event)
    store.add(run)
    return run


def step(number: int, loss: float | None) -> Event:
    return Event(kind="step", data={"step": number, "loss": loss})


def test_the_last_word_on_a_step_counts(store: Store) -> None:
    events = [
        step(1, 3.0),
        step(2, 2.0),
        step(3, 9.0),
        Event(kind="validation", data={"step": 2, "loss": 2.5}),
        Event(kind="note", data={"text": "resumed"}),
        step(3, 1.0),
        step(4, None),
        step(5, float("inf")),
        Event(kind="validation", data={"step": 2, "loss": 2.25}),
    ]
    curve = curve_of(store, add_run(store, events))
    assert curve is not None
    assert curve.train == [(1, 3.0), (2, 2.0), (3, 1.0)]
    assert curve.validation == [(2, 2.25)]


def test_a_run_without_steps_has_no_curve(store: Store) -> None:
    assert curve_of(store, add_run(store)) is None


def test_origins_are_found_by_name_and_by_checkpoint(store: Store, dataset: Dataset) -> None:
    run = add_run(store)
    model = Model(
        id="mdl_0123456789ab",
        name="ft:tiny:local:x:012345",
        base="tiny",
        base_digest="d",
        renderer_hash="r",
        run=run.id,
        step=30,
    )
    store.add(model)
    tuned = find_origin(store, model.name, model.name, "tiny", "d")
    assert (tuned.model, tuned.run, tuned.step) == (
        store.get(Model, model.id),
        store.get(Run, run.id),
        30,
    )
    checkpoint = find_origin(store, f"{run.id}@20", f"{run.id}@20", "tiny", "d")
    assert (checkpoint.model, checkpoint.run, checkpoint.step) == (
        None,
        store.get(Run, run.id),
        20,
    )
    best = find_origin(store, f"{run.id}@best", f"{run.id}@best", "tiny", "d")
    assert (best.run, best.step) == (store.get(Run, run.id), None)
    base = find_origin(store, "organisation/tiny@main", "organisation/tiny@main", "tiny", "d")
    assert (base.model, base.run) == (None, None)
    assert tuned.trained_on(dataset.model_copy(update={"id": "ds_1"}))
    assert not tuned.trained_on(dataset)
    assert not base.trained_on(dataset)


def test_a_limit_is_spread_over_the_slices() -> None:
    talk = conversation(("user", "q"), ("assistant", "a"))
    rows = [
        Row(conversation=talk, source=Source(file="f", row=i), group=str(i), slice=name)
        for i, name in enumerate("aaaaabbbc")
    ]
    assert limited(rows, None) == list(range(9))
    assert limited(rows, 99) == list(range(9))
    assert [rows[i].slice for i in limited(rows, 5)] == ["a", "a", "b", "b", "c"]
    assert limited(rows, 1) == [0]
