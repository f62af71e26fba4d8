"""Deploying: models that have proven themselves, under a public name, revision by revision."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tunewright.config.base import merge
from tunewright.config.deployment import UPSTREAM, DeployConfig
from tunewright.core.deployments import Signed, create_deployment, history, revise
from tunewright.core.errors import ConfigError, InputError, NotFoundError
from tunewright.core.records import Deployment, Evaluation, Model
from tunewright.core.store import Store
from tunewright.deployment.catalog import public_base_name
from tunewright.deployment.evidence import evidence_for
from tunewright.model.catalog import BUNDLED
from tunewright.model.tuners.files import head_file

Naming = Callable[[Store, str], str]
"""From what somebody calls a model to the reference that a deployment keeps."""

_LONGEST_NAME = 128
_NO_CANARY: dict[str, Any] = {"model": None}


@dataclass(frozen=True)
class Order:
    """What is to be deployed.

    Attributes:
        name: the public name.
        values: settings by the names of ``DeployConfig``; others stay as they are.
        by: who orders it.
        reason: why, where that is told.
        override: why a model may be served that no evaluation speaks for.
        new: it must be a new name (True) or a known one (False); None for either.
    """

    name: str
    values: dict[str, Any] = field(default_factory=dict)
    by: str = "cli"
    reason: str | None = None
    override: str | None = None
    new: bool | None = None


def deploy(store: Store, order: Order, naming: Naming | None = None) -> Deployment:
    """Make a deployment, or change one.

    A new model ends the trial of a canary.

    Raises:
        ConfigError: a setting, or the name, is not allowed.
        NotFoundError: a model is not known.
        EvidenceError: no evaluation speaks for a tuned model, and there is no override.
    """
    _check_name(order.name)
    if order.override is not None and not order.override.strip():
        raise ConfigError("an override needs a reason in words")
    values = _named(store, order.values, naming or local_reference)
    with store.transaction():
        before = _current(store, order)
        old = before.settings if before else {}
        if values.get("model", old.get("model")) != old.get("model") and "canary" not in values:
            values = {**values, "canary": dict(_NO_CANARY)}
        config = DeployConfig.build(_given(merge(old, values)))
        evidence = evidence_for(store, config, before.evidence if before else {}, order.override)
        settings = config.json_dict()
        reason = order.reason or order.override
        if before is not None:
            signed = Signed(order.by, _word(before, config), reason)
            update = {"settings": settings, "evidence": evidence}
            return revise(store, before.id, signed, lambda _: update)
        made = Deployment(
            id=Store.new_id(Deployment),
            name=order.name,
            change="created",
            by=order.by,
            reason=reason,
            settings=settings,
            evidence=evidence,
        )
        return create_deployment(store, made)


def set_canary(
    store: Store, order: Order, model: str, percent: float, naming: Naming | None = None
) -> Deployment:
    """Try a model on some of a deployment's requests; raises as ``deploy``."""
    values = {**order.values, "canary": {"model": model, "percent": percent}}
    known = Order(order.name, values, order.by, order.reason, order.override, new=False)
    return deploy(store, known, naming)


def end_canary(
    store: Store, reference: str, signed: Signed, *, revision: int | None = None
) -> Deployment:
    """Give all requests to the model again; as it is where no canary is tried.

    Args:
        revision: change nothing unless it is the latest.

    Raises:
        NotFoundError: there is no such deployment.
    """

    def edit(before: Deployment) -> Mapping[str, Any]:
        if revision not in (None, before.revision):
            return {}
        return _changed(before, {**before.settings, "canary": _without_model(before)})

    return revise(store, reference, signed, edit)


def promote(store: Store, reference: str, signed: Signed) -> Deployment:
    """Put the canary in the model's place.

    Raises:
        NotFoundError: there is no such deployment.
        InputError: no canary is tried.
    """

    def edit(before: Deployment) -> Mapping[str, Any]:
        canary = before.settings.get("canary", {}).get("model")
        if canary is None:
            raise InputError(
                f"deployment {before.name!r} tries no canary",
                f"Try one: tunewright deployments canary {before.name} MODEL",
            )
        fallback = [one for one in before.settings.get("fallback", ()) if one != canary]
        more = {"model": canary, "fallback": fallback, "canary": _without_model(before)}
        return _changed(before, {**before.settings, **more})

    return revise(store, reference, signed, edit)


def roll_back(
    store: Store, reference: str, by: str, to: int | None = None, reason: str | None = None
) -> Deployment:
    """Serve as an earlier revision did; whether it is on stays as it is.

    Args:
        to: the revision; the latest one with other settings where none is named.

    Raises:
        NotFoundError: there is no such deployment or revision.
        InputError: a model that it served is gone.
    """
    with store.transaction():
        current = store.get(Deployment, reference)
        past = _revision(current, history(store, current.id), to)
        gone = [model for model in past.evidence if store.by_id(Model, model) is None]
        if gone:
            raise InputError(f"revision {past.revision} served {gone[0]}, which is deleted")
        known = {
            model: entry if _there(store, entry) else {**entry, "evaluation": None}
            for model, entry in past.evidence.items()
        }
        signed = Signed(by, f"rolled back to revision {past.revision}", reason)
        update = {"settings": past.settings, "evidence": known}
        return revise(store, current.id, signed, lambda _: update)


