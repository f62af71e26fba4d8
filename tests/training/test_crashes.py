"""Killed at any point, also within a save: nothing is lost but the steps since the last save."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from tunewright.config.training import TrainConfig
from tunewright.core.store import Store
from tunewright.training.checkpoints import POINTS

Recipe = Callable[..., TrainConfig]

# One process imports torch once and forks a fresh one for every life of a run. A life ends by
# SIGKILL, which the process sends itself at its n-th point (an event or a point within a save) or
# gets from outside after a random time; the last life of a run is left to finish.
LIVES = """
import json, os, random, signal, sys, time
from pathlib import Path
import torch
import tunewright.training.assemble, tunewright.training.loop
from tunewright.config.training import TrainConfig
from tunewright.core.events import EventLog
from tunewright.core.files import sha256_file
from tunewright.core.records import Model, Run
from tunewright.core.settings import Settings
from tunewright.core.store import Store
from tunewright.training.checkpoints import newest_checkpoint
from tunewright.training.history import read_history, run_is_alive
from tunewright.training.train import resume, train

home, config = Path(sys.argv[1]), json.loads(sys.argv[2])
plan = json.loads(sys.argv[3])  # what ends each life: {"point": n}, {"named": name} or {"after": s}
torch.set_num_threads(1)

def opened():
    return Store(home, Settings(home=home, offline=True))

def live(run, end):
    seen = 0
    def passed(what):
        nonlocal seen
        seen += 1
        if seen == end.get("point") or what == end.get("named"):
            os.kill(os.getpid(), signal.SIGKILL)
    store = opened()
    if run is None:
        train(TrainConfig.build(config), store, passed, passed)
    else:
        resume(run, store, passed, passed)

def fork(run, end):
    child = os.fork()
    if child == 0:
        try:
            live(run, end)
        except BaseException as error:
            print(repr(error), file=sys.stderr)
            os._exit(1)
        os._exit(0)
    if "after" in end:
        time.sleep(end["after"])
        os.kill(child, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

def story(run):
    store = opened()
    (model,) = [model for model in store.list(Model) if model.run == run]
    steps = read_history(store.folder(Run, run))
    rows = read_history(store.folder(Run, run), "validation")
    return {
        "losses": [(s["step"], s["loss"], s["smoothed_loss"], s["grad_norm"]) for s in steps],
        "validations": [(v["step"], v["loss"]) for v in rows],
        "step": model.step,
        "adapter": sha256_file(store.folder(Model, model.id) / "adapter_model.safetensors"),
    }

def newest_run():
    return opened().list(Run)[0].id if opened().list(Run) else None

if fork(None, {}) != 0:
    sys.exit("the uninterrupted run failed")
expected, run, kills, stories = story(newest_run()), None, 0, []
known = {run.id for run in opened().list(Run)}
for end in [*plan, {}]:
    code = fork(run, end)
    kills += code == -signal.SIGKILL
    if code not in (0, -signal.SIGKILL):
        sys.exit(f"a life ended with {code} after {end}")
    fresh = [one.id for one in opened().list(Run) if one.id not in known]
    run = fresh[0] if fresh else None
    if run is None:
        continue  # killed before the run was there
    folder = opened().folder(Run, run)
    if run_is_alive(folder):
        sys.exit("a dead process still holds the run")
    events = EventLog(folder / "events.jsonl").read()
    told = [event.data["step"] for event in events if event.kind == "checkpoint"]
    found = newest_checkpoint(folder / "checkpoints")
    if told and (found is None or found.state.step < told[-1]):
        sys.exit(f"the checkpoint of step {told[-1]} is lost after {end}")
    if code == 0:
        stories.append(story(run))
        known.add(run)
        run = None
print(json.dumps({"expected": expected, "stories": stories, "kills": kills}))
"""


def live_through(store: Store, config: TrainConfig, plan: list[dict[str, Any]]) -> dict[str, Any]:
    """What was left after all those lives, beside an uninterrupted run."""
    done = subprocess.run(
        [sys.executable, "-c", LIVES, str(store.home), config.model_dump_json(), json.dumps(plan)],
        capture_output=True,
        text=True,
        timeout=1800,
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


@pytest.fixture
def config(recipe: Recipe) -> TrainConfig:
    """Dropout, shuffled packing, saves within epochs and at their edges, answers in between."""
    return recipe(
        epochs=3,
        save_steps=2,
        eval_steps=7,
        watch={"preview": 1},
        lora={"rank": 4, "dropout": 0.2},
        seed=5,
    )


def test_killed_at_points_within_steps_and_saves(store: Store, config: TrainConfig) -> None:
    plan = [{"point": 9}, {"named": "optimizer"}, {"named": "renamed"}]
    result = live_through(store, config, plan)
    assert result["kills"] == len(plan)
    assert result["stories"] == [result["expected"]]


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_killed_at_every_point_of_a_save_and_at_twenty_random_ones(
    store: Store, config: TrainConfig
) -> None:
    import random

    draw = random.Random(20)
    plan: list[dict[str, Any]] = [{"named": name} for name in POINTS]
    plan += [{"point": draw.randrange(1, 60)} for _ in range(20)]
    plan += [{"after": draw.uniform(0.05, 2.0)} for _ in range(10)]
    result = live_through(store, config, plan)
    assert result["kills"] >= len(POINTS) + 10
    assert result["stories"]
    assert all(one == result["expected"] for one in result["stories"])


def test_the_failpoints_are_those_of_the_list(store: Store, config: TrainConfig) -> None:
    from tunewright.training.train import train

    passed: list[str] = []
    train(config.model_copy(update={"max_steps": 2}), store, at=passed.append)
    assert passed[: len(POINTS)] == list(POINTS)
