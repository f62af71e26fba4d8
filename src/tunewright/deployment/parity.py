"""Is a tuned model served as it was trained? What is to be compared, and what is known of it.

A comparison is asked for once for each model and way of serving it, whoever serves it, and its
outcome is written into every deployment of the model as a revision.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any

from tunewright import __version__
from tunewright.config.deployment import DeployConfig
from tunewright.config.serving import ServeConfig
from tunewright.core.deployments import Signed, revise
from tunewright.core.errors import NotFoundError
from tunewright.core.files import digest
from tunewright.core.queue import Queue
from tunewright.core.records import Comparison, Deployment, Model
from tunewright.core.settings import answering_precision
from tunewright.core.store import Store
from tunewright.deployment.catalog import Target

PARITY = "parity"
"""Kind of a comparison in the queue."""
RULE = "parity rule"
COMPARED_AGAIN = "to be compared again"
Told = dict[str, str]
"""How a comparison stands: ``{comparison, state, reason}``; the first is missing where there is
none. States: pending, running, passed, failed, not_compared."""

_CHANGES = {
    "passed": "parity passed",
    "failed": "parity failed",
    "not_compared": "parity not compared",
}
_NO_MODEL: Told = {"state": "not_compared", "reason": "no tuned model: nothing to compare it with"}
_OFF: Told = {"state": "not_compared", "reason": "parity is off for this deployment"}
_WAITING: Told = {"state": "pending", "reason": "a running server compares it when it has a moment"}


def conditions(config: ServeConfig) -> dict[str, Any]:
    """What decides how a server computes answers, besides the model."""
    return {
        "tunewright": __version__,
        **{package: version(package) for package in ("torch", "transformers")},
        "device": config.device,
        "precision": answering_precision(),
        "kv_tokens": config.kv_tokens,
    }


def comparison_of(model: Model, target: Target, how: Mapping[str, Any]) -> Comparison:
    """What is to be known of a tuned model; the same one has the same id everywhere."""
    served = {
        **how,
        "base": model.base_digest,
        "renderer": model.renderer_hash,
        "server": target.server,
    }
    mark = digest({"model": model.id, "served": served})[:12]
    return Comparison(
        id=f"{Comparison.prefix}{Comparison.joint}{mark}",
        model=model.id,
        project=model.project,
        served=served,
    )


@dataclass
class Proof:
    """What is known of a deployment's models.

    Attributes:
        told: how each that may answer stands, by its reference.
        open: comparisons of tuned models that have no outcome yet, by reference.
        held: what must not be asked before it has passed, by reference, and why.
    """

    told: dict[str, Told] = field(default_factory=dict)
    open: dict[str, Comparison] = field(default_factory=dict)
    held: dict[str, str] = field(default_factory=dict)


def proof_of(
    record: Deployment,
    config: DeployConfig,
    targets: Mapping[str, Target | None],
    how: Mapping[str, Any],
) -> Proof:
    """What a deployment's record says of its models under these conditions."""
    proof = Proof()
    for reference, target in targets.items():
        if target is None or target.model is None:
            proof.told[reference] = _NO_MODEL
        elif config.parity == "off":
            proof.told[reference] = _OFF
        else:
            wanted = comparison_of(target.model, target, how)
            told = record.parity.get(reference, {})
            if told.get("comparison") != wanted.id:
                told = {"comparison": wanted.id, **_WAITING}
                proof.open[reference] = wanted
            proof.told[reference] = told
            if config.parity == "require" and told["state"] != "passed":
                proof.held[reference] = (
                    f"{target.name!r} is not served before a comparison has shown that it answers"
                    f" as it was trained: {told['state'].replace('_', ' ')}"
                )
    return proof


def seek(store: Store, deployment: str, reference: str, wanted: Comparison) -> Told:
    """Have a model compared, unless that was done or asked for, and write an outcome down.

    Returns:
        How it stands.
    """
    found = store.by_id(Comparison, wanted.id) or _ask(store, wanted)
    told = _told(store, found)
    if told["state"] in _CHANGES:
        _settle(store, deployment, reference, told)
    return told


def parity_of(store: Store, deployment: Deployment) -> dict[str, Told]:
    """How each that may answer stands, as the store knows it."""
    config = DeployConfig.build(deployment.settings)
    newest = {one.model: one for one in reversed(store.list(Comparison))}
    told: dict[str, Told] = {}
    for reference in config.references():
        if store.by_id(Model, reference) is None:
            told[reference] = _NO_MODEL
        elif config.parity == "off":
            told[reference] = _OFF
        elif reference in deployment.parity:
            told[reference] = deployment.parity[reference]
        elif reference in newest:
            told[reference] = _told(store, newest[reference])
        else:
            told[reference] = _WAITING
    return told


def compare_again(store: Store, reference: str, signed: Signed) -> Deployment:
    """Forget what is known of a deployment's models; a running server then compares them anew.

    Raises:
        NotFoundError: there is no such deployment.
    """
    with store.transaction():
        found = store.get(Deployment, reference)
        models = DeployConfig.build(found.settings).references()
        for one in store.list(Comparison):
            if one.model in models:
                Queue(store).forget(one.id)
                store.delete(Comparison, one.id)
        return revise(store, found.id, signed, lambda _: {"parity": {}})


def _ask(store: Store, wanted: Comparison) -> Comparison:
    """Of several servers that want it at once, one puts it into the queue."""
    with store.transaction():
        found = store.by_id(Comparison, wanted.id)
        if found is None:
            found = wanted
            store.add(found)
            Queue(store).enqueue(found.id, PARITY, found.project or "")
        return found


def _told(store: Store, comparison: Comparison) -> Told:
    told = {"comparison": comparison.id}
    if comparison.outcome is not None:
        return {**told, "state": comparison.outcome, "reason": comparison.reason}
    try:
        entry = Queue(store).get(comparison.id)
    except NotFoundError:
        return {**told, **_WAITING}
    if entry.state == "running":
        return {**told, "state": "running", "reason": "it is being compared"}
    if entry.state in ("queued", "paused"):
        return {**told, **_WAITING}
    why = (entry.error or {}).get("message", "it was given up")
    return {**told, "state": "not_compared", "reason": str(why)}


def _settle(store: Store, deployment: str, reference: str, told: Told) -> None:
    def edit(before: Deployment) -> Mapping[str, Any]:
        names = DeployConfig.build(before.settings).references()
        if reference not in names:
            return {}
        kept = {name: entry for name, entry in before.parity.items() if name in names}
        return {"parity": {**kept, reference: told}}

    model = store.by_id(Model, reference)
    reason = f"{model.name if model else reference}: {told['reason']}"
    revise(store, deployment, Signed(RULE, _CHANGES[told["state"]], reason), edit)
