"""What may be deployed: evidence, overrides, references, rollbacks."""

from __future__ import annotations

from typing import Any

import pytest

from tunewright.core.deployments import Signed, history
from tunewright.core.errors import ConfigError, EvidenceError, InputError, NotFoundError
from tunewright.core.records import Deployment, Evaluation, Model, Run
from tunewright.core.store import Store
from tunewright.deployment.deploy import Order, deploy, end_canary, promote, roll_back, set_canary

Verdict = Any


def tuned(store: Store, name: str) -> Model:
    run = Run(id=Store.new_id(Run), dataset="ds_1", base="nano", config={}, state="succeeded")
    store.add(run)
    model = Model(
        id=Store.new_id(Model), name=name, base="nano", base_digest="d", renderer_hash="r",
        run=run.id, step=1,
    )  # fmt: skip
    store.add(model)
    return model


def judged(store: Store, model: Model, verdict: Verdict, **values: Any) -> Evaluation:
    passed = {"pass": True, "fail": False}.get(verdict)
    fields: dict[str, Any] = {
        "models": ("nano", model.name), "config": {}, "model_ids": (model.id,),
        "gates": {"improvement": {"passed": passed, "evidence": "51 of 100", "prescription": ""},
                  "forgetting": {"passed": True, "evidence": "none", "prescription": ""}},
    }  # fmt: skip
    evaluation = Evaluation(
        id=Store.new_id(Evaluation), dataset="ds_1", scores={}, deltas={}, intervals={},
        general={}, verdict=verdict, report="report.html", **{**fields, **values},
    )  # fmt: skip
    store.add(evaluation)
    return evaluation


def refusal(store: Store, model: Model) -> EvidenceError:
    with pytest.raises(EvidenceError) as caught:
        deploy(store, Order("clerk", {"model": model.name}))
    assert store.find(Deployment, "clerk") is None
    return caught.value


def test_what_was_never_evaluated_is_refused_with_the_command_that_would_help(
    store: Store,
) -> None:
    error = refusal(store, tuned(store, "ft:nano:acme:law:1"))
    assert "never been evaluated" in error.message
    command = "tunewright evaluate --dataset ds_1 --models nano --models ft:nano:acme:law:1"
    assert command in error.hint
    assert "--override" in error.hint
    assert error.exit_code == 1


@pytest.mark.parametrize(
    ("verdict", "said"), [("fail", "failed at"), ("not enough evidence", "too little evidence")]
)
def test_the_gate_that_said_no_is_named(store: Store, verdict: Verdict, said: str) -> None:
    model = tuned(store, "law")
    evaluation = judged(store, model, verdict)
    message = refusal(store, model).message
    assert evaluation.id in message
    assert f"{said} " in message
    assert "improvement (51 of 100)" in message
    assert "forgetting" not in message


def test_the_newest_evaluation_that_judges_it_decides(store: Store) -> None:
    model, other = tuned(store, "law"), tuned(store, "other")
    judged(store, model, "pass")
    judged(store, model, "fail")
    refusal(store, model)
    newest = judged(store, model, "pass")
    # It only stands there to be compared with, or the question was another one.
    judged(store, other, "fail", models=("law", "other"), model_ids=(model.id, other.id))
    judged(store, model, "fail", config={"checkpoints": "run_1"})
    made = deploy(store, Order("clerk", {"model": "law"}))
    assert made.evidence == {model.id: {"evaluation": newest.id, "override": None}}
    assert made.settings["model"] == model.id
    with pytest.raises(InputError, match="still needed"):
        store.delete(Evaluation, newest.id)


def test_a_model_that_others_are_compared_with_under_another_name_is_not_judged(
    store: Store,
) -> None:
    model = tuned(store, "ft:x")
    judged(store, model, "pass", models=("clerk", "ft:y"), baseline_id=model.id)
    assert "never been evaluated" in refusal(store, model).message
    judged(store, model, "pass", models=("nano", "clerk"))
    deploy(store, Order("clerk", {"model": model.name}))


def test_an_override_is_kept_with_its_reason(store: Store) -> None:
    model = tuned(store, "law")
    made = deploy(store, Order("clerk", {"model": "law"}, "cli:me", override="pilot, 3 users"))
    assert made.evidence == {model.id: {"evaluation": None, "override": "pilot, 3 users"}}
    assert (made.by, made.reason) == ("cli:me", "pilot, 3 users")
    # Other settings change without asking again; another model does not come along.
    changed = deploy(store, Order("clerk", {"top_p": 0.5}))
    assert changed.evidence == made.evidence
    tuned(store, "second")
    with pytest.raises(EvidenceError, match="second"):
        deploy(store, Order("clerk", {"fallback": ["second"]}))
    with pytest.raises(EvidenceError, match="second"):
        set_canary(store, Order("clerk"), "second", 10.0)
    with pytest.raises(ConfigError, match="reason in words"):
        deploy(store, Order("clerk", {"model": "second"}, override=" "))
    dataset_free = judged(store, model, "pass")
    better = deploy(store, Order("clerk", {"top_p": 0.6}))
    assert better.evidence[model.id] == {"evaluation": dataset_free.id, "override": None}


