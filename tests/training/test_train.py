"""The stage: it learns, leaves a run and a model, and says what it did."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from statistics import mean

import pytest
import torch
from safetensors.torch import load_file, save_file

from tunewright.config.training import TrainConfig
from tunewright.core.errors import DataError, InputError, NotFoundError, TrainingError
from tunewright.core.events import Event
from tunewright.core.files import sha256_file
from tunewright.core.messages import Row
from tunewright.core.records import Dataset, Model, Run
from tunewright.core.store import Store
from tunewright.training.checkpoints import list_checkpoints
from tunewright.training.history import read_history, run_is_alive
from tunewright.training.train import resume, train

Recipe = Callable[..., TrainConfig]


def only_run(store: Store) -> Run:
    (run,) = store.list(Run)
    return run


def test_it_learns_and_leaves_a_run_and_a_model(store: Store, recipe: Recipe) -> None:
    events: list[Event] = []
    model = train(recipe(epochs=8, suffix="Shop-1"), store, events.append)
    run = only_run(store)
    folder = store.folder(Run, run.id)

    steps = read_history(folder)
    assert steps == [event.data for event in events if event.kind == "step"]
    assert [step["step"] for step in steps] == list(range(1, steps[0]["steps"] + 1))
    # A random base with a fixed, random head cannot learn much; it must learn something.
    assert mean(step["loss"] for step in steps[-5:]) < steps[0]["loss"] - 0.3
    assert all(step["grad_norm"] > 0 for step in steps)
    assert steps[-1]["epoch"] == 8
    assert steps[-1]["eta_seconds"] == 0

    assert run.state == "succeeded"
    summary = run.summary
    assert summary["steps"] == len(steps)
    assert summary["trained_tokens"] == steps[-1]["tokens"]
    assert summary["tokens_per_second"] > 0
    assert summary["first_step_seconds"] > 0
    assert summary["peak_memory_bytes"] > 1e7
    losses = {e["step"]: e["loss"] for e in read_history(folder, "validation")}
    assert summary["valid_loss"] == min(losses.values()) == losses[model.step]
    assert not run_is_alive(folder)

    assert model.name == f"ft:tiny:local:shop-1:{run.id[4:10]}"
    assert store.get(Model, model.name) == store.get(Model, model.id)
    assert store.children(run.id) == [model.id]
    published = store.folder(Model, model.id) / "adapter_model.safetensors"
    best = folder / summary["best_checkpoint"] / "adapter" / "adapter_model.safetensors"
    assert sha256_file(published) == sha256_file(best)
    assert events[-1].kind == "done"
    assert events[-1].data["id"] == model.id


def test_the_plan_comes_first_and_adds_up(store: Store, recipe: Recipe) -> None:
    events: list[Event] = []
    train(recipe(max_steps=1), store, events.append)
    plan = events[0]
    assert plan.kind == "plan"
    # Two layers, seven linear layers each, rank 4, hidden 64, MLP 128, heads 4 (2 kv) of 16.
    sizes = ((64, 64), (64, 32), (64, 32), (64, 64), (64, 128), (64, 128), (128, 64))
    assert plan.data["trainable"] == 2 * sum(4 * (a + b) for a, b in sizes)
    assert plan.data["run"] == only_run(store).id
    assert (plan.data["rows"], plan.data["dev_rows"], plan.data["steps"]) == (24, 4, 1)
    assert f"trainable params: {plan.data['trainable']:,} of" in plan.data["lines"][0]


def test_the_learning_rate_has_a_default_with_a_reason(store: Store, recipe: Recipe) -> None:
    events: list[Event] = []
    train(recipe(max_steps=1, optimizer={}), store, events.append)
    assert events[0].data["learning_rate"] == 3e-3
    assert "parameters" in events[0].data["learning_rate_reason"]


def test_without_a_dev_split_the_last_checkpoint_is_the_best(
    store: Store, recipe: Recipe, new_dataset: Callable[..., Dataset], rows: list[Row]
) -> None:
    dataset = new_dataset(rows[:6], [], "nodev")
    model = train(recipe(dataset=dataset.id, max_steps=3, suffix=None), store)
    run = only_run(store)
    assert model.step == 3
    assert model.name.split(":")[3] == "nodev"
    assert run.summary["valid_loss"] is None
    assert run.summary["best_checkpoint"] == "checkpoints/step-00000003"


def test_only_the_newest_and_the_best_checkpoints_stay(store: Store, recipe: Recipe) -> None:
    train(recipe(max_steps=9, save_steps=2, eval_steps=100, keep_checkpoints=1), store)
    run = only_run(store)
    left = list_checkpoints(store.folder(Run, run.id) / "checkpoints")
    assert [path.name for path in left] == ["step-00000009"]


def test_a_dataset_without_answers_makes_no_run(
    store: Store, recipe: Recipe, new_dataset: Callable[..., Dataset], rows: list[Row]
) -> None:
    asked = [row.model_copy(update={"conversation": row.conversation.prompt()}) for row in rows]
    with pytest.raises(DataError, match="no training row holds an answer"):
        train(recipe(dataset=new_dataset(asked, [], "mute").id), store)
    assert store.list(Run) == []


def test_unknown_names_make_no_run(store: Store, recipe: Recipe) -> None:
    with pytest.raises(NotFoundError, match="nowhere"):
        train(recipe(dataset="nowhere"), store)
    with pytest.raises(InputError, match="no such folder"):
        train(recipe(base="./nowhere"), store)
    assert store.list(Run) == []


def test_a_finished_run_is_not_resumed(store: Store, recipe: Recipe) -> None:
    train(recipe(max_steps=1), store)
    with pytest.raises(InputError, match="is finished"):
        resume("latest", store)


def test_a_loss_that_is_no_number_stops_the_run_and_names_the_row(
    store: Store,
    recipe: Recipe,
    tiny_base: Path,
    tmp_path: Path,
    new_dataset: Callable[..., Dataset],
    rows: list[Row],
) -> None:
    poisoned = tmp_path / "poisoned"
    shutil.copytree(tiny_base, poisoned)
    untie(poisoned)
    spoil(poisoned, "#")
    bad = rows[3].model_copy(
        update={"conversation": rows[3].conversation.model_copy(update=_message("fox # dog"))}
    )
    dataset = new_dataset([*rows[:3], bad, *rows[4:]], [], "poisoned")
    config = recipe(dataset=dataset.id, base=str(poisoned), save_steps=1, seed=1, epochs=1)
    with pytest.raises(TrainingError, match=r"loss nan.*: rows\.csv row 5\n") as failure:
        train(config, store)
    assert "learning_rate" in failure.value.hint
    run = only_run(store)
    assert run.state == "failed"
    assert "rows.csv row 5" in str(run.error)
    done = len(read_history(store.folder(Run, run.id)))
    kept = list_checkpoints(store.folder(Run, run.id) / "checkpoints")
    assert done > 0
    assert kept[0].name == f"step-{done:08d}"


def _message(text: str) -> dict[str, object]:
    from tunewright.core.messages import conversation

    return {"messages": conversation(("user", text), ("assistant", "dog")).messages}


def untie(folder: Path) -> None:
    """Give the head its own weights, so that one input token can be spoilt alone."""
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "tie_word_embeddings": False}))
    weights = load_file(folder / "model.safetensors")
    weights["lm_head.weight"] = weights["model.embed_tokens.weight"].clone()
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def spoil(folder: Path, token: str) -> None:
    """Make one token's embedding not a number."""
    from tokenizers import Tokenizer

    index = Tokenizer.from_file(str(folder / "tokenizer.json")).token_to_id(token)
    weights = load_file(folder / "model.safetensors")
    weights["model.embed_tokens.weight"][index] = torch.nan
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
