"""A server that is stopped or killed knows afterwards how its deployments have fared."""

from __future__ import annotations

import signal
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from tunewright.core.deployments import history, kept_experience
from tunewright.core.store import Store
from tunewright.deployment.deploy import Order, deploy

from .conftest import PATIENCE, Server, eventually, start_server
from .strange_server import Strange, strange


@dataclass
class World:
    """Two others, and the server that knows them, of which there may be several in turn."""

    home: Path
    store: Store
    one: Strange
    two: Strange
    servers: list[Server] = field(default_factory=list)

    def serve(self) -> Server:
        others = {"one": self.one.upstream(), "two": self.two.upstream()}
        self.servers.append(
            start_server(self.home, upstreams=others, jobs={"slots": 0}, timeout=20)
        )
        return self.servers[-1]

    def ask(self, *users: str, of: str = "clerk") -> Counter[str]:
        """Ask in the names of these users; who answered, or the status."""
        seen: Counter[str] = Counter()
        for user in users:
            reply = self.servers[-1].chat(model=of, user=user)
            served = reply.headers.get("x-tunewright-served-by", "").rpartition("/")[2]
            seen[served or str(reply.status_code)] += 1
        return seen

    def standing(self) -> dict[str, Any]:
        reply = httpx.get(f"{self.servers[-1].url}/v1/deployments/clerk", timeout=PATIENCE)
        standing: dict[str, Any] = reply.json()["standing"]
        return standing

    def tried(self) -> tuple[int, int]:
        """Requests of model and canary."""
        standing = self.standing()
        return standing["model"]["requests"], standing["canary"]["requests"]

    def kept(self) -> int:
        """Requests that the store knows of."""
        found = list(kept_experience(self.store).values())
        arms = (
            [found[0]["trial"][name]["requests"] for name in ("model", "canary")] if found else []
        )
        return sum(arms)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with strange("one") as one, strange("two") as two:
        store = Store(tmp_path / "home")
        made = World(tmp_path / "home", store, one, two)
        try:
            yield made
        finally:
            for server in made.servers:
                server.stop(signal.SIGKILL)
            store.close()


def names(count: int) -> list[str]:
    return [f"user {number}" for number in range(count)]


def test_counts_of_a_canary_go_on_after_a_stop_and_after_a_kill(world: World) -> None:
    canary = {"model": "upstream:two", "percent": 50, "least": 60}
    deploy(world.store, Order("clerk", {"model": "upstream:one", "canary": canary}))
    world.serve()
    seen = world.ask(*names(20))
    assert set(seen) == {"one", "two"}
    assert world.tried() == (seen["one"], seen["two"])
    assert world.servers[-1].stop() == 0
    world.serve()
    assert world.tried() == (seen["one"], seen["two"]), "a stop loses nothing"
    # Whoever met the canary before meets it again.
    assert world.ask(*names(20)) == seen
    assert eventually(lambda: world.kept() == 40)
    world.ask(*names(3))
    world.servers[-1].stop(signal.SIGKILL)
    world.serve()
    assert 40 <= sum(world.tried()) <= 43, "a kill loses the last second at most, and doubles none"


@pytest.mark.slow
def test_rules_go_on_where_they_were(world: World) -> None:
    """A canary is judged at the look it was due for; failures before the restart count with those
    after it."""
    canary = {"model": "upstream:two", "percent": 50, "least": 12}
    health = {"error_share": 0.9, "least": 10, "window": 600, "probe_seconds": 600}
    deploy(world.store, Order("clerk", {"model": "upstream:one", "canary": canary}))
    deploy(world.store, Order("frail", {"model": "upstream:two", "health": health}))
    world.serve()
    world.two.mode = "500"
    users = names(400)
    while world.tried()[1] < 11:
        world.ask(users.pop())
    assert world.ask(*names(7), of="frail") == {"500": 7}
    world.servers[-1].stop()
    world.serve()
    assert world.standing()["canary"]["failed"] == 11
    time.sleep(1.1)
    assert changed_by(world.store, "clerk", "canary rule") == [], "eleven are not twelve"
    while world.tried()[1] < 12:
        world.ask(users.pop())
    assert world.ask(*names(3), of="frail") == {"500": 3}
    for name, rule, reason in (
        ("clerk", "canary rule", "12 of 12"),
        ("frail", "health rule", "10 of 10"),
    ):
        assert eventually(lambda n=name, r=rule: bool(changed_by(world.store, n, r)))
        assert reason in changed_by(world.store, name, rule)[0]


def changed_by(store: Store, name: str, rule: str) -> list[str]:
    """Reasons of what a rule did to a deployment."""
    return [str(one.reason) for one in history(store, name) if one.by == rule]