def _given(values: dict[str, Any]) -> dict[str, Any]:
    """The settings less those that are null: they go back to what they are by themselves."""
    return {
        name: _given(value) if isinstance(value, dict) else value
        for name, value in values.items()
        if value is not None
    }


def _there(store: Store, entry: Mapping[str, str | None]) -> bool:
    evaluation = entry.get("evaluation")
    return evaluation is None or store.by_id(Evaluation, evaluation) is not None


def _revision(current: Deployment, past: list[Deployment], to: int | None) -> Deployment:
    if to is None:
        others = [one for one in past if one.settings != current.settings]
        if not others:
            raise InputError(f"deployment {current.name!r} has never had other settings")
        return others[-1]
    for one in past:
        if one.revision == to:
            return one
    raise NotFoundError(
        f"deployment {current.name!r} has no revision {to}; it has 1 to {current.revision}"
    )


def _current(store: Store, order: Order) -> Deployment | None:
    before = next((d for d in store.list(Deployment) if d.name == order.name), None)
    if before is None and order.new is False:
        raise NotFoundError(
            f"no deployment {order.name!r} in {store.home}",
            f"Make one: tunewright deploy {order.name} MODEL",
        )
    if before is not None and order.new:
        raise InputError(f"there is a deployment named {order.name!r} already")
    return before


def _check_name(name: str) -> None:
    if not 1 <= len(name) <= _LONGEST_NAME or not name.isprintable() or name != name.strip():
        raise ConfigError(
            f"{name[:40]!r} is no name for a deployment: 1 to {_LONGEST_NAME} characters, no line"
            " breaks and no spaces around it"
        )
    if name == "latest" or name.startswith(("ft:", UPSTREAM)) or set(name) & set("/?#%\\"):
        raise ConfigError(
            f"{name[:40]!r} is no name for a deployment",
            "Leave out / ? # % and \\; ft:…, upstream:… and 'latest' mean other things.",
        )


def _word(before: Deployment, config: DeployConfig) -> str:
    old = before.settings.get("canary", {}).get("model")
    if config.canary.model != old and config.model == before.settings.get("model"):
        return "canary" if config.canary.model else "canary ended"
    return "changed"


def _without_model(before: Deployment) -> dict[str, Any]:
    return {**before.settings.get("canary", {}), **_NO_CANARY}


def _changed(before: Deployment, settings: dict[str, Any]) -> dict[str, Any]:
    """The fields of a revision with these settings; evidence of models that left is dropped."""
    names = DeployConfig.build(settings).references()
    evidence = {name: before.evidence[name] for name in names if name in before.evidence}
    return {"settings": settings, "evidence": evidence}


# References -----------------------------------------------------------------------------------


def _named(store: Store, values: dict[str, Any], naming: Naming) -> dict[str, Any]:
    """The settings with references in the place of names."""
    found = dict(values)
    if isinstance(found.get("model"), str):
        found["model"] = naming(store, found["model"])
    if isinstance(found.get("fallback"), list | tuple):
        found["fallback"] = [naming(store, str(name)) for name in found["fallback"]]
    canary = found.get("canary")
    if isinstance(canary, dict) and isinstance(canary.get("model"), str):
        found["canary"] = {**canary, "model": naming(store, canary["model"])}
    return found


def tuned_reference(store: Store, name: str) -> str | None:
    """The id of a tuned model, by its name, id or ``latest``; None where there is none.

    Raises:
        InputError: it is a reward model.
    """
    model = store.find(Model, name)
    if model is None:
        return None
    if head_file(store.folder(Model, model.id)).is_file():
        raise InputError(
            f"{model.name} is a reward model: it gives answers a number and writes none"
        )
    return model.id


def local_reference(store: Store, name: str) -> str:
    """What a name means on this machine's command line, where no server's options are known.

    Raises:
        NotFoundError: with the nearest names.
        InputError: it is a reward model.
    """
    if name.startswith(UPSTREAM):
        return name
    tuned = tuned_reference(store, name)
    if tuned is not None:
        return tuned
    models = store.list(Model)
    bases = {public_base_name(model.base): model.base for model in models}
    if name in bases:
        return bases[name]
    path = Path(name).expanduser()
    if path.is_dir() and (path / "config.json").is_file():
        return str(path.resolve())
    if name in BUNDLED or name.startswith("modelscope:") or _hub_id(name):
        return name
    known = [*BUNDLED, *bases, *(model.name for model in models)]
    close = difflib.get_close_matches(name[:128], known, n=3, cutoff=0.4) or known[:3]
    raise NotFoundError(
        f"{name[:128]!r} is neither a tuned model nor a base",
        f"Known: {', '.join(dict.fromkeys(close))}; a server of `serve` goes by {UPSTREAM}NAME.",
    )


def _hub_id(name: str) -> bool:
    owner, slash, rest = name.partition("/")
    return bool(owner and slash and rest) and "/" not in rest and not name.startswith((".", "~"))
