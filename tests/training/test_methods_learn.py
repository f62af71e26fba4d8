"""Every method runs from rows to a tuned model, learns, and tells what it watches."""

from __future__ import annotations

import math
import signal
from collections.abc import Callable
from pathlib import Path
from statistics import mean
from typing import Any

import pytest
import torch
from tests.training.conftest import make_rows
from tests.training.rated import keep, passages, preferences, ratings

from tunewright.config.training import TrainConfig
from tunewright.core.errors import DataError, Interrupted, ModelError
from tunewright.core.events import Event
from tunewright.core.files import sha256_file
from tunewright.core.messages import RowKind
from tunewright.core.records import Dataset, Model, Run
from tunewright.core.store import Store
from tunewright.model.generation import load_many
from tunewright.model.references import resolve
from tunewright.model.reward import load_reward_model, score
from tunewright.model.tuners.files import head_file
from tunewright.training.history import read_history
from tunewright.training.train import resume, train

Recipe = Callable[..., TrainConfig]
MAKERS: dict[RowKind, Callable[[int, int], Any]] = {
    "conversation": lambda count, seed: make_rows(count, first=100 * seed),
    "preference": preferences,
    "rating": ratings,
    "text": passages,
}
METRICS = {"rewards/chosen", "rewards/rejected", "margin", "accuracy"}


def rows_of(store: Store, kind: RowKind, count: int = 12) -> Dataset:
    make = MAKERS[kind]
    return keep(store, kind, make(count, 0), make(4, 1))


def run_of(store: Store, model: Model) -> Path:
    return store.folder(Run, model.run)


