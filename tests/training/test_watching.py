"""Early stopping, answers at validations, diagnoses and trackers of a real run."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tunewright.config.training import TrainConfig, WatchConfig
from tunewright.core.errors import ConfigError, Interrupted
from tunewright.core.events import Event, EventLog
from tunewright.core.files import sha256_file
from tunewright.core.messages import Row
from tunewright.core.records import Dataset, Model, Run
from tunewright.core.store import Store
from tunewright.training.control import ask
from tunewright.training.history import read_history
from tunewright.training.trackers.base import Tracked
from tunewright.training.trackers.table import PACKAGES, require_packages
from tunewright.training.trackers.tensorboard import EventFile, crc32c, masked_crc32c
from tunewright.training.train import resume, train

Recipe = Callable[..., TrainConfig]
NewDataset = Callable[..., Dataset]


def of_kind(store: Store, kind: str) -> list[dict[str, Any]]:
    folder = store.folder(Run, store.list(Run)[0].id)
    return [event.data for event in EventLog(folder / "events.jsonl").read() if event.kind == kind]


def adapter(store: Store, model: Model) -> str:
    return sha256_file(store.folder(Model, model.id) / "adapter_model.safetensors")


# Early stopping --------------------------------------------------------------------------------


def overfitting(recipe: Recipe, new_dataset: NewDataset, rows: list[Row]) -> TrainConfig:
    """Two rows learnt by heart at a high rate: the others are soon predicted ever worse."""
    dataset = new_dataset(rows[:2], rows[10:14], "two")
    return recipe(
        dataset=dataset.id,
        max_steps=120,
        eval_steps=2,
        save_steps=1000,
        watch={"patience": 3},
        optimizer={"learning_rate": 0.05},
    )


def test_a_run_that_gets_no_better_ends_with_its_best(
    store: Store, recipe: Recipe, new_dataset: NewDataset, rows: list[Row]
) -> None:
    model = train(overfitting(recipe, new_dataset, rows), store)
    run = store.list(Run)[0]
    validations = {e["step"]: e["loss"] for e in of_kind(store, "validation")}
    (early,) = of_kind(store, "stopped_early")
    assert run.state == "succeeded"
    assert run.summary["ended"] == "patience"
    assert run.summary["steps"] == max(validations) == early["step"] < 120
    assert model.step == early["best_step"] == early["step"] - 3 * 2
    assert validations[model.step] == min(validations.values()) == run.summary["valid_loss"]


def test_patience_outlasts_a_pause_and_can_be_switched_off(
    store: Store, recipe: Recipe, new_dataset: NewDataset, rows: list[Row]
) -> None:
    config = overfitting(recipe, new_dataset, rows)
    whole = train(config, store)
    end = store.list(Run)[0].summary["steps"]

    def listen(event: Event) -> None:
        if event.kind == "step" and event.data["step"] == end - 3:
            ask(store.folder(Run, store.list(Run)[0].id), "pause")

    with pytest.raises(Interrupted):
        train(config, store, listen)
    again = resume("latest", store)
    assert store.list(Run)[0].summary["steps"] == end
    assert adapter(store, again) == adapter(store, whole)
    train(config.model_copy(update={"watch": WatchConfig(patience=0), "max_steps": end + 1}), store)
    assert store.list(Run)[0].summary["ended"] == "done"


# Answers at validations ------------------------------------------------------------------------


def test_the_same_questions_are_answered_each_time_and_change_nothing(
    store: Store, recipe: Recipe
) -> None:
    options = {"lora": {"rank": 4, "dropout": 0.2}, "epochs": 2}
    silent = train(recipe(**options, watch={"preview": 0}), store)
    expected = read_history(store.folder(Run, silent.run))
    assert of_kind(store, "sample") == []
    shown = train(recipe(**options, watch={"preview": 2}), store)
    assert adapter(store, shown) == adapter(store, silent)
    steps = read_history(store.folder(Run, shown.run))
    assert [s["loss"] for s in steps] == [s["loss"] for s in expected]
    samples = of_kind(store, "sample")
    validated = [event["step"] for event in of_kind(store, "validation")]
    assert [(s["step"], s["number"]) for s in samples] == [
        (v, n) for v in validated for n in (0, 1)
    ]
    for number in (0, 1):
        same = {s["question"] for s in samples if s["number"] == number}
        assert len(same) == 1
    assert samples[0]["question"].startswith("100: ")
    assert samples[0]["reference"]


# Smoothed loss, memory, diagnoses --------------------------------------------------------------


def test_steps_tell_a_smoothed_loss_and_memory(store: Store, recipe: Recipe) -> None:
    train(recipe(max_steps=8), store)
    steps = of_kind(store, "step")
    mean = 0.0
    for number, step in enumerate(steps, start=1):
        mean = 0.9 * mean + 0.1 * step["loss"]
        assert step["smoothed_loss"] == pytest.approx(mean / (1 - 0.9**number))
        assert step["memory_bytes"] > 1e7
    assert 0 <= of_kind(store, "validation")[-1]["metrics"]["token_accuracy"] <= 1


def test_a_diagnosis_is_logged_and_told(
    store: Store, recipe: Recipe, new_dataset: NewDataset, rows: list[Row]
) -> None:
    told: list[Event] = []
    dataset = new_dataset(rows[:2], rows[10:14], "two")
    learns_by_heart = {"tuner": "full", "optimizer": {"learning_rate": 0.01}}
    config = recipe(
        dataset=dataset.id, max_steps=30, eval_steps=3, watch={"patience": 0}, **learns_by_heart
    )
    train(config, store, told.append)
    names = [event.data["name"] for event in told if event.kind == "diagnosis"]
    assert "overfitting" in names
    logged = of_kind(store, "diagnosis")
    assert [one["name"] for one in logged] == names
    assert len(logged) < 8


# Trackers --------------------------------------------------------------------------------------


def records(path: Path) -> Iterator[bytes]:
    """The records of a TFRecord file; every checksum is checked."""
    data = path.read_bytes()
    while data:
        (length,) = struct.unpack_from("<Q", data)
        (head,) = struct.unpack_from("<I", data, 8)
        body = data[12 : 12 + length]
        (tail,) = struct.unpack_from("<I", data, 12 + length)
        assert head == masked_crc32c(data[:8])
        assert tail == masked_crc32c(body)
        yield body
        data = data[16 + length :]


def fields(message: bytes) -> Iterator[tuple[int, Any]]:
    """A protocol-buffer message's fields as ``(number, value)``."""
    place = 0

    def varint() -> int:
        nonlocal place
        value = shift = 0
        while True:
            byte = message[place]
            place += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    while place < len(message):
        number, wire = divmod(varint(), 8)
        if wire == 0:
            yield number, varint()
        elif wire == 2:
            length = varint()
            yield number, message[place : place + length]
            place += length
        else:
            size, form = {1: (8, "<d"), 5: (4, "<f")}[wire]
            yield number, struct.unpack_from(form, message, place)[0]
            place += size


