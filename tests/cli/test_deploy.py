"""``deploy`` and ``deployments`` from the command line."""

import json
from pathlib import Path
from typing import Any

import pytest

from tunewright.cli.main import main
from tunewright.core.deployments import Signed, revise
from tunewright.core.records import Deployment, Model
from tunewright.core.store import Store


def run(capsys: pytest.CaptureFixture[str], home: Path, *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as caught:
        main([*arguments, "--home", str(home)])
    shown = capsys.readouterr()
    return int(caught.value.code or 0), shown.out, shown.err


def add_model(store: Store, name: str) -> Model:
    model = Model(
        id=Store.new_id(Model), name=name, base="nano", base_digest="d", renderer_hash="r",
        run="run_1", step=1,
    )  # fmt: skip
    store.add(model)
    return model


def test_a_deployments_life(capsys: pytest.CaptureFixture[str], store: Store) -> None:
    home = store.home
    model = add_model(store, "ft:nano:acme:law:1")
    code, out, told = run(capsys, home, "deploy", "clerk", model.name, "--json")
    assert (code, out) == (1, "")
    assert "tunewright evaluate --models nano --models ft:nano:acme:law:1" in told
    code, out, told = run(
        capsys, home, "deploy", "clerk", model.name, "--override", "pilot", "--fallback",
        "nano,upstream:gpu", "--answer-zh", "请稍后再试。", "--limits-requests-per-minute", "60",
        "--health-error-share", "0.5", "--json",
    )  # fmt: skip
    assert code == 0
    assert "override: pilot" in told
    made = json.loads(out)
    assert made["settings"]["fallback"] == ["nano", "upstream:gpu"]
    assert made["settings"]["answer"] == {"zh": "请稍后再试。", "en": None}
    assert made["settings"]["limits"]["requests_per_minute"] == 60
    assert made["by"].startswith("cli:")

    def deployments(*arguments: str) -> dict[str, Any]:
        code, out, _ = run(capsys, home, "deployments", *arguments, "--json")
        assert code == 0
        told: dict[str, Any] = json.loads(out)
        return told

    assert deployments("off", "clerk", "--reason", "wrong answers")["on"] is False
    assert deployments("on", "clerk")["on"] is True
    code, out, _ = run(capsys, home, "deploy", "clerk", "upstream:two", "--canary", "5", "--json")
    assert json.loads(out)["settings"]["canary"]["percent"] == 5
    assert deployments("promote", "clerk")["settings"]["model"] == "upstream:two"
    assert deployments("rollback", "clerk", "--to", "1")["settings"]["model"] == model.id
    assert deployments("canary", "clerk", "upstream:two")["change"] == "canary"
    assert deployments("canary", "clerk", "--stop")["settings"]["canary"]["model"] is None
    assert deployments("show", "clerk")["evidence"][model.id]["override"] == "pilot"
    (listed,) = deployments("list")["deployments"]
    assert listed["revision"] == 8
    assert deployments("delete", "clerk")["name"] == "clerk"
    changes = [one["change"] for one in deployments("history", "clerk")["revisions"]]
    assert changes == [
        "created", "off", "on", "canary", "promoted", "rolled back to revision 1", "canary",
        "canary taken back", "deleted",
    ]  # fmt: skip
    assert store.find(Deployment, "clerk") is None


def test_settings_are_put_back_with_null(capsys: pytest.CaptureFixture[str], home: Path) -> None:
    run(
        capsys, home, "deploy", "clerk", "nano", "--system", "Be short.", "--fallback", "upstream:a"
    )
    _, out, _ = run(
        capsys, home, "deploy", "clerk", "--set", "system=null", "--set", "fallback=[]", "--json"
    )
    settings = json.loads(out)["settings"]
    assert (settings["system"], settings["fallback"], settings["model"]) == (None, [], "nano")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(["deploy", "x", "nana"], "neither a tuned model nor a base"),
     (["deploy", "x"], "model"),
     (["deploy", "x", "nano", "--canary", "5"], "no deployment 'x'"),
     (["deploy", "x", "--canary", "5"], "needs the MODEL"),
     (["deploy", "x", "nano", "--top-p", "7"], "less than or equal to 1"),
     (["deploy", "a/b", "nano"], "no name for a deployment"),
     (["deployments", "canary", "x"], "not both"),
     (["deployments", "off", "x"], "no deployment 'x'"),
     (["deployments", "history", "x"], "no deployment 'x'")],
)  # fmt: skip
def test_wrong_input_makes_nothing(
    capsys: pytest.CaptureFixture[str], home: Path, arguments: list[str], message: str
) -> None:
    code, out, told = run(capsys, home, *arguments)
    assert (code, out) == (2, "")
    assert message in told
    assert not Store(home).list(Deployment)


def test_how_its_models_compare_is_told(
    capsys: pytest.CaptureFixture[str], store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    home = store.home
    model = add_model(store, "ft:nano:acme:law:1")
    run(capsys, home, "deploy", "clerk", model.id, "--override", "pilot", "--fallback", "nano")

    def told(*arguments: str) -> tuple[dict[str, Any], str]:
        code, out, err = run(capsys, home, "deployments", *arguments, "--json")
        assert code == 0, err
        facts: dict[str, Any] = json.loads(out)
        return facts, err

    parity = told("show", "clerk")[0]["parity"]
    assert parity[model.id]["state"] == "pending"
    assert parity["nano"]["reason"] == "no tuned model: nothing to compare it with"
    run(capsys, home, "deploy", "clerk", "--parity", "require")
    assert "on, waits for parity" in told("list")[1]

    def found(state: str) -> None:
        entry = {"comparison": "cmp_1", "state": state, "reason": "so it was found"}
        signed = Signed("parity rule", f"parity {state}", "so it was found")
        revise(store, "clerk", signed, lambda _: {"parity": {model.id: entry}})

    found("failed")
    assert "on, PARITY FAILED" in told("list")[1]
    assert told("show", "clerk")[0]["parity"][model.id]["reason"] == "so it was found"
    assert "parity failed" in told("history", "clerk")[1]
    found("passed")
    assert " on " in told("list")[1]
    again, _ = told("compare", "clerk", "--reason", "new driver")
    assert (again["parity"], again["change"]) == ({}, "to be compared again")
    assert told("show", "clerk")[0]["parity"][model.id]["state"] == "pending"
