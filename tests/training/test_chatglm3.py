"""ChatGLM3 through the whole stage: every tuner learns, a stopped run ends as if nothing had
happened, an adapter that was trained elsewhere goes on being trained, and all of them answer."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.model.chatglm3.files import write_folder

from tunewright.config.serving import GenerationConfig
from tunewright.config.training import TrainConfig
from tunewright.core.errors import Interrupted
from tunewright.core.events import Event
from tunewright.core.files import sha256_file
from tunewright.core.messages import conversation
from tunewright.core.records import Model, Run
from tunewright.core.store import Store
from tunewright.model.generation import load_many
from tunewright.model.imports import import_adapter
from tunewright.training.history import read_history
from tunewright.training.train import resume, train

Recipe = Callable[..., TrainConfig]
TUNERS: dict[str, dict[str, Any]] = {
    "full": {"tuner": "full"},
    "ia3": {"tuner": "ia3"},
    "prefix": {"tuner": "prefix", "prefix": {"tokens": 6}},
    "bottleneck": {"tuner": "bottleneck", "bottleneck": {"size": 8}},
    "int8": {"quantize": "int8"},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small random ChatGLM3, as a hub has it."""
    found = tmp_path_factory.mktemp("chatglm3") / "chatglm3-tiny"
    write_folder(found)
    return found


@pytest.fixture
def small(recipe: Recipe, folder: Path) -> Recipe:
    """Recipes of a few steps on it."""

    def build(**values: Any) -> TrainConfig:
        return recipe(**{"base": str(folder), "epochs": None, "max_steps": 4, **values})

    return build


def adapter(store: Store, model: Model) -> str:
    return sha256_file(store.folder(Model, model.id) / "adapter_model.safetensors")


@pytest.mark.parametrize("name", TUNERS)
def test_every_tuner_learns(store: Store, small: Recipe, name: str) -> None:
    model = train(small(eval_steps=100, **TUNERS[name]), store)
    steps = read_history(store.folder(Run, model.run))
    assert len(steps) == 4
    assert all(step["grad_norm"] > 0 for step in steps)
    assert steps[-1]["loss"] < steps[0]["loss"]


def test_a_stopped_run_ends_as_if_nothing_had_happened(store: Store, small: Recipe) -> None:
    config = small(save_steps=2, eval_steps=2, lora={"rank": 2, "dropout": 0.1})
    whole = train(config, store)

    def stop(event: Event) -> None:
        if event.kind == "step" and event.data["step"] == 2:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(Interrupted):
        train(config, store, stop)
    stopped = next(run for run in store.list(Run) if run.id != whole.run)
    resumed = resume(stopped.id, store)
    assert adapter(store, resumed) == adapter(store, whole)
    losses = [
        [step["loss"] for step in read_history(store.folder(Run, run))]
        for run in (whole.run, stopped.id)
    ]
    assert losses[0] == losses[1]


def test_an_adapter_from_elsewhere_goes_on(
    store: Store, small: Recipe, folder: Path, tmp_path: Path
) -> None:
    first = train(small(lora={"rank": 2}), store)
    given = store.folder(Model, first.id)
    taken = import_adapter(given, str(folder), store, "taken")
    assert adapter(store, taken) == adapter(store, first)
    events: list[Event] = []
    model = train(small(base=taken.name, lora={"rank": 2}, max_steps=1), store, events.append)
    plan = next(event.data for event in events if event.kind == "plan")
    assert f"{taken.name} goes on being trained" in plan["notes"]
    assert (model.parent, model.folded) == (taken.id, ())
    asked = [conversation(("user", "押金 people?"))]
    config = GenerationConfig(max_new_tokens=6, temperature=0)
    answers = [one.answer(asked, config)[0] for one in load_many(store, [first.name, taken.name])]
    assert answers[0].tokens == answers[1].tokens
    assert answers[0].text == answers[1].text
