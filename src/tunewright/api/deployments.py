"""Our own routes for deployments: list, create, change, switch, canary, rollback, history."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel, ConfigDict, Field

from tunewright.api.access import authenticate
from tunewright.api.caller import Caller
from tunewright.api.deployment_objects import deployment_object
from tunewright.api.openai import DeploymentsOf
from tunewright.api.paging import list_object
from tunewright.api.resources import CallerOf, ConfigOf, StoreOf, json_body, parse_body
from tunewright.config.deployment import UPSTREAM
from tunewright.config.serving import ServeConfig
from tunewright.core.deployments import (
    DELETED,
    Signed,
    delete_deployment,
    deployments_of,
    history,
    switch,
)
from tunewright.core.errors import EvidenceError, InputError, NotFoundError
from tunewright.core.records import Deployment
from tunewright.core.store import Store
from tunewright.deployment.catalog import find_target, reference_target
from tunewright.deployment.deploy import (
    Naming,
    Order,
    deploy,
    end_canary,
    promote,
    roll_back,
    set_canary,
    tuned_reference,
)
from tunewright.deployment.deployments import Deployments
from tunewright.deployment.parity import COMPARED_AGAIN, compare_again
from tunewright.deployment.replies import RequestError

router = APIRouter(prefix="/v1/deployments", dependencies=[Depends(authenticate)])
T = TypeVar("T")
M = TypeVar("M", bound=BaseModel)
_Reason = Annotated[str | None, Field(max_length=2000)]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)


class ChangeDeploymentRequest(_Body):
    """The body of POST /v1/deployments/{name}."""

    settings: dict[str, Any] = Field(default_factory=dict)
    """By the names of the options of `tunewright deploy`; others stay as they are."""
    override: _Reason = None
    """Why a tuned model may be served that no evaluation speaks for; it is kept."""
    reason: _Reason = None
    """Why, for the history."""


class CreateDeploymentRequest(ChangeDeploymentRequest):
    """The body of POST /v1/deployments."""

    name: str = Field(min_length=1, max_length=128)
    """What clients will ask for."""
    model: str = Field(min_length=1, max_length=512)
    """Who answers: a base, a tuned model, or upstream:NAME."""


class SwitchDeploymentRequest(_Body):
    """The body of POST /v1/deployments/{name}/on, /off, /promote; may be empty."""

    reason: _Reason = None
    """Why, for the history."""


class CanaryRequest(SwitchDeploymentRequest):
    """The body of POST /v1/deployments/{name}/canary."""

    model: str = Field(min_length=1, max_length=512)
    """The model to try."""
    percent: float = Field(default=10.0, gt=0, lt=100)
    """Its share of the requests, in percent."""
    override: _Reason = None
    """Why a tuned model may be served that no evaluation speaks for; it is kept."""


class RollbackDeploymentRequest(SwitchDeploymentRequest):
    """The body of POST /v1/deployments/{name}/rollback."""

    revision: int | None = Field(default=None, ge=1)
    """To which; the latest with other settings where none is named."""


class _Act:
    """Changes the store, and lets the running deployments know at once."""

    def __init__(self, store: StoreOf, deployments: DeploymentsOf) -> None:
        self._store = store
        self._deployments: Deployments = deployments

    async def __call__(self, change: Callable[[Store], Deployment]) -> dict[str, Any]:
        changed = await _told(lambda: change(self._store))
        await self._deployments.refresh()
        return deployment_object(changed, self._deployments.get(changed.name))


ActOf = Annotated[_Act, Depends(_Act)]


async def _named(name: str, store: StoreOf) -> Deployment:
    """The deployment of exactly this name or id."""
    for found in await asyncio.to_thread(deployments_of, store):
        if name in (found.name, found.id):
            return found
    raise RequestError(404, f"there is no deployment {name[:128]!r}", code="not_found")


NamedOf = Annotated[Deployment, Depends(_named)]


class _Change:
    """A change of the named deployment, signed by its caller, with the reason that the body gives;
    a body may be left out."""

    def __init__(self, named: NamedOf, request: Request, act: ActOf, caller: CallerOf) -> None:
        self._named, self._request = named, request
        self._act: _Act = act
        self._by = _by(caller)

    async def __call__(
        self, change: str, work: Callable[[Store, str, Signed], Deployment]
    ) -> dict[str, Any]:
        asked = await _maybe(self._request, SwitchDeploymentRequest)
        signed = Signed(self._by, change, asked.reason)
        return await self._act(lambda store: work(store, self._named.id, signed))


ChangeOf = Annotated[_Change, Depends(_Change)]


def _optional(name: str) -> dict[str, Any]:
    """As ``json_body``, for a body that may be left out."""
    body = json_body(name)["requestBody"]
    return {"requestBody": {**body, "required": False}}


@router.get("", summary="List deployments")
async def list_deployments(store: StoreOf, deployments: DeploymentsOf) -> dict[str, Any]:
    """Newest first."""
    found = await asyncio.to_thread(deployments_of, store)
    return list_object(
        found, False, lambda one: deployment_object(one, deployments.get(one.name)), None
    )


@router.post("", summary="Deploy a model", openapi_extra=json_body("CreateDeploymentRequest"))
async def create_deployment(
    request: Request, act: ActOf, caller: CallerOf, config: ConfigOf
) -> dict[str, Any]:
    """Under a new name."""
    asked = await parse_body(request, CreateDeploymentRequest)
    values = {**asked.settings, "model": asked.model}
    order = Order(asked.name, values, _by(caller), asked.reason, asked.override, new=True)
    return await act(lambda store: deploy(store, order, _naming(config)))


@router.get("/{name}", summary="One deployment")
async def retrieve_deployment(named: NamedOf, deployments: DeploymentsOf) -> dict[str, Any]:
    """Its settings, why its models may be served, and how it stands."""
    return deployment_object(named, deployments.get(named.name))


@router.post(
    "/{name}", summary="Change a deployment", openapi_extra=json_body("ChangeDeploymentRequest")
)
async def change_deployment(
    named: NamedOf, request: Request, act: ActOf, caller: CallerOf, config: ConfigOf
) -> dict[str, Any]:
    """What is not named stays; null puts a setting back."""
    asked = await parse_body(request, ChangeDeploymentRequest)
    order = Order(named.name, asked.settings, _by(caller), asked.reason, asked.override, new=False)
    return await act(lambda store: deploy(store, order, _naming(config)))


@router.delete("/{name}", summary="Delete a deployment")
async def remove_deployment(named: NamedOf, act: ActOf, caller: CallerOf) -> dict[str, Any]:
    """The name leads nowhere from then on; its history stays."""
    gone = await act(lambda store: delete_deployment(store, named.id, Signed(_by(caller), DELETED)))
    return {"id": gone["id"], "object": "deployment", "name": gone["name"], "deleted": True}


@router.get("/{name}/revisions", summary="A deployment's history")
async def list_revisions(name: str, store: StoreOf) -> dict[str, Any]:
    """Oldest first; also of one that is deleted."""
    found = await _told(lambda: history(store, name))
    return list_object(found, False, deployment_object, None)


@router.post(
    "/{name}/on",
    summary="Switch a deployment on",
    openapi_extra=_optional("SwitchDeploymentRequest"),
)
async def switch_on(change: ChangeOf) -> dict[str, Any]:
    """Its model answers."""
    return await change("on", lambda store, name, signed: switch(store, name, True, signed))


@router.post(
    "/{name}/off",
    summary="Switch a deployment off",
    openapi_extra=_optional("SwitchDeploymentRequest"),
)
async def switch_off(change: ChangeOf) -> dict[str, Any]:
    """Its fixed answer or an error is all that comes, until somebody switches it on."""
    return await change("off", lambda store, name, signed: switch(store, name, False, signed))


@router.post(
    "/{name}/compare",
    summary="Compare a deployment's models with what was trained, again",
    openapi_extra=_optional("SwitchDeploymentRequest"),
)
async def compare(named: NamedOf, request: Request, act: ActOf, caller: CallerOf) -> dict[str, Any]:
    """What is known by now is forgotten; under `parity: require` they do not answer until then."""
    asked = await _maybe(request, SwitchDeploymentRequest)
    signed = Signed(_by(caller), COMPARED_AGAIN, asked.reason)
    return await act(lambda store: compare_again(store, named.id, signed))


@router.post(
    "/{name}/canary", summary="Try a second model", openapi_extra=json_body("CanaryRequest")
)
async def try_canary(
    named: NamedOf, request: Request, act: ActOf, caller: CallerOf, config: ConfigOf
) -> dict[str, Any]:
    """It gets a share of the requests, and is taken back by itself when it fails more often."""
    asked = await parse_body(request, CanaryRequest)
    order = Order(named.name, {}, _by(caller), asked.reason, asked.override)
    return await act(
        lambda store: set_canary(store, order, asked.model, asked.percent, _naming(config))
    )


@router.delete("/{name}/canary", summary="Take a canary back")
async def stop_canary(named: NamedOf, act: ActOf, caller: CallerOf) -> dict[str, Any]:
    """All requests go to the model again."""
    signed = Signed(_by(caller), "canary taken back")
    return await act(lambda store: end_canary(store, named.id, signed))


@router.post(
    "/{name}/promote",
    summary="Put the canary in the model's place",
    openapi_extra=_optional("SwitchDeploymentRequest"),
)
async def promote_canary(change: ChangeOf) -> dict[str, Any]:
    """All requests go to it from then on."""
    return await change("promoted", promote)


@router.post(
    "/{name}/rollback",
    summary="Serve as an earlier revision did",
    openapi_extra=_optional("RollbackDeploymentRequest"),
)
async def roll_back_deployment(
    named: NamedOf, request: Request, act: ActOf, caller: CallerOf
) -> dict[str, Any]:
    """As a new revision; whether it is on stays as it is."""
    asked = await _maybe(request, RollbackDeploymentRequest)
    return await act(
        lambda store: roll_back(store, named.id, _by(caller), asked.revision, asked.reason)
    )


async def _told(work: Callable[[], T]) -> T:
    """The result of work on the store, its refusals in OpenAI's shape."""
    try:
        return await asyncio.to_thread(work)
    except NotFoundError as error:
        raise RequestError(404, str(error), code="not_found") from None
    except EvidenceError as error:
        raise RequestError(409, str(error), param="model", code="evaluation_required") from None
    except InputError as error:
        raise RequestError(400, str(error), code="invalid_value") from None


async def _maybe(request: Request, cls: type[M]) -> M:
    """The JSON body, which may be left out."""
    empty = request.headers.get("content-length", "0") == "0"
    chunked = "transfer-encoding" in request.headers
    return cls() if empty and not chunked else await parse_body(request, cls)


def _naming(config: ServeConfig) -> Naming:
    """A name of the API means what this server serves, and nothing else of this machine."""

    def name_of(store: Store, name: str) -> str:
        if name.startswith(UPSTREAM):
            reference_target(store, config, name)
            return name
        tuned = tuned_reference(store, name)
        if tuned is not None:
            return tuned
        target = find_target(store, config, name)
        served_there = target.server is not None and target.base == target.server
        return f"{UPSTREAM}{target.server}/{target.known_as}" if served_there else target.base

    return name_of


def _by(caller: Caller) -> str:
    return f"key:{caller.key}" if caller.key else "api"
