"""What deployments have lived through: over revisions, restarts, and clocks that are set."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from tunewright.config.deployment import CanaryConfig, DeployConfig, HealthConfig
from tunewright.core.deployments import (
    Signed,
    create_deployment,
    delete_deployment,
    keep_experience,
    kept_experience,
    revise,
    switch,
)
from tunewright.core.records import Deployment
from tunewright.core.store import Store
from tunewright.deployment.canary import Trial
from tunewright.deployment.experience import Experience, experiences
from tunewright.deployment.health import Health

ME = Signed("cli:me", "changed")
HEALTH = {"error_share": 0.5, "least": 4, "window": 60}
CANARY = {"model": "b", "percent": 10.0, "least": 4}


class Clock:
    """Time that a test moves."""

    def __init__(self, now: float) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize("seed", range(8))
def test_a_trial_that_is_broken_off_anywhere_ends_as_one_that_is_not(seed: int) -> None:
    draw = random.Random(seed)
    config = CanaryConfig(least=5, level=0.2)
    whole, broken = Trial(config), Trial(config)
    looks = 0
    for _ in range(400):
        tried = draw.random() < 0.3
        failed = draw.random() < (0.3 if tried else 0.2)
        for trial in (whole, broken):
            trial.note(tried, failed)
        if draw.random() < 0.3:
            state = json.loads(json.dumps(broken.state()))
            looks = max(looks, state["looks"])
            broken = Trial(config)
            broken.restore(state)
        assert broken.state() == whole.state()
    assert looks > 3, "the sequence went on over several looks"


def test_recent_requests_keep_their_age_over_a_restart() -> None:
    config = HealthConfig.build(HEALTH)
    clock, wall = Clock(500.0), Clock(1_000_000.0)
    health = Health(config, clock, wall)
    for seconds in (None, None, 0.25, None):
        health.note(seconds)
        clock.now += 10
        wall.now += 10
    complaint = health.complaint()
    assert complaint == "3 of 4 requests in 60 s got no answer"
    kept = json.loads(json.dumps(health.state()()))
    # Another process has another clock; 15 seconds went by without any.
    later, hours = Clock(7.0), Clock(wall.now + 15)
    again = Health(config, later, hours)
    again.restore(kept)
    assert again.complaint() == complaint
    later.now += 5.1
    assert again.complaint() is None, "the first was a minute ago"


def test_after_a_clock_was_set_back_requests_are_not_of_the_future() -> None:
    config = HealthConfig.build(HEALTH)
    clock, wall = Clock(500.0), Clock(1_000_000.0)
    health = Health(config, clock, wall)
    for _ in range(4):
        health.note(None)
    state = health.state()()
    again = Health(config, clock, Clock(wall.now - 3600))
    again.restore(state)
    clock.now += 59
    assert again.complaint() is not None
    clock.now += 2
    assert again.complaint() is None


def deployed(store: Store, **settings: Any) -> tuple[Deployment, Experience]:
    """A deployment with a health rule and a canary, and something lived through."""
    settings = DeployConfig.build(
        {"model": "a", "health": HEALTH, "canary": CANARY, **settings}
    ).model_dump(mode="json", exclude_unset=True)
    record = create_deployment(
        store,
        Deployment(
            id=Store.new_id(Deployment), name="clerk", settings=settings, change="created", by="me"
        ),
    )
    experience = Experience(record, DeployConfig.build(settings))
    assert experience.trial is not None
    for number in range(5):
        experience.health.note(0.1 if number else None)
        experience.trial.note(number % 2 == 0, False)
    keep_experience(store, {record.id: experience.state()})
    return record, experience


def counts(experience: Experience) -> tuple[int, int | None]:
    trial = experience.trial
    tried = None if trial is None else trial.model.requests + trial.canary.requests
    return len(experience.health.state()()), tried


def test_what_was_kept_comes_back(store: Store) -> None:
    record, experience = deployed(store)
    again = experiences(store)[record.id]
    assert counts(again) == counts(experience) == (5, 5)
    assert again.trial is not None
    assert experience.trial is not None
    assert again.trial.state() == experience.trial.state()


@pytest.mark.parametrize(
    ("changes", "left"),
    [([{"max_tokens": 7}], (5, 5)),
     ([{"canary": {**CANARY, "percent": 40.0}}], (5, 5)),
     ([{"canary": {**CANARY, "model": "c"}}], (5, 0)),
     ([{"model": "c"}], (5, 0)),
     ([{"canary": {}}], (5, None)),
     # Taken back and tried anew while no server ran.
     ([{"canary": {}}, {"canary": CANARY}], (5, 0)),
     ([{"health": {**HEALTH, "window": 30}}], (0, 5)),
     (["off"], (0, 5)), (["off", "on"], (0, 5))],
)  # fmt: skip
def test_what_changed_while_no_server_ran_ends_what_it_would_have_ended(
    store: Store, changes: list[Any], left: tuple[int, int | None]
) -> None:
    record, _ = deployed(store)
    for change in changes:
        if isinstance(change, str):
            switch(store, record.id, change == "on", ME)
        else:
            revise(store, record.id, ME, lambda r, c=change: {"settings": {**r.settings, **c}})
    assert counts(experiences(store)[record.id]) == left


def test_a_newer_state_takes_the_place_of_an_older_one_and_goes_with_its_deployment(
    store: Store,
) -> None:
    record, experience = deployed(store)
    experience.health.note(None)
    for _ in range(3):
        keep_experience(store, {record.id: experience.state()})
    assert len(kept_experience(store)[record.id]["health"]) == 6
    delete_deployment(store, record.id, ME)
    assert kept_experience(store) == {}
    # A server that has not heard of it yet.
    keep_experience(store, {record.id: experience.state()})
    assert kept_experience(store) == {}