@pytest.mark.parametrize(
    ("method", "kind", "group", "metrics", "told"),
    [
        ("sft", "conversation", {"loss_on": "all"}, set(), {"token_accuracy"}),
        ("sft", "conversation", {"loss_on": "last"}, set(), {"token_accuracy"}),
        ("pretrain", "text", {}, set(), {"token_accuracy"}),
        ("dpo", "preference", {}, METRICS, METRICS),
        ("dpo", "preference", {"loss": "ipo"}, METRICS, METRICS),
        ("dpo", "preference", {"loss": "hinge"}, METRICS, METRICS),
        ("dpo", "preference", {"rpo_alpha": 1, "label_smoothing": 0.1}, METRICS, METRICS),
        ("orpo", "preference", {}, METRICS, METRICS),
        ("orpo", "preference", {"loss_on": "answer"}, METRICS, METRICS),
        ("simpo", "preference", {}, METRICS, METRICS),
        ("reward", "preference", {}, METRICS, METRICS),
        ("kto", "rating", {}, {"kl"}, {"kl", "rewards/chosen", "rewards/rejected"}),
        ("kto", "preference", {}, {"kl"}, {"kl", "rewards/chosen", "rewards/rejected"}),
    ],
)
def test_it_learns(
    store: Store,
    recipe: Recipe,
    method: str,
    kind: RowKind,
    group: dict[str, Any],
    metrics: set[str],
    told: set[str],
) -> None:
    dataset = rows_of(store, kind)
    events: list[Event] = []
    options = {method: group} if group else {}
    config = recipe(
        dataset=dataset.id, method=method, epochs=6, batch_tokens=400, eval_steps=8, **options
    )
    model = train(config, store, events.append)

    steps = read_history(run_of(store, model))
    assert all(math.isfinite(step["loss"]) for step in steps)
    assert all(step["grad_norm"] > 0 for step in steps)
    first, last = steps[: len(steps) // 4], steps[-(len(steps) // 4) :]
    assert mean(s["loss"] for s in last) < mean(s["loss"] for s in first) - 0.02
    assert all(metrics <= step["metrics"].keys() for step in steps)
    validation = read_history(run_of(store, model), "validation")
    assert validation
    assert told <= validation[-1]["metrics"].keys()
    if metrics >= METRICS:
        assert mean(s["metrics"]["margin"] for s in last) > mean(
            s["metrics"]["margin"] for s in first
        )
    plan = next(event.data for event in events if event.kind == "plan")
    assert (plan["method"], plan["rows"], plan["dev_rows"]) == (method, 12, 4)


@pytest.mark.parametrize("tuner", ["lora", "full", "freeze", "ia3", "bottleneck", "prefix"])
def test_every_tuner_is_held_to_what_the_base_says(
    store: Store, recipe: Recipe, tuner: str
) -> None:
    """Before the first update a tuned model says what the base says: the loss is log 2."""
    dataset = rows_of(store, "preference", 4)
    events: list[Event] = []
    config = recipe(
        dataset=dataset.id,
        method="dpo",
        tuner=tuner,
        max_steps=2,
        batch_tokens=2000,
        freeze={"blocks": 1},
    )
    train(config, store, events.append)
    step = next(event.data for event in events if event.kind == "step")
    if tuner == "prefix":
        # A new prefix is random: it already changes what the model says, the base does not know it.
        assert abs(step["metrics"]["rewards/chosen"]) > 1e-4
    else:
        assert step["loss"] == pytest.approx(math.log(2), abs=1e-5)
        assert step["metrics"]["rewards/chosen"] == pytest.approx(0, abs=1e-4)
    done = [event.data for event in events if event.data.get("stage") == "reference"]
    assert done[-1]["done"] == done[-1]["total"] == 2 * (4 + 4)


@pytest.mark.parametrize("tuner", ["lora", "full"])
def test_preferences_on_top_of_answers_are_held_to_the_tuned_model(
    store: Store, recipe: Recipe, dataset: Dataset, tuner: str
) -> None:
    answers = train(recipe(max_steps=4, tuner=tuner, dataset=dataset.id), store)
    pairs = rows_of(store, "preference", 4)
    events: list[Event] = []
    config = recipe(
        dataset=pairs.id, base=answers.id, method="dpo", tuner=tuner, max_steps=1, batch_tokens=2000
    )
    train(config, store, events.append)
    (step,) = [event.data for event in events if event.kind == "step"]
    assert step["loss"] == pytest.approx(math.log(2), abs=1e-5)


# Resume ----------------------------------------------------------------------------------------


def losses(store: Store, run: str) -> list[tuple[int, float, float]]:
    steps = read_history(store.folder(Run, run))
    return [(step["step"], step["loss"], step["grad_norm"]) for step in steps]


def hashes(store: Store, model: Model) -> dict[str, str]:
    folder = store.folder(Model, model.id)
    return {
        path.relative_to(folder).as_posix(): sha256_file(path)
        for path in sorted(folder.rglob("*.safetensors"))
    }


@pytest.mark.parametrize(
    ("method", "kind", "tuner"),
    [
        ("dpo", "preference", "lora"),
        ("kto", "rating", "lora"),
        ("dpo", "preference", "full"),
        ("reward", "preference", "lora"),
        ("reward", "preference", "full"),
    ],
)
def test_an_interrupted_run_goes_on_bit_for_bit(
    store: Store, recipe: Recipe, method: str, kind: RowKind, tuner: str
) -> None:
    dataset = rows_of(store, kind)
    config = recipe(
        dataset=dataset.id,
        method=method,
        tuner=tuner,
        lora={"rank": 4, "dropout": 0.2},
        epochs=3,
        batch_tokens=300,
        seed=5,
    )
    whole = train(config, store)

    def press(event: Event) -> None:
        if event.kind == "step" and event.data["step"] == 6:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(Interrupted):
        train(config, store, press)
    run = store.list(Run)[0]
    model = resume(run.id, store)
    assert losses(store, run.id) == losses(store, whole.run)
    assert hashes(store, model) == hashes(store, whole)


def test_a_stop_before_the_first_step_is_told_apart(store: Store, recipe: Recipe) -> None:
    dataset = rows_of(store, "preference")

    def press(event: Event) -> None:
        if event.kind == "progress" and event.data["stage"] == "reference":
            signal.raise_signal(signal.SIGINT)

    config = recipe(dataset=dataset.id, method="dpo", max_steps=2, batch_tokens=200)
    with pytest.raises(Interrupted, match="before the first step"):
        train(config, store, press)
    run = store.list(Run)[0]
    assert run.state == "stopped"
    assert resume(run.id, store).step == 2


# Defaults and refusals -------------------------------------------------------------------------


def test_rates_and_epochs_depend_on_the_method(store: Store, recipe: Recipe) -> None:
    found = {}
    for method, kind in (("sft", "conversation"), ("dpo", "preference"), ("kto", "rating")):
        events: list[Event] = []
        dataset = rows_of(store, kind)  # type: ignore[arg-type]
        config = recipe(
            dataset=dataset.id, method=method, epochs=None, optimizer={}, batch_tokens=2000
        )
        train(config, store, events.append)
        found[method] = next(event.data for event in events if event.kind == "plan")
    assert found["sft"]["learning_rate"] == 3e-3
    assert (found["sft"]["epochs"], found["dpo"]["epochs"], found["kto"]["epochs"]) == (10, 1, 1)
    assert found["dpo"]["learning_rate"] == pytest.approx(1e-4)
    assert found["dpo"]["learning_rate_reason"].startswith("1/30 × default for 0M parameters")
    assert found["dpo"]["learning_rate_reason"].endswith("; dpo: measured on the bundled base")
    assert any(note.startswith("1 epochs by default: ") for note in found["dpo"]["notes"])


@pytest.mark.parametrize(
    ("method", "kind", "learns", "way"),
    [
        ("dpo", "conversation", "pairs of a better and a worse answer", "--method sft"),
        ("pretrain", "conversation", "plain text", "--method sft"),
        ("kto", "text", "answers judged good or bad", "--method pretrain"),
        ("sft", "preference", "conversations", "--method dpo or kto or orpo or simpo or reward"),
    ],
)
def test_rows_of_another_kind_are_refused(
    store: Store, recipe: Recipe, method: str, kind: RowKind, learns: str, way: str
) -> None:
    dataset = rows_of(store, kind)
    with pytest.raises(DataError, match=f"learns from .*{learns}") as refused:
        train(recipe(dataset=dataset.id, method=method), store)
    assert way in refused.value.hint
    assert store.list(Run) == []


def test_one_rating_is_too_few(store: Store, recipe: Recipe) -> None:
    dataset = keep(store, "rating", ratings(1))
    with pytest.raises(DataError, match=r"has 1 training row to learn from; .* at least 2"):
        train(recipe(dataset=dataset.id, method="kto"), store)


# Reward models ---------------------------------------------------------------------------------


@pytest.mark.parametrize("tuner", ["lora", "full"])
def test_a_reward_model_scores_the_answers_that_it_learnt(
    store: Store, recipe: Recipe, tuner: str
) -> None:
    # Without rows to validate on, the last checkpoint is published.
    dataset = keep(store, "preference", preferences(16))
    config = recipe(
        dataset=dataset.id,
        method="reward",
        tuner=tuner,
        epochs=12,
        batch_tokens=600,
        optimizer={"learning_rate": 1e-2 if tuner == "lora" else 3e-3},
    )
    trained = train(config, store)
    model = load_reward_model(resolve(store, trained.id), torch.device("cpu"), torch.float32)
    rows = preferences(16)
    better = score(model, [row.conversation for row in rows])
    worse = score(
        model,
        [
            row.conversation.model_copy(
                update={"messages": (*row.conversation.messages[:-1], *row.rejected)}
            )
            for row in rows
        ],
    )
    assert better.shape == (16,)
    assert (better > worse).float().mean() > 0.8
    alone = torch.cat([score(model, [row.conversation]) for row in rows])
    torch.testing.assert_close(better, alone, rtol=0, atol=1e-5)
    assert score(model, []).shape == (0,)


def test_a_reward_model_goes_on_with_its_head(store: Store, recipe: Recipe) -> None:
    dataset = rows_of(store, "preference", 4)
    options = {"dataset": dataset.id, "method": "reward", "max_steps": 3}
    first = train(recipe(**options), store)
    again = train(recipe(**options, base=first.id, optimizer={"learning_rate": 1e-12}), store)
    device = torch.device("cpu")
    one, other = (
        load_reward_model(resolve(store, model.id), device, torch.float32)
        for model in (first, again)
    )
    assert again.folded == ()
    talks = [row.conversation for row in preferences(4)]
    torch.testing.assert_close(score(one, talks), score(other, talks), rtol=0, atol=1e-5)


def test_only_reward_models_score(
    store: Store, recipe: Recipe, dataset: Dataset, tiny_base: Path
) -> None:
    device = torch.device("cpu")
    with pytest.raises(ModelError, match="is a base, not a reward model"):
        load_reward_model(resolve(store, str(tiny_base)), device, torch.float32)
    answers = train(recipe(max_steps=1), store)
    with pytest.raises(ModelError, match=r"is no reward model: it has no reward/head\.safetensors"):
        load_reward_model(resolve(store, answers.id), device, torch.float32)
    pairs = rows_of(store, "preference", 4)
    reward = train(recipe(dataset=pairs.id, method="reward", max_steps=1), store)
    assert (reward.method, answers.method) == ("reward", "sft")
    # Neither chat, nor evaluate, nor serve may take its adapter for one that answers.
    with pytest.raises(ModelError, match="is a reward model") as refusal:
        load_many(store, [str(tiny_base), reward.name])
    assert str(tiny_base) in refusal.value.hint
    path = head_file(store.folder(Model, reward.id))
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(ModelError):
        load_reward_model(resolve(store, reward.id), device, torch.float32)


def test_scores_ask_for_an_answer_that_fits(store: Store, recipe: Recipe) -> None:
    pairs = rows_of(store, "preference", 4)
    trained = train(recipe(dataset=pairs.id, method="reward", max_steps=1), store)
    model = load_reward_model(resolve(store, trained.id), torch.device("cpu"), torch.float32)
    talk = preferences(1)[0].conversation
    with pytest.raises(DataError, match="conversation 1 does not end with an answer"):
        score(model, [talk, talk.prompt()])
    long = make_rows(1)[0].conversation
    wide = long.messages[-1].model_copy(update={"content": "fox " * 300})
    with pytest.raises(DataError, match=r"conversation 0 has \d+ tokens, .* at most 256"):
        score(model, [long.model_copy(update={"messages": (long.messages[0], wide)})])