def test_bases_and_servers_need_no_evaluation(store: Store) -> None:
    values = {"model": "nano", "fallback": ["upstream:gpu/big", "acme/other-base"]}
    made = deploy(store, Order("clerk", values))
    assert made.evidence == {}
    assert made.settings["fallback"] == ["upstream:gpu/big", "acme/other-base"]


@pytest.mark.parametrize(
    "name", ["", "a/b", "a b\n", " a", "latest", "ft:x", "upstream:x", "a?b", "x" * 129]
)
def test_names_that_could_mean_something_else_are_refused(store: Store, name: str) -> None:
    with pytest.raises(ConfigError, match="no name for a deployment"):
        deploy(store, Order(name, {"model": "nano"}))


@pytest.mark.parametrize(
    ("values", "message"),
    [({"model": "nobody"}, "neither a tuned model nor a base"),
     ({"model": "nano", "fallback": ["nano"]}, "twice"),
     ({"model": "nano", "canary": {"model": "nano"}}, "its own canary"),
     ({"model": "nano", "temperature": 3}, "less than or equal to 2"),
     ({"model": "nano", "limits": {"requests": 3}}, "did you mean"),
     ({}, "model")],
)  # fmt: skip
def test_wrong_settings_make_nothing(store: Store, values: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        deploy(store, Order("clerk", values))
    assert store.find(Deployment, "clerk") is None


def test_null_puts_a_setting_back(store: Store) -> None:
    first = deploy(store, Order("clerk", {"model": "nano"}))
    more = {"when_off": "error", "system": "Be short.", "fallback": ["upstream:a"],
            "limits": {"concurrency": 3}, "canary": {"model": "upstream:b"}}  # fmt: skip
    assert deploy(store, Order("clerk", more)).settings != first.settings
    assert deploy(store, Order("clerk", dict.fromkeys(more))).settings == first.settings


def test_a_new_model_ends_the_trial_of_a_canary(store: Store) -> None:
    deploy(store, Order("clerk", {"model": "nano", "max_tokens": 9}))
    tried = set_canary(store, Order("clerk"), "upstream:a", 5.0)
    assert tried.change == "canary"
    assert tried.settings["canary"]["percent"] == 5.0
    kept = deploy(store, Order("clerk", {"top_p": 0.5}))
    assert kept.settings["canary"]["model"] == "upstream:a"
    moved = deploy(store, Order("clerk", {"model": "upstream:b"}))
    assert moved.settings["canary"]["model"] is None
    assert moved.settings["max_tokens"] == 9
    with pytest.raises(InputError, match="no canary"):
        promote(store, "clerk", Signed("cli:me", "promoted"))
    assert end_canary(store, "clerk", Signed("cli:me", "x")).revision == moved.revision


def test_a_fallback_that_is_promoted_stands_in_the_chain_once(store: Store) -> None:
    values = {"model": "nano", "fallback": ["upstream:a", "upstream:b"]}
    deploy(store, Order("clerk", values))
    set_canary(store, Order("clerk"), "upstream:a", 5.0)
    made = promote(store, "clerk", Signed("cli:me", "promoted"))
    assert (made.settings["model"], made.settings["fallback"]) == ("upstream:a", ["upstream:b"])


def test_rollback_goes_to_any_revision_whose_models_are_there(store: Store) -> None:
    first, second = tuned(store, "first"), tuned(store, "second")
    judged(store, first, "pass")
    deploy(store, Order("clerk", {"model": "first"}))
    deploy(store, Order("clerk", {"model": "second"}, override="trust me"))
    back = roll_back(store, "clerk", "cli:me", reason="complaints")
    assert (back.settings["model"], back.revision) == (first.id, 3)
    assert (back.change, back.reason) == ("rolled back to revision 1", "complaints")
    assert set(back.evidence) == {first.id}
    assert roll_back(store, "clerk", "cli:me", to=1).revision == 3, "nothing to change"
    store.delete(Model, second.id)
    with pytest.raises(InputError, match="is deleted"):
        roll_back(store, "clerk", "cli:me", to=2)
    with pytest.raises(NotFoundError, match="1 to 3"):
        roll_back(store, "clerk", "cli:me", to=9)
    assert len(history(store, "clerk")) == 3
