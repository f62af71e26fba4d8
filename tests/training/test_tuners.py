"""Every tuner through the whole stage: it learns, resumes, is answered with, and goes on."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path
from statistics import mean
from typing import Any

import pytest
import torch

from tunewright.config.serving import GenerationConfig
from tunewright.config.training import TrainConfig
from tunewright.core.errors import ConfigError, InputError, Interrupted
from tunewright.core.events import Event
from tunewright.core.files import sha256_file
from tunewright.core.messages import conversation
from tunewright.core.records import Dataset, Model, Run
from tunewright.core.store import Store
from tunewright.model.adapters import load_adapter, load_foundation
from tunewright.model.generation import load_many
from tunewright.model.references import foundation_name, resolve, resolve_foundation
from tunewright.model.tuners.files import replaces_weights, tuner_of
from tunewright.training.history import read_history
from tunewright.training.train import resume, train

Recipe = Callable[..., TrainConfig]
CPU = torch.device("cpu")
IDS = torch.tensor([[5, 9, 30, 44, 7, 8]])
SMALL: dict[str, dict[str, Any]] = {
    "lora": {},
    "lora plus": {"lora": {"rank": 4, "plus": 4}},
    "dora": {"lora": {"rank": 4, "dora": True, "dropout": 0.1}},
    "int8 lora": {"quantize": "int8"},
    "full": {"tuner": "full"},
    "freeze": {"tuner": "freeze", "freeze": {"blocks": 1}},
    "ia3": {"tuner": "ia3", "optimizer": {"learning_rate": 5e-2}},
    "prefix": {"tuner": "prefix", "prefix": {"tokens": 6}, "optimizer": {"learning_rate": 5e-2}},
    "projected prefix": {"tuner": "prefix", "prefix": {"tokens": 6, "projection": 16}},
    "bottleneck": {"tuner": "bottleneck", "bottleneck": {"size": 8, "placement": "both"}},
}


def steps_of(store: Store, run: str) -> list[dict[str, Any]]:
    return read_history(store.folder(Run, run))


def logits_of(store: Store, reference: str) -> torch.Tensor:
    """What a tuned model answers when it is loaded afresh."""
    resolved = resolve(store, reference)
    model = load_foundation(resolved.foundation, CPU, torch.float32)
    if resolved.adapter is not None:
        load_adapter(model, resolved.adapter)
    with torch.no_grad():
        found: torch.Tensor = model(input_ids=IDS, use_cache=False).logits
    return found


def files_of(store: Store, model: Model) -> dict[str, str]:
    folder = store.folder(Model, model.id)
    return {path.name: sha256_file(path) for path in folder.iterdir() if path.is_file()}


@pytest.mark.parametrize("name", SMALL)
def test_it_learns_and_its_model_is_found_again(store: Store, recipe: Recipe, name: str) -> None:
    events: list[Event] = []
    config = recipe(epochs=5, eval_steps=100, **SMALL[name])
    model = train(config, store, events.append)
    steps = steps_of(store, model.run)
    assert mean(step["loss"] for step in steps[-5:]) < mean(s["loss"] for s in steps[:3]) - 0.02
    assert all(step["grad_norm"] > 0 for step in steps)
    assert tuner_of(store.folder(Model, model.id)) == config.tuner
    bare = logits_of(store, config.base)
    tuned = logits_of(store, model.name)
    assert (tuned - bare).abs().max() > 1e-3
    checkpoint = f"{model.run}@{model.step}"
    assert torch.equal(logits_of(store, checkpoint), tuned)


def test_the_plan_counts_what_is_trained(store: Store, recipe: Recipe) -> None:
    def plan(**values: Any) -> tuple[int, int]:
        events: list[Event] = []
        train(recipe(max_steps=1, **values), store, events.append)
        data = events[0].data
        share = data["trainable"] / data["parameters"]
        assert f"({share:.2%})" in data["lines"][0]
        return data["trainable"], data["parameters"]

    # Hidden 64, MLP 128, 4 heads (2 kv) of 16, two layers.
    _, whole = plan(tuner="full")
    block = 64 * (64 + 32 + 32 + 64) + 3 * 64 * 128 + 2 * 16 + 2 * 64
    assert plan(tuner="full") == (whole, whole)
    assert plan(tuner="freeze", freeze={"blocks": 1}) == (block, whole)
    added = {
        2 * (32 + 32 + 128): {"tuner": "ia3"},
        6 * 2 * 2 * 32: {"tuner": "prefix", "prefix": {"tokens": 6}},
        2 * (64 * 8 + 8 + 8 * 64 + 64): {"tuner": "bottleneck", "bottleneck": {"size": 8}},
        2 * 4 * (64 + 64): {"lora": {"rank": 4, "targets": ("q_proj",)}},
        2 * (4 * (64 + 64) + 64): {"lora": {"rank": 4, "targets": ("q_proj",), "dora": True}},
    }
    for count, values in added.items():
        assert plan(**values) == (count, whole + count)
    quantized = plan(lora={"rank": 4, "targets": ("q_proj",)}, quantize="int8")
    assert quantized == (1024, whole + 1024)


@pytest.mark.parametrize("name", ["lora plus", "dora", "full", "projected prefix"])
def test_an_interrupted_run_ends_bit_for_bit_alike(store: Store, recipe: Recipe, name: str) -> None:
    config = recipe(epochs=2, save_steps=3, eval_steps=4, **SMALL[name])
    whole = train(config, store)
    expected = [(s["step"], s["loss"], s["grad_norm"]) for s in steps_of(store, whole.run)]

    def press(event: Event) -> None:
        if event.kind == "step" and event.data["step"] == 5:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(Interrupted):
        train(config, store, press)
    run = store.list(Run)[0]
    model = resume(run.id, store)
    assert [(s["step"], s["loss"], s["grad_norm"]) for s in steps_of(store, run.id)] == expected
    assert files_of(store, model) == files_of(store, whole)


def test_lora_plus_trains_b_at_its_own_rate(store: Store, recipe: Recipe) -> None:
    one = train(recipe(max_steps=1, optimizer={"learning_rate": 1e-3, "warmup": 0}), store)
    four = train(
        recipe(
            max_steps=1,
            optimizer={"learning_rate": 1e-3, "warmup": 0},
            lora={"rank": 4, "plus": 4},
        ),
        store,
    )
    from safetensors.torch import load_file

    first, second = (
        load_file(store.folder(Model, model.id) / "adapter_model.safetensors")
        for model in (one, four)
    )
    for key, tensor in first.items():
        factor = 4 if "lora_B" in key else 1
        torch.testing.assert_close(second[key], tensor * factor, atol=1e-7, rtol=1e-4)


def test_tuned_models_of_all_kinds_answer_together(store: Store, recipe: Recipe) -> None:
    kinds = [values for name, values in SMALL.items() if name not in ("lora plus", "int8 lora")]
    names = [train(recipe(max_steps=2, **values), store).id for values in kinds]
    asked = [
        conversation(("user", text)) for text in ("1: trial?", "押金?", "notice period contract?")
    ]
    config = GenerationConfig(max_new_tokens=12)
    together = load_many(store, names, "cpu")
    own = [m for m in together if replaces_weights(store.folder(Model, _id(store, m.name)))]
    assert len(own) == 2
    assert len({id(m._shared) for m in together}) == 1 + len(own)
    turns = [[m.answer([question], config)[0].text for m in together] for question in asked]
    for place, name in enumerate(names):
        (alone,) = load_many(store, [name], "cpu")
        batch = [answer.text for answer in alone.answer(asked, config)]
        assert batch == [turn[place] for turn in turns]


def _id(store: Store, name: str) -> str:
    return store.get(Model, name).id


@pytest.mark.parametrize("name", ["lora", "dora", "full", "ia3", "projected prefix", "bottleneck"])
def test_the_same_recipe_goes_on_with_a_tuned_model(
    store: Store, recipe: Recipe, name: str
) -> None:
    values = {"max_steps": 4, "optimizer": {"learning_rate": 1e-2, "warmup": 0}}
    values = {**SMALL[name], **values}
    first = train(recipe(**values), store)
    before = steps_of(store, first.run)
    events: list[Event] = []
    second = train(recipe(base=first.name, **values), store, events.append)
    assert (second.parent, second.folded) == (first.id, ())
    assert (second.base, second.base_digest) == (first.base, first.base_digest)
    assert f"{first.name} goes on being trained" in events[0].data["lines"][-1]
    after = steps_of(store, second.run)
    assert after[0]["loss"] < before[0]["loss"]
    assert mean(s["loss"] for s in after) < mean(s["loss"] for s in before)
    run = store.get(Run, second.run)
    assert (run.start, run.base) == (first.id, first.base)
    with pytest.raises(InputError, match="still needed"):
        store.delete(Model, first.id)
    # It holds all that it needs besides the base.
    with_parent = logits_of(store, second.id)
    for path in store.folder(Model, first.id).iterdir():
        path.unlink()
    assert torch.equal(logits_of(store, second.id), with_parent)


@pytest.mark.parametrize(
    ("below", "above"),
    [
        ("lora", "dora"),
        ("dora", "full"),
        ("full", "lora"),
        ("freeze", "full"),
        ("prefix", "lora"),
        ("bottleneck", "ia3"),
        ("lora", "int8 lora plus"),
    ],
)
def test_another_recipe_stands_on_a_tuned_model(
    store: Store, recipe: Recipe, below: str, above: str
) -> None:
    first = train(recipe(max_steps=4, **SMALL[below]), store)
    upper = SMALL.get(above) or {"quantize": "int8", "lora": {"rank": 3}}
    rate = {"learning_rate": 1e-9, "warmup": 0}
    events: list[Event] = []
    config = recipe(base=first.name, max_steps=1, **{**upper, "optimizer": rate})
    second = train(config, store, events.append)
    assert (second.parent, second.folded) == (first.id, (first.id,))
    assert f"{first.name} becomes part of the base" in events[0].data["lines"][-1]
    # At next to no learning rate it answers as the one that it stands on, and not as the base.
    near, far = logits_of(store, first.name), logits_of(store, first.base)
    # A quantised base was there for training only: the adapter stands on the exact weights.
    torch.testing.assert_close(logits_of(store, second.name), near, atol=1e-5, rtol=0)
    assert (near - far).abs().max() > 1e-3


def test_a_chain_of_three_is_loaded_exactly_and_resumed(store: Store, recipe: Recipe) -> None:
    first = train(recipe(max_steps=3), store)
    second = train(recipe(base=first.name, max_steps=3, tuner="ia3"), store)
    config = recipe(base=second.id, epochs=1, save_steps=2, lora={"rank": 2})
    whole = train(config, store)
    assert whole.folded == (first.id, second.id)
    expected = [(s["step"], s["loss"]) for s in steps_of(store, whole.run)]

    def press(event: Event) -> None:
        if event.kind == "step" and event.data["step"] == 2:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(Interrupted):
        train(config, store, press)
    run = store.list(Run)[0]
    model = resume(run.id, store)
    assert [(s["step"], s["loss"]) for s in steps_of(store, run.id)] == expected
    assert files_of(store, model) == files_of(store, whole)
    # The third goes on with the third: the chain below stays as it is.
    fourth = train(recipe(base=whole.name, max_steps=1, lora={"rank": 2}), store)
    assert (fourth.parent, fourth.folded) == (whole.id, (first.id, second.id))
    assert foundation_name(store, fourth) == second.id
    assert resolve_foundation(store, second.id) == resolve(store, fourth.name).foundation
    assert resolve_foundation(store, fourth.base).folded == ()


def test_a_run_does_not_start_from_a_checkpoint(
    store: Store, recipe: Recipe, dataset: Dataset
) -> None:
    model = train(recipe(max_steps=2), store)
    with pytest.raises(ConfigError, match="cannot start from the checkpoint"):
        train(recipe(base=f"{model.run}@{model.step}"), store)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"tuner": "full", "quantize": "int8"}, "changes the base's weights"),
        ({"tuner": "freeze", "freeze": {"blocks": 9}}, "has 2 blocks"),
        ({"tuner": "ia3", "ia3": {"targets": ("nothing",)}}, "'nothing'"),
        ({"tuner": "prefix", "prefix": {"tokens": 300}}, "leaves no room"),
    ],
)
def test_what_cannot_be_trained_makes_no_run(
    store: Store, recipe: Recipe, values: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        train(recipe(**values), store)
    assert store.list(Run) == []


def test_full_tuning_computes_in_bfloat16_and_keeps_float32(
    store: Store, recipe: Recipe, tmp_path: Path
) -> None:
    from safetensors.torch import load_file

    model = train(recipe(tuner="freeze", freeze={"blocks": 1}, precision="bfloat16"), store)
    steps = steps_of(store, model.run)
    assert steps[-1]["loss"] < steps[0]["loss"]
    (path,) = store.folder(Model, model.id).glob("*.safetensors")
    tensors = load_file(path)
    assert {tensor.dtype for tensor in tensors.values()} == {torch.float32}
    assert any((t != t.bfloat16().float()).any() for t in tensors.values())
