"""What is to be compared of a deployment, and what is known of it; without a server."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from tunewright.config.deployment import DeployConfig
from tunewright.config.serving import ServeConfig
from tunewright.core.deployments import Signed, history
from tunewright.core.queue import Queue
from tunewright.core.records import Comparison, Deployment, Model
from tunewright.core.store import Store
from tunewright.deployment.catalog import Target
from tunewright.deployment.deploy import Order, deploy
from tunewright.deployment.parity import (
    PARITY,
    Proof,
    compare_again,
    comparison_of,
    conditions,
    parity_of,
    proof_of,
    seek,
)

HOW = conditions(ServeConfig())


@pytest.fixture
def model(store: Store) -> Model:
    """A tuned model's record."""
    record = Model(
        id=Store.new_id(Model), name="ft:nano:acme:law:1", base="nano", base_digest="d",
        renderer_hash="r", run="run_1", step=1,
    )  # fmt: skip
    store.add(record)
    return record


def target(model: Model, **values: Any) -> Target:
    return Target(model.name, model.id, "nano", model, Path("/adapter"), **values)


def put(store: Store, model: Model, **settings: Any) -> Deployment:
    return deploy(store, Order("clerk", {"model": model.id, **settings}, override="a test"))


def proof(store: Store, model: Model, how: dict[str, Any] = HOW) -> Proof:
    record = store.get(Deployment, "clerk")
    config = DeployConfig.build(record.settings)
    targets = {"nano": Target("nano", "nano", "nano"), model.id: target(model)}
    return proof_of(record, config, targets, how)


def end(store: Store, wanted: Comparison, outcome: str) -> None:
    entry = Queue(store).lease(PARITY, 1, "me", 60)
    assert entry is not None
    Queue(store).end(entry.lease, "succeeded")
    store.change(Comparison, wanted.id, outcome=outcome, reason="so it was found")


def test_what_decides_an_answer_decides_what_is_compared(store: Store, model: Model) -> None:
    same = comparison_of(model, target(model), dict(HOW))
    assert same.id == comparison_of(model, target(model), HOW).id
    others = [
        comparison_of(model, target(model), {**HOW, "tunewright": "99"}),
        comparison_of(model, target(model), {**HOW, "kv_tokens": 512}),
        comparison_of(model, target(model, server="gpu"), HOW),
        comparison_of(model.model_copy(update={"renderer_hash": "x"}), target(model), HOW),
    ]
    assert len({same.id, *(other.id for other in others)}) == 5


@pytest.mark.parametrize("outcome", ["passed", "failed", "not_compared"])
def test_what_is_required_is_held_back_until_it_has_passed(
    store: Store, model: Model, outcome: str
) -> None:
    put(store, model, parity="require")
    before = proof(store, model)
    assert before.told["nano"]["state"] == "not_compared"
    assert before.told[model.id]["state"] == "pending"
    assert set(before.held) == set(before.open) == {model.id}
    wanted = before.open[model.id]
    record = store.get(Deployment, "clerk")
    assert seek(store, record.id, model.id, wanted)["state"] == "pending"
    end(store, wanted, outcome)
    assert seek(store, record.id, model.id, wanted)["state"] == outcome
    after = proof(store, model)
    assert (set(after.held), after.open) == (set() if outcome == "passed" else {model.id}, {})
    last = history(store, "clerk")[-1]
    assert (last.by, last.reason) == ("parity rule", f"{model.name}: so it was found")
    # Found once, it is written once; after an update it is to be found anew.
    seek(store, record.id, model.id, wanted)
    assert history(store, "clerk")[-1].revision == last.revision == 2
    newer = proof(store, model, {**HOW, "torch": "99"})
    assert set(newer.held) == set(newer.open) == {model.id}


def test_what_is_off_or_only_checked_holds_nothing_back(store: Store, model: Model) -> None:
    put(store, model)
    assert (proof(store, model).held, set(proof(store, model).open)) == ({}, {model.id})
    put(store, model, parity="off")
    found = proof(store, model)
    assert (found.held, found.open) == ({}, {})
    assert "off" in found.told[model.id]["reason"]
    assert parity_of(store, store.get(Deployment, "clerk"))[model.id] == found.told[model.id]


def test_of_many_servers_that_want_it_one_asks(store: Store, model: Model) -> None:
    put(store, model)
    wanted = proof(store, model).open[model.id]
    record = store.get(Deployment, "clerk")
    threads = [
        threading.Thread(target=seek, args=(Store(store.home), record.id, model.id, wanted))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [one.id for one in store.list(Comparison)] == [wanted.id]
    assert [entry.id for entry in Queue(store).list()] == [wanted.id]


def test_one_that_was_given_up_is_told_and_can_be_asked_for_again(
    store: Store, model: Model
) -> None:
    put(store, model)
    record = store.get(Deployment, "clerk")
    wanted = proof(store, model).open[model.id]
    seek(store, record.id, model.id, wanted)
    entry = Queue(store).lease(PARITY, 1, "me", 60)
    assert entry is not None
    assert seek(store, record.id, model.id, wanted)["state"] == "running"
    assert parity_of(store, record)[model.id]["state"] == "running"
    Queue(store).end(entry.lease, "failed", {"message": "it broke off"})
    told = seek(store, record.id, model.id, wanted)
    assert (told["state"], told["reason"]) == ("not_compared", "it broke off")
    assert parity_of(store, store.get(Deployment, "clerk"))[model.id] == told
    compare_again(store, "clerk", Signed("cli:me", "to be compared again"))
    assert store.get(Deployment, "clerk").parity == {}
    assert Queue(store).list() == []
    assert seek(store, record.id, model.id, wanted)["state"] == "pending"
    # A model that was left in the meantime is none of the deployment's business.
    deploy(store, Order("clerk", {"model": "nano"}))
    end(store, wanted, "failed")
    seek(store, record.id, model.id, wanted)
    assert store.get(Deployment, "clerk").parity == {}


def test_a_comparison_keeps_no_model_from_being_deleted(store: Store, model: Model) -> None:
    put(store, model)
    seek(store, store.get(Deployment, "clerk").id, model.id, proof(store, model).open[model.id])
    deploy(store, Order("clerk", {"model": "nano"}))
    store.delete(Model, model.id)
    assert store.by_id(Model, model.id) is None
