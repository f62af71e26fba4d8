"""``deploy`` and ``deployments``: models under public names, their switches and their history."""

from __future__ import annotations

import os
import pwd
import time
from typing import Any

import click
from rich.console import Console

from tunewright.cli.options import Common, common_options, config_options
from tunewright.cli.tables import listing
from tunewright.config.base import merge
from tunewright.config.deployment import DeployConfig
from tunewright.core.deployments import (
    DELETED,
    Signed,
    delete_deployment,
    deployments_of,
    history,
    switch,
)
from tunewright.core.errors import ConfigError
from tunewright.core.records import Deployment, Model
from tunewright.core.store import Store
from tunewright.deployment import deploy as deploying
from tunewright.deployment.parity import COMPARED_AGAIN, compare_again, parity_of

_reason = click.option("--reason", help="Why, for the history.")
_override = click.option(
    "--override",
    metavar="REASON",
    help="Serve a tuned model that no evaluation speaks for; the reason is kept.",
)


@click.command(
    epilog="Examples: tunewright deploy clerk ft:nano:acme:law:1 --fallback nano"
    " --answer-en 'Please call us.'; tunewright deploy clerk NEW --canary 10."
    " See docs/deployments.md."
)
@click.argument("name")
@click.argument("model", required=False)
@click.option(
    "--canary",
    type=click.FloatRange(0, 100, min_open=True, max_open=True),
    metavar="PERCENT",
    help="Try MODEL on this share of the requests, beside the model that is there.",
)
@_override
@_reason
@config_options(DeployConfig, skip=("model", "canary.model", "canary.percent"))
@common_options
def deploy(
    common: Common,
    name: str,
    model: str | None,
    canary: float | None,
    override: str | None,
    reason: str | None,
    values: dict[str, Any],
) -> None:
    """Serve MODEL under a public NAME, or change what is served under it.

    MODEL is a tuned model whose newest evaluation says pass, a base, or upstream:NAME for a server
    that `serve` knows. Of a deployment that is there already, settings that are not named stay; a
    running server takes changes over within two seconds.
    """
    if canary is not None and model is None:
        raise ConfigError("--canary needs the MODEL to try")
    asked: dict[str, Any] = {} if model is None else {"model": model}
    if canary is not None:
        asked = {"canary": {"model": model, "percent": canary}}
    by = _me()
    order = deploying.Order(
        name, merge(values, asked), by, reason, override, new=None if canary is None else False
    )
    store = common.store()
    _tell(common, store, deploying.deploy(store, order), "Deployed")


deployments = click.Group(
    "deployments", help="List, show, switch, try, promote, roll back or delete deployments."
)


@deployments.command("list")
@common_options
def list_deployments(common: Common) -> None:
    """All deployments, newest first."""
    store = common.store()
    found = deployments_of(store)
    table = listing("name", "state", "model", "fallback", "canary", "revision", "changed")
    for one in found:
        table.add_row(*_row(store, one))
    console = Console(stderr=True)
    console.print(table if found else "There are no deployments yet.")
    common.finish({"deployments": [one.model_dump(mode="json") for one in found]})


@deployments.command("show")
@click.argument("name")
@common_options
def show(common: Common, name: str) -> None:
    """One deployment: its settings, why its models may be served, and whether as trained."""
    store = common.store()
    found = store.get(Deployment, name)
    common.show({**found.model_dump(mode="json"), "parity": parity_of(store, found)})


@deployments.command("history")
@click.argument("name")
@common_options
def show_history(common: Common, name: str) -> None:
    """Every revision, oldest first; also of a deployment that is deleted."""
    store = common.store()
    past = history(store, name)
    table = listing("revision", "when", "who", "what", "model", "state", "reason")
    for one in past:
        model = _called(store, str(one.settings.get("model")))
        table.add_row(
            *(str(one.revision), _date(one.changed), one.by, one.change, model),
            *(_state(one), one.reason or ""),
        )
    Console(stderr=True).print(table)
    common.finish({"revisions": [one.model_dump(mode="json") for one in past]})


@deployments.command("on")
@click.argument("name")
@_reason
@common_options
def switch_on(common: Common, name: str, reason: str | None) -> None:
    """Let its model answer."""
    store = common.store()
    _tell(common, store, switch(store, name, True, Signed(_me(), "on", reason)), "Now")


