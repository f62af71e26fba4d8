"""``keys``: who may use the server, for what, and how much."""

from __future__ import annotations

import time
from typing import Any

import click
from rich.console import Console

from tunewright.cli.options import Common, common_options, config_options
from tunewright.cli.tables import listing
from tunewright.config.serving import KeyConfig, KeyModelsConfig, LimitsConfig
from tunewright.core.api_keys import (
    change_models,
    issue_key,
    keys_of,
    last_uses,
    revoke_key,
    state_of,
)
from tunewright.core.durations import parse_duration
from tunewright.core.errors import ConfigError
from tunewright.core.records import ApiKey
from tunewright.core.scopes import ANY_MODEL

keys = click.Group(
    "keys", help="Create, list, show, change or revoke API keys of `tunewright serve`."
)


@keys.command("create", epilog="Example: tunewright keys create crm --project sales --expires 90d")
@click.argument("name")
@config_options(KeyConfig, skip=("name",))
@common_options
def create(common: Common, name: str, values: dict[str, Any]) -> None:
    """Make a key; its secret is printed once, on stdout, and is kept nowhere.

    From the first key on, servers of this home ask for one; `serve --open` does not, for this
    machine only.
    """
    config = KeyConfig.build({**values, "name": name})
    limits = {field: getattr(config, field) for field in LimitsConfig.model_fields}
    key, secret = issue_key(
        common.store(),
        config.name,
        project=config.project,
        scopes=config.scopes,
        limits={field: limit for field, limit in limits.items() if limit is not None},
        models=config.models,
        seconds=None if config.expires is None else parse_duration(config.expires),
    )
    click.echo(
        f"Key {key.id} for project {key.project}: {', '.join(key.scopes)}; may ask"
        f" {_asked(key)}; {_until(key)}."
        " It is shown only now:",
        err=True,
    )
    if not common.as_json:
        click.echo(secret)
    common.finish({**_facts(key, {}), "secret": secret})


@keys.command("list")
@common_options
def list_keys(common: Common) -> None:
    """All keys, newest first; their secrets are known to nobody here."""
    store = common.store()
    used, found = last_uses(store), keys_of(store)
    head = ("name", "id and begin", "project", "scopes", "models", "limits", "state", "last used")
    table = listing(*head)
    for key in found:
        limits = "\n".join(
            f"{name.replace('_', ' ')}: {limit}" for name, limit in key.limits.items()
        )
        table.add_row(
            *(key.name, f"{key.id}\n{key.shown}…", key.project, "\n".join(key.scopes)),
            *("\n".join(key.models), limits),
            *(state_of(key, time.time()), _date(used.get(key.id))),
        )
    console = Console(stderr=True, emoji=False)
    console.print(table if found else "There are no keys yet.")
    common.finish({"keys": [_facts(key, used) for key in found]})


@keys.command("show")
@click.argument("reference")
@common_options
def show(common: Common, reference: str) -> None:
    """One key, by id, name or 'latest'."""
    store = common.store()
    common.show(_facts(store.get(ApiKey, reference), last_uses(store)))


@keys.command("change", epilog="Example: tunewright keys change crm --models clerk,ft:nano:*")
@click.argument("reference")
@config_options(KeyModelsConfig)
@common_options
def change(common: Common, reference: str, values: dict[str, Any]) -> None:
    """Let a key, by id or name, ask other models; a running server knows within a second.

    Nothing else of a key can be changed: make another, and revoke this one.
    """
    if not values:
        raise ConfigError("nothing is to change", "Name what it may ask: --models a,b or '*'")
    config = KeyModelsConfig.build(values)
    store = common.store()
    key = change_models(store, reference, config.models)
    click.echo(f"Key {key.id} ({key.name}) may ask {_asked(key)}.", err=True)
    common.finish(_facts(key, last_uses(store)))


@keys.command("revoke")
@click.argument("reference")
@common_options
def revoke(common: Common, reference: str) -> None:
    """End a key, by id or name, for good; a running server knows within a second."""
    store = common.store()
    key = revoke_key(store, reference)
    click.echo(f"Revoked key {key.id} ({key.name}).", err=True)
    common.finish(_facts(key, last_uses(store)))


def _facts(key: ApiKey, used: dict[str, float]) -> dict[str, Any]:
    values: dict[str, Any] = key.model_dump(mode="json")
    return {**values, "state": state_of(key, time.time()), "last_used": used.get(key.id)}


def _asked(key: ApiKey) -> str:
    return "every model" if ANY_MODEL in key.models else ", ".join(key.models)


def _until(key: ApiKey) -> str:
    return "holds for ever" if key.expires is None else f"holds until {_date(key.expires)}"


def _date(at: float | None) -> str:
    return "" if at is None else time.strftime("%Y-%m-%d %H:%M", time.localtime(at))
