"""Deployments in the store: revisions, two changes at once, and what a kill leaves."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tunewright.core.deployments import (
    Signed,
    create_deployment,
    delete_deployment,
    deployments_of,
    history,
    last_change,
    revise,
    switch,
)
from tunewright.core.errors import InputError, NotFoundError
from tunewright.core.records import Deployment, Model
from tunewright.core.store import Store

ME = Signed("cli:me", "changed", "because")


def deployment(name: str = "clerk", **values: object) -> Deployment:
    fields = {"settings": {"model": "nano"}, "change": "created", "by": "cli:me", **values}
    return Deployment.model_validate({"id": Store.new_id(Deployment), "name": name, **fields})


def model(store: Store) -> Model:
    record = Model(
        id=Store.new_id(Model), name="ft:x", base="nano", base_digest="d", renderer_hash="r",
        run="run_1", step=1,
    )  # fmt: skip
    store.add(record)
    return record


def test_every_change_is_a_revision_and_what_changes_nothing_is_none(store: Store) -> None:
    create_deployment(store, deployment())
    seen = last_change(store)
    revise(store, "clerk", ME, lambda before: {"settings": {**before.settings, "top_p": 0.5}})
    revise(store, "clerk", ME, lambda before: {"settings": dict(before.settings)})
    assert last_change(store) == seen + 1
    switch(store, "clerk", False, Signed("key:key_1", "off", "broken"))
    first, second, third = history(store, "clerk")
    assert [one.revision for one in (first, second, third)] == [1, 2, 3]
    assert (first.settings, second.settings) == ({"model": "nano"}, {"model": "nano", "top_p": 0.5})
    assert (third.on, third.off_by, third.by, third.reason) == (
        False, "person", "key:key_1", "broken",
    )  # fmt: skip
    assert store.get(Deployment, "clerk") == third
    with pytest.raises(InputError, match="already"):
        create_deployment(store, deployment())
    assert len(history(store, "clerk")) == 3


def test_history_outlives_a_deployment(store: Store) -> None:
    create_deployment(store, deployment())
    delete_deployment(store, "clerk", Signed("cli:me", "deleted"))
    assert not deployments_of(store)
    assert [one.change for one in history(store, "clerk")] == ["created", "deleted"]
    with pytest.raises(NotFoundError):
        history(store, "nobody")
    with pytest.raises(NotFoundError):
        switch(store, "clerk", True, ME)


def test_what_is_served_cannot_be_deleted_and_what_was_served_can(store: Store) -> None:
    first, second = model(store), model(store)
    create_deployment(store, deployment(evidence={first.id: {"evaluation": None}}))
    with pytest.raises(InputError, match="still needed"):
        store.delete(Model, first.id)
    revise(store, "clerk", ME, lambda _: {"evidence": {second.id: {"evaluation": None}}})
    store.delete(Model, first.id)
    with pytest.raises(InputError, match="still needed"):
        store.delete(Model, second.id)


def test_a_rule_undoes_only_what_it_saw_and_did(store: Store) -> None:
    made = create_deployment(store, deployment())
    rule = Signed("health rule", "off", "slow")
    revise(store, "clerk", ME, lambda _: {"settings": {"model": "other"}})
    assert switch(store, "clerk", False, rule, revision=made.revision).on
    off = switch(store, "clerk", False, rule, revision=2)
    assert (off.on, off.off_by) == (False, "health")
    person = switch(store, "clerk", False, Signed("cli:me", "off"))
    assert (person.off_by, person.revision) == ("person", 4)
    assert not switch(store, "clerk", True, rule, revision=off.revision).on


def test_flips_at_once_make_one_revision_each_way(store: Store) -> None:
    create_deployment(store, deployment())
    start = threading.Barrier(8)

    def flip(number: int) -> None:
        start.wait()
        switch(store, "clerk", False, Signed(f"cli:{number}", "off"))

    threads = [threading.Thread(target=flip, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [one.on for one in history(store, "clerk")] == [True, False]


CHANGES = """
import sys
from pathlib import Path
from tunewright.core.deployments import Signed, revise
from tunewright.core.store import Store

store = Store(Path(sys.argv[1]))
for number in range(100000):
    edit = lambda before: {"settings": {"a": number, "b": number}, "reason": str(number)}
    revise(store, "clerk", Signed("cli:me", "changed", str(number)), edit)
    print(number, flush=True)
"""


def test_a_kill_leaves_the_old_state_or_the_new_one(store: Store) -> None:
    create_deployment(store, deployment())
    pause = random.Random(3)
    for _ in range(4):
        process = subprocess.Popen(
            [sys.executable, "-c", CHANGES, str(store.home)], stdout=subprocess.PIPE
        )
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(pause.uniform(0, 0.05))
        os.kill(process.pid, signal.SIGKILL)
        told = [int(line) for line in process.stdout.read().split()]
        process.wait()
        process.stdout.close()
        now, past = store.get(Deployment, "clerk"), history(store, "clerk")
        assert now == past[-1]
        assert [one.revision for one in past] == list(range(1, len(past) + 1))
        assert now.settings["a"] == now.settings["b"]
        assert now.settings["a"] >= max(told, default=0)


def test_a_store_without_a_database_has_none(tmp_path: Path) -> None:
    empty = Store(tmp_path / "none")
    assert last_change(empty) == 0
    assert not deployments_of(empty)