@deployments.command("off")
@click.argument("name")
@_reason
@common_options
def switch_off(common: Common, name: str, reason: str | None) -> None:
    """Give its fixed answer, or an error, until somebody switches it on."""
    store = common.store()
    _tell(common, store, switch(store, name, False, Signed(_me(), "off", reason)), "Now")


@deployments.command("compare")
@click.argument("name")
@_reason
@common_options
def compare(common: Common, name: str, reason: str | None) -> None:
    """Forget how its models compared with what was trained; a running server compares them anew."""
    store = common.store()
    _tell(common, store, compare_again(store, name, Signed(_me(), COMPARED_AGAIN, reason)), "Now")


@deployments.command("canary")
@click.argument("name")
@click.argument("model", required=False)
@click.option("--percent", default=10.0, show_default=True, help="Its share of the requests.")
@click.option("--stop", is_flag=True, help="Take the canary back.")
@_override
@_reason
@common_options
def canary(
    common: Common,
    name: str,
    model: str | None,
    percent: float,
    stop: bool,
    override: str | None,
    reason: str | None,
) -> None:
    """Try MODEL on some of the requests; it is taken back when it fails more often."""
    store = common.store()
    if stop == (model is not None):
        raise ConfigError("name the MODEL to try, or --stop, and not both")
    if model is None:
        changed = deploying.end_canary(store, name, Signed(_me(), "canary taken back", reason))
    else:
        order = deploying.Order(name, {}, _me(), reason, override)
        changed = deploying.set_canary(store, order, model, percent)
    _tell(common, store, changed, "Now")


@deployments.command("promote")
@click.argument("name")
@_reason
@common_options
def promote_canary(common: Common, name: str, reason: str | None) -> None:
    """Put the canary in the model's place."""
    store = common.store()
    _tell(
        common, store, deploying.promote(store, name, Signed(_me(), "promoted", reason)), "Promoted"
    )


@deployments.command("rollback")
@click.argument("name")
@click.option("--to", type=int, metavar="REVISION", help="The latest with other settings if none.")
@_reason
@common_options
def rollback(common: Common, name: str, to: int | None, reason: str | None) -> None:
    """Serve as an earlier revision did; whether it is on stays as it is."""
    store = common.store()
    _tell(common, store, deploying.roll_back(store, name, _me(), to, reason), "Rolled back")


@deployments.command("delete")
@click.argument("name")
@_reason
@common_options
def delete(common: Common, name: str, reason: str | None) -> None:
    """Remove a deployment; its history stays."""
    gone = delete_deployment(common.store(), name, Signed(_me(), DELETED, reason))
    click.echo(f"Deleted deployment {gone.name}.", err=True)
    common.finish({"deleted": gone.id, "name": gone.name})


def _tell(common: Common, store: Store, changed: Deployment, done: str) -> None:
    name, state, model, fallback, tried, revision, _ = _row(store, changed)
    more = "".join(
        f", {what} {names}" for what, names in (("then", fallback), ("canary", tried)) if names
    )
    click.echo(f"{done}: {name} is {state}: {model}{more} (revision {revision}).", err=True)
    for identifier, proof in changed.evidence.items():
        if proof.get("override"):
            model = _called(store, identifier)
            click.echo(f"  {model} is served by an override: {proof['override']}", err=True)
    common.finish(changed.model_dump(mode="json"))


def _row(store: Store, one: Deployment) -> tuple[str, ...]:
    settings = DeployConfig.build(one.settings)
    tried = settings.canary
    canary_cell = f"{_called(store, tried.model)} {tried.percent:g} %" if tried.model else ""
    chain = [_called(store, reference) for reference in settings.fallback]
    chain += ["fixed answer"] if settings.answer.text(chinese=False) else []
    return (
        *(one.name, _state(one), _called(store, settings.model), ", ".join(chain), canary_cell),
        *(str(one.revision), _date(one.changed)),
    )


def _called(store: Store, reference: str) -> str:
    model = store.by_id(Model, reference)
    return model.name if model else reference


def _state(one: Deployment) -> str:
    if one.on:
        states = [one.parity.get(model, {}).get("state") for model in one.evidence]
        if "failed" in states:
            return "on, PARITY FAILED"
        held = one.settings.get("parity") == "require" and set(states) - {"passed"}
        return "on, waits for parity" if held else "on"
    return "off (health rule)" if one.off_by == "health" else "off"


def _me() -> str:
    """The user of this machine; one without a name by number."""
    try:
        return f"cli:{pwd.getpwuid(os.getuid()).pw_name}"
    except KeyError:
        return f"cli:{os.getuid()}"


def _date(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))
