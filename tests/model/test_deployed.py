"""Names that deployments have: whom they ask, and in which manner."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from tunewright.cli.main import cli
from tunewright.config.serving import GenerationConfig
from tunewright.core.errors import InputError
from tunewright.core.messages import conversation
from tunewright.core.store import Store
from tunewright.deployment.deploy import Order, deploy
from tunewright.model.deployed import Manner, named

QUESTION = "试用期?"


def test_a_system_prompt_stands_before_the_conversations_own() -> None:
    asked = conversation(("system", "Be brief."), ("user", QUESTION))
    shown = Manner(system="You are a clerk.").prompt(asked)
    assert [(m.role, m.content) for m in shown.messages] == [
        ("system", "You are a clerk.\n\nBe brief."), ("user", QUESTION),
    ]  # fmt: skip
    bare = conversation(("user", QUESTION))
    assert [m.role for m in Manner(system="x").prompt(bare).messages] == ["system", "user"]
    assert Manner().prompt(asked) == asked


@pytest.mark.parametrize(
    ("given", "drawn"),
    [({}, (0.7, 0.9, 50)), ({"temperature": 0.0}, (0.0, 0.9, 50)),
     ({"max_new_tokens": 9, "top_p": 1.0}, (0.7, 1.0, 9))],
)  # fmt: skip
def test_what_is_asked_for_comes_before_the_deployments_settings(
    given: dict[str, Any], drawn: tuple[float, float, int]
) -> None:
    found = Manner(temperature=0.7, top_p=0.9, max_tokens=50).settings(GenerationConfig(**given))
    assert (found.temperature, found.top_p, found.max_new_tokens) == drawn
    assert Manner().settings(GenerationConfig(**given)) == GenerationConfig(**given)


def test_deployments_come_before_models_and_others_servers_are_not_asked(store: Store) -> None:
    assert not named(store, "nano").deployed
    deploy(store, Order("nano", {"model": "org/other", "temperature": 0.5, "fallback": ["nano"]}))
    found = named(store, "nano")
    assert (found.reference, found.deployed) == ("org/other", True)
    assert found.manner == Manner(temperature=0.5)
    deploy(store, Order("far", {"model": "upstream:gpu"}))
    with pytest.raises(InputError, match="upstream:gpu, which is another server's"):
        named(store, "far")


def test_chat_speaks_with_a_deployments_model_as_it_is_served(
    store: Store, tiny_base: Path
) -> None:
    order = {"model": str(tiny_base), "system": "Be a fox.", "max_tokens": 6}
    deploy(store, Order("clerk", order))

    def say(name: str, *options: str) -> tuple[dict[str, Any], str]:
        command = ["chat", name, "--home", str(store.home), "--device", "cpu", "--json"]
        done = CliRunner().invoke(
            cli, [*command, "--prompt", QUESTION, *options], catch_exceptions=False
        )
        assert done.exit_code == 0, done.output
        return json.loads(done.stdout), done.stderr

    served, told = say("clerk")
    assert "clerk is a deployment" in told
    assert (served["model"], served["served_by"]) == ("clerk", str(tiny_base))
    plain, _ = say(str(tiny_base), "--system", "Be a fox.", "--max-new-tokens", "6")
    assert "served_by" not in plain
    assert (served["text"], served["usage"]) == (plain["text"], plain["usage"])
    assert served["usage"]["completion_tokens"] <= 6
    longer, _ = say("clerk", "--system", "Be brief.", "--max-new-tokens", "2")
    assert longer["usage"]["completion_tokens"] == 2
    assert longer["usage"]["prompt_tokens"] > served["usage"]["prompt_tokens"]
