"""Deployments as our own routes tell of them."""

from __future__ import annotations

from typing import Any, Literal

from tunewright.api.objects import Exact
from tunewright.core.records import Deployment
from tunewright.deployment.live import Live


class ArmObject(Exact):
    """How one side of a trial has done."""

    requests: int
    failed: int


class StandingObject(Exact):
    """How a deployment fares on this server."""

    missing: dict[str, str]
    """``{model: why it cannot be asked here}``."""
    model: ArmObject | None = None
    """While a canary is tried: the model beside it."""
    canary: ArmObject | None = None


class EvidenceObject(Exact):
    """Why a tuned model may be served."""

    evaluation: str | None
    """Id of the one that says so."""
    override: str | None
    """The reason that stands in its place."""


class ParityObject(Exact):
    """Whether a model is served as it was trained."""

    comparison: str | None = None
    """Its id; missing where there is nothing to compare."""
    state: Literal["pending", "running", "passed", "failed", "not_compared"]
    reason: str


class DeploymentObject(Exact):
    """A public name, and what answers under it."""

    id: str
    object: Literal["deployment"]
    created_at: int
    changed_at: int
    name: str
    settings: dict[str, Any]
    """By the names of the options of `tunewright deploy`; tuned models go by their ids."""
    evidence: dict[str, EvidenceObject]
    """By ids of tuned models."""
    parity: dict[str, ParityObject]
    """By models, as the settings name them."""
    on: bool
    off_by: Literal["person", "health"] | None
    """Who switched it off."""
    revision: int
    change: str
    """What this revision changed."""
    by: str
    """Who: ``cli:<user>``, ``key:<id>``, ``api``, or a rule."""
    reason: str | None
    standing: StandingObject | None = None
    """Missing in a history, and of what this server does not run."""


class DeploymentDeleted(Exact):
    """A deployment that is not there any more; its history stays."""

    id: str
    object: Literal["deployment"]
    name: str
    deleted: Literal[True]


def deployment_object(record: Deployment, live: Live | None = None) -> dict[str, Any]:
    """A ``DeploymentObject``; of one that this server runs, also how it stands."""
    values = record.model_dump(mode="json", exclude={"version", "project", "created", "changed"})
    return {
        **values,
        "object": "deployment",
        "created_at": int(record.created),
        "changed_at": int(record.changed),
        **({"standing": live.standing(), "parity": live.proof.told} if live is not None else {}),
    }
