"""Methods that learn from their own graded answers: the whole road, on tiny models."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from pathlib import Path
from statistics import mean
from typing import Any

import pytest
from tests.grading.conftest import Judge, judge, refuses, says
from tests.training.conftest import make_rows
from tests.training.rated import keep, preferences

from tunewright.config.training import TrainConfig
from tunewright.core.errors import (
    ConfigError,
    DataError,
    EndpointError,
    InputError,
    Interrupted,
)
from tunewright.core.events import Event
from tunewright.core.files import sha256_file
from tunewright.core.messages import Row, Source, conversation
from tunewright.core.records import Dataset, Model, Run
from tunewright.core.store import Store
from tunewright.training.history import read_history
from tunewright.training.rollout_log import RolloutLog
from tunewright.training.train import resume, train

__all__ = ["judge"]

Recipe = Callable[..., TrainConfig]
LETTER = {
    "type": "multi",
    "graders": {
        "letter": {"type": "regex", "pattern": "e"},
        "short": {"type": "length", "maximum": 20},
    },
    "calculate_output": "letter + 0.2 * short",
}
RL: dict[str, Any] = {"prompts": 4, "group": 8, "max_new_tokens": 8, "beta": 0.0}
FAST: dict[str, Any] = {
    "tuner": "full",
    "epochs": None,
    "max_steps": 20,
    "optimizer": {"learning_rate": 1e-2, "warmup": 0},
}
STEP_METRICS = {
    "reward", "reward_std", "no_spread", "completion_tokens", "truncated", "entropy",
    "clip_share", "rewards/letter", "rewards/short",
}  # fmt: skip


@pytest.fixture
def asked(store: Store) -> Dataset:
    """12 questions to learn on and 3 to watch."""
    return keep(store, "conversation", make_rows(12), make_rows(3, first=100))


@pytest.fixture
def rl_recipe(recipe: Recipe, asked: Dataset) -> Recipe:
    """Recipes of grpo on those questions."""

    def build(rl: dict[str, Any] | None = None, **values: Any) -> TrainConfig:
        options = {"dataset": asked.id, "method": "grpo", **FAST, **values}
        return recipe(rl={**RL, "grader": LETTER, **(rl or {})}, **options)

    return build


def run_of(store: Store, model: Model) -> Path:
    return store.folder(Run, model.run)


def rewards_of(folder: Path) -> list[float]:
    return [step["metrics"]["reward"] for step in read_history(folder)]


@pytest.mark.parametrize(
    ("method", "group", "rl", "metrics"),
    [
        ("grpo", {}, {"beta": 0.01}, {"kl"}),
        ("grpo", {"loss": "dr_grpo", "scale": "none"}, {"iterations": 2}, set()),
        ("rloo", {}, {"beta": 0.01}, {"kl"}),
    ],
)
def test_it_learns_what_is_rewarded(
    store: Store,
    rl_recipe: Recipe,
    method: str,
    group: dict[str, Any],
    rl: dict[str, Any],
    metrics: set[str],
) -> None:
    events: list[Event] = []
    config = rl_recipe(rl, method=method, eval_steps=10, watch={"preview": 2}, **{method: group})
    model = train(config, store, events.append)
    folder = run_of(store, model)
    rewards = rewards_of(folder)
    assert mean(rewards[:3]) < 0.6
    assert mean(rewards[-3:]) > 0.9
    for step in read_history(folder):
        assert step["metrics"].keys() >= STEP_METRICS - {"entropy", "clip_share"}
    learnt = [step for step in read_history(folder) if step["metrics"]["no_spread"] < 1]
    assert all(step["metrics"].keys() >= STEP_METRICS | metrics for step in learnt)
    assert all(step["grad_norm"] > 0 for step in learnt)

    validations = read_history(folder, "validation")
    assert [one["step"] for one in validations] == [0, 10, 20]
    assert all(one["loss"] == -one["metrics"]["reward"] for one in validations)
    assert validations[-1]["metrics"]["reward"] > validations[0]["metrics"]["reward"] + 0.5
    assert model.step == min(validations[1:], key=lambda one: one["loss"])["step"]
    samples = [event.data for event in events if event.kind == "sample" and event.data["step"]]
    assert len(samples) == 2 * 2
    assert "e" in samples[-1]["answer"]
    assert samples[-1]["reward"] > 1

    lines = [json.loads(line) for line in (folder / "rollouts.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == sorted([*range(1, 21)] * 2)
    assert len(lines[0]["answers"]) == 8
    assert lines[0]["answers"][0].keys() == {"text", "reward", "scores", "errors", "finished"}
    plan = next(event.data for event in events if event.kind == "plan")
    assert "4 questions with 8 answers of up to 8 tokens each" in "\n".join(plan["lines"])


def answered(row: Row, better: str, worse: str) -> Row:
    """A pair of these answers."""
    *asked, good = row.conversation.messages
    (bad,) = row.rejected
    good = good.model_copy(update={"content": better})
    talk = row.conversation.model_copy(update={"messages": (*asked, good)})
    return row.model_copy(
        update={"conversation": talk, "rejected": (bad.model_copy(update={"content": worse}),)}
    )


def test_from_preferences_to_a_tuned_policy(store: Store, recipe: Recipe) -> None:
    """A model that answers now well, now badly; a reward model from pairs; a better policy."""
    good, bad = "约定 fox.", "押金 dog."
    pairs = [answered(row, good, bad) for row in preferences(24)]
    mixed = [
        answered(row, (good, bad)[number % 2], bad).model_copy(update={"rejected": ()})
        for number, row in enumerate(preferences(24))
    ]
    rated = keep(store, "preference", pairs[:20], pairs[20:])
    talks = keep(store, "conversation", mixed)
    base = train(recipe(dataset=talks.id, tuner="full", epochs=6, batch_tokens=400), store)
    judged = train(
        recipe(dataset=rated.id, base=base.name, method="reward", epochs=4, batch_tokens=400), store
    )
    valid = read_history(run_of(store, judged), "validation")
    assert valid[-1]["metrics"]["accuracy"] == 1

    grader = {"type": "reward_model", "model": judged.name}
    config = recipe(
        dataset=rated.id,
        base=base.name,
        method="grpo",
        epochs=None,
        max_steps=10,
        rl={**RL, "grader": grader, "beta": 0.001},
        optimizer={"learning_rate": 1e-2, "warmup": 0},
    )
    model = train(config, store)
    run = store.get(Run, model.run)
    assert run.config["rl"]["grader"]["model"] == judged.id
    assert run.start == base.id
    rewards = rewards_of(run_of(store, model))
    assert mean(rewards[-3:]) > mean(rewards[:2]) + 0.8


def test_a_resumed_run_draws_and_learns_the_same(store: Store, rl_recipe: Recipe) -> None:
    config = rl_recipe(
        {"beta": 0.05, "iterations": 2, "prompts": 2, "group": 4},
        tuner="lora", lora={"dropout": 0.1}, max_steps=7, save_steps=3, eval_steps=4,
        watch={"preview": 1},
    )  # fmt: skip

    def stop(event: Event) -> None:
        if event.kind == "step" and event.data["step"] == 5:
            signal.raise_signal(signal.SIGTERM)

    whole = train(config, store)
    with pytest.raises(Interrupted, match="after step 5"):
        train(config, store, stop)
    (part,) = [run for run in store.list(Run) if run.state == "stopped"]
    events: list[Event] = []
    rest = resume(part.id, store, events.append)
    assert next(e.data["step"] for e in events if e.kind == "step") == 6
    one, other = run_of(store, whole), run_of(store, rest)
    for kind in ("step", "validation"):
        pairs = zip(read_history(one, kind), read_history(other, kind), strict=True)
        for mine, theirs in pairs:
            assert mine["loss"] == theirs["loss"]
            assert mine["metrics"] == theirs["metrics"]
            assert mine.get("grad_norm") == theirs.get("grad_norm")
    hashes = [
        sha256_file(store.folder(Model, model.id) / "adapter_model.safetensors")
        for model in (whole, rest)
    ]
    assert hashes[0] == hashes[1]
    assert (one / "rollouts.jsonl").read_bytes() == (other / "rollouts.jsonl").read_bytes()


@pytest.mark.parametrize("tuner", ["lora", "prefix", "full"])
def test_the_divergence_begins_at_nothing(store: Store, rl_recipe: Recipe, tuner: str) -> None:
    """What the model is held to is what it was, whatever is trained."""
    config = rl_recipe({"beta": 0.1}, tuner=tuner, max_steps=3)
    steps = read_history(run_of(store, train(config, store)))
    assert steps[0]["metrics"]["kl"] == pytest.approx(0, abs=1e-7)
    assert steps[-1]["metrics"]["kl"] > 1e-6


def test_it_ends_when_the_reward_rises_no_more(store: Store, rl_recipe: Recipe) -> None:
    grader = {"type": "length", "maximum": 10_000}
    events: list[Event] = []
    config = rl_recipe({"grader": grader}, eval_steps=2, watch={"patience": 2, "preview": 0})
    model = train(config, store, events.append)
    steps = read_history(run_of(store, model))
    assert (len(steps), model.step) == (6, 2)
    # Every answer is worth 1: there is nothing to learn, and nothing is.
    assert all(step["metrics"]["no_spread"] == 1 for step in steps)
    assert all(step["loss"] == 0 and step["grad_norm"] == 0 for step in steps)
    assert any(event.kind == "stopped_early" for event in events)


def test_a_judge_that_goes_away_loses_nothing(
    store: Store,
    rl_recipe: Recipe,
    judge: Judge,
) -> None:
    grader = {
        "type": "score_model",
        "model": "judge-1",
        "endpoint": judge.url,
        "input": [{"role": "user", "content": "{{ item.question }} {{ sample.output_text }}"}],
        "limits": {"retries": 0},
    }
    judge.rule = lambda body: says(f"{len(body['messages'][-1]['content']) % 7 / 7}")

    def listen(event: Event) -> None:
        if event.kind == "step" and event.data["step"] == 2:
            judge.rule = lambda body: refuses(401, "the key was withdrawn")

    config = rl_recipe({"grader": grader}, max_steps=4, eval_steps=50)
    with pytest.raises(EndpointError, match="withdrawn") as caught:
        train(config, store, listen)
    (run,) = store.list(Run)
    assert f"tunewright train --resume {run.id}" in caught.value.hint
    judge.rule = lambda body: says("0.5")
    events: list[Event] = []
    resume(run.id, store, events.append)
    assert [e.data["step"] for e in events if e.kind == "step"] == [3, 4]


def test_answers_without_a_grade_are_left_out(
    store: Store,
    rl_recipe: Recipe,
    judge: Judge,
) -> None:
    grader = {
        "type": "score_model",
        "model": "judge-1",
        "endpoint": judge.url,
        "input": [{"role": "user", "content": "{{ sample.output_text }}"}],
        "limits": {"retries": 0, "concurrency": 1},
    }
    asked = 0

    def rule(body: dict[str, Any]) -> Any:
        nonlocal asked
        asked += 1
        return refuses(400, "filtered") if asked % 4 == 0 else says(f"{asked % 3 / 2}")

    judge.rule = rule
    config = rl_recipe({"grader": grader, "prompts": 2}, max_steps=2, eval_steps=50)
    model = train(config, store)
    steps = read_history(run_of(store, model))
    assert steps[0]["metrics"]["ungraded"] == pytest.approx(0.25, abs=0.07)
    assert steps[0]["grad_norm"] > 0


# Refusals --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rl", "values", "error", "message"),
    [
        ({"grader": None}, {}, ConfigError, "needs? a grader|none is named"),
        ({}, {"optimizer": {"auto": True}}, ConfigError, "optimizer.auto"),
        (
            {"grader": {"type": "reward_model", "model": "ft:none"}},
            {}, InputError, "neither a base",
        ),
        (
            {"grader": {"type": "string_check", "reference": "{{ item.anwser }}"}},
            {}, ConfigError, "item.anwser",
        ),
        (
            {"grader": {"type": "string_check", "reference": "{{ item.slice }}"}},
            {}, DataError, "row 2 has no slice",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_graded_makes_no_run(
    store: Store,
    rl_recipe: Recipe,
    rl: dict[str, Any],
    values: dict[str, Any],
    error: type[Exception],
    message: str,
) -> None:
    with pytest.raises(error, match=message):
        train(rl_recipe(rl, **values), store)
    assert store.list(Run) == []


def test_a_question_that_leaves_no_room_is_named(store: Store, recipe: Recipe) -> None:
    long = Row(
        conversation=conversation(("user", "押金 " * 300)),
        source=Source(file="long.csv", row=7),
        group="0",
    )
    dataset = keep(store, "conversation", [*make_rows(2), long])
    config = recipe(
        dataset=dataset.id, method="rloo", rl={"grader": {"type": "length", "maximum": 5}}
    )
    with pytest.raises(DataError, match=r"long\.csv, row 7"):
        train(config, store)


def test_a_grader_is_read_from_a_file_and_kept(
    store: Store, rl_recipe: Recipe, tmp_path: Path
) -> None:
    path = tmp_path / "grader.json"
    path.write_text(json.dumps(LETTER), encoding="utf-8")
    config = rl_recipe({"grader": str(path)}, max_steps=1)
    path.unlink()
    model = train(config, store)
    assert store.get(Run, model.run).config["rl"]["grader"]["type"] == "multi"


def test_the_log_of_answers_is_bounded(tmp_path: Path) -> None:
    log = RolloutLog(tmp_path, most_bytes=20_000)
    for step in range(30):
        log.append(step, [{"question": "q", "answers": [{"text": "押" * 9000}]}])
    files = sorted(path.name for path in tmp_path.iterdir())
    assert files == ["rollouts.1.jsonl", "rollouts.jsonl"]
    assert all((tmp_path / name).stat().st_size <= 20_000 for name in files)
    last = json.loads((tmp_path / "rollouts.jsonl").read_text("utf-8").splitlines()[-1])
    assert last["step"] == 29
    assert len(last["answers"][0]["text"]) == 2000


@pytest.mark.parametrize("rl", [{}, {"beta": 0.1, "iterations": 2}])
def test_answers_learnt_in_parts_teach_the_same(
    store: Store, rl_recipe: Recipe, rl: dict[str, Any]
) -> None:
    found = []
    for most in (4096, 64):
        memory = {"micro_tokens": most}
        run = run_of(store, train(rl_recipe(rl, max_steps=3, memory=memory), store))
        found.append([(one["loss"], one["grad_norm"]) for one in read_history(run)])
    for whole, parts in zip(*found, strict=True):
        assert parts == pytest.approx(whole, abs=1e-5)