def scalars(path: Path) -> dict[str, dict[int, float]]:
    """``{tag: {step: value}}``; a session start drops what was recorded from its step on."""
    found: dict[str, dict[int, float]] = {}
    for record in records(path):
        event = dict(fields(record))
        for _, value in fields(event.get(5, b"")):
            entry = dict(fields(value))
            found.setdefault(entry[1].decode(), {})[event[2]] = entry[2]
    return found


def test_the_checksum_is_the_published_one() -> None:
    # RFC 3720, appendix B.4.
    assert crc32c(bytes(32)) == 0x8A9136AA
    assert crc32c(b"\xff" * 32) == 0x62A8AB43
    assert crc32c(bytes(range(32))) == 0x46DD794E


def test_tensorboard_files_hold_every_step(store: Store, recipe: Recipe, tmp_path: Path) -> None:
    model = train(
        recipe(max_steps=6, eval_steps=3, watch={"tensorboard": str(tmp_path / "tb")}), store
    )
    (path,) = (tmp_path / "tb" / model.run).iterdir()
    first = dict(fields(next(records(path))))
    assert first[3] == b"brain.Event:2"
    found = scalars(path)
    steps = {step["step"]: step for step in of_kind(store, "step")}
    assert found["train/loss"] == {
        step: pytest.approx(data["loss"], rel=1e-6) for step, data in steps.items()
    }
    assert found["train/learning_rate"].keys() == steps.keys()
    assert found["validation/loss"].keys() == {3, 6}
    assert found["validation/token_accuracy"].keys() == {3, 6}


def test_tensorboard_itself_reads_them(tmp_path: Path) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    before, after = EventFile(tmp_path), EventFile(tmp_path, resumed_after=2)
    for step in (1, 2, 3):
        before.log(step, {"train/loss": float(step)}, 1.0)
    before.close("stopped")
    after.log(3, {"train/loss": 30.0}, 2.0)
    after.close("succeeded")
    read = accumulator.EventAccumulator(str(tmp_path)).Reload()
    values = [(event.step, event.value) for event in read.Scalars("train/loss")]
    assert values == [(1, 1.0), (2, 2.0), (3, 30.0)]


def test_a_resumed_run_says_which_steps_are_void(tmp_path: Path) -> None:
    file = EventFile(tmp_path, resumed_after=41)
    file.close("stopped")
    _, start = (dict(fields(record)) for record in records(file.path))
    assert start[2] == 42
    assert dict(fields(start[7])) == {1: 1}


def test_a_missing_package_is_told_before_anything_is_done(store: Store, recipe: Recipe) -> None:
    missing = next(
        (name for name, package in PACKAGES.items() if package and not found(package)), ""
    )
    if not missing:
        pytest.skip("every tracker is installed here")
    with pytest.raises(ConfigError, match=f"{missing} needs the package") as refused:
        train(recipe(watch={"trackers": (missing,)}), store)
    assert "pip install" in refused.value.hint
    assert store.list(Run) == []
    require_packages(("tensorboard",))


def found(package: str) -> bool:
    from importlib.util import find_spec

    return find_spec(package) is not None


def test_a_tracker_that_fails_is_dropped_and_the_run_goes_on(
    store: Store, recipe: Recipe, tmp_path: Path
) -> None:
    (tmp_path / "tb").write_text("a file where the folder should be")
    train(recipe(max_steps=2, watch={"tensorboard": str(tmp_path / "tb")}), store)
    (note,) = of_kind(store, "note")
    assert note["text"].startswith("tensorboard is no longer told of this run")
    assert store.list(Run)[0].state == "succeeded"


@pytest.mark.parametrize("name", [name for name, package in PACKAGES.items() if package])
def test_the_real_package_takes_a_run(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip(PACKAGES[name] or "")
    from tunewright.training.trackers.table import open_tracker

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))
    tracked = Tracked(
        run="run_0123456789ab",
        name="ft:tiny:local:shop:012345",
        project="shop",
        config={"seed": 1, "lora": {"rank": 4}},
        folder=tmp_path / name,
        offline=True,
        step=0,
    )
    tracker = open_tracker(name, tracked)
    for step in (1, 2):
        tracker.log(step, {"train/loss": 2.0 / step}, 1.0 + step)
    tracker.close("succeeded")
    assert any(path.is_file() for path in tmp_path.rglob("*"))
