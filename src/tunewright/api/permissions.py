"""Tuned models and checkpoints: deleting them, and leave for other projects to use them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Request
from pydantic import BaseModel, ConfigDict, Field

from tunewright.api.access import authenticate
from tunewright.api.caller import Caller
from tunewright.api.paging import MOST, list_object, page
from tunewright.api.resources import CallerOf, StoreOf, json_body, parse_body
from tunewright.core.errors import InputError
from tunewright.core.records import CheckpointPermission, Model
from tunewright.core.store import Store
from tunewright.deployment.replies import RequestError

router = APIRouter(prefix="/v1", dependencies=[Depends(authenticate)])
_PERMISSIONS = "/fine_tuning/checkpoints/{checkpoint:path}/permissions"
_ORDERS: dict[str, Literal["asc", "desc"]] = {"ascending": "asc", "descending": "desc"}


class CreatePermissionRequest(BaseModel):
    """Whom to give leave."""

    model_config = ConfigDict(extra="forbid")

    project_ids: list[Annotated[str, Field(min_length=1, max_length=64)]] = Field(
        min_length=1, max_length=100
    )


@router.delete("/models/{model:path}", summary="Delete a tuned model")
def delete_model(model: str, caller: CallerOf, store: StoreOf) -> dict[str, Any]:
    """It is not served any more; what was trained from it keeps it from being deleted."""
    record = _model_of(store, model, caller)
    try:
        store.delete(Model, record.id)
    except InputError as error:
        raise RequestError(409, error.message, param="model", code="model_in_use") from None
    return {"id": record.name, "object": "model", "deleted": True}


@router.get(_PERMISSIONS, summary="List who may use a checkpoint")
def list_permissions(
    checkpoint: str,
    caller: CallerOf,
    store: StoreOf,
    project_id: str | None = None,
    after: str | None = None,
    limit: Annotated[int, Query(ge=0, le=MOST)] = 10,
    order: Literal["ascending", "descending"] = "descending",
) -> dict[str, Any]:
    """Newest first."""
    name = _model_of(store, checkpoint, caller).name
    found = [one for one in _of(store, name, caller) if project_id in (None, one.grantee)]
    return list_object(*page(found, after, limit, _ORDERS[order]), _object, None)


@router.post(
    _PERMISSIONS,
    summary="Let projects use a checkpoint",
    openapi_extra=json_body("CreatePermissionRequest"),
)
async def create_permissions(
    checkpoint: str, request: Request, caller: CallerOf, store: StoreOf
) -> dict[str, Any]:
    """A project that has leave already keeps what it has."""
    asked = await parse_body(request, CreatePermissionRequest)
    name = _model_of(store, checkpoint, caller).name
    with store.transaction():
        held = {one.grantee: one for one in _of(store, name, caller)}
        made = []
        for grantee in dict.fromkeys(asked.project_ids):
            if grantee not in held:
                held[grantee] = CheckpointPermission(
                    id=store.new_id(CheckpointPermission),
                    checkpoint=name,
                    grantee=grantee,
                    project=caller.project,
                )
                store.add(held[grantee])
            made.append(held[grantee])
    return list_object(made, False, _object, None)


@router.delete(_PERMISSIONS + "/{permission_id}", summary="Take leave back")
def delete_permission(
    checkpoint: str, permission_id: str, caller: CallerOf, store: StoreOf
) -> dict[str, Any]:
    """From then on it is as though it had never been given."""
    found = store.by_id(CheckpointPermission, permission_id)
    if found is None or (found.project, found.checkpoint) != (caller.project, checkpoint):
        raise RequestError(404, f"there is no permission {permission_id[:128]!r}")
    store.delete(CheckpointPermission, found.id)
    return {"id": found.id, "object": "checkpoint.permission", "deleted": True}


def _of(store: Store, name: str, caller: Caller) -> list[CheckpointPermission]:
    mine = store.list(CheckpointPermission, caller.project)
    return [one for one in mine if one.checkpoint == name]


def _model_of(store: Store, name: str, caller: Caller) -> Model:
    """A tuned model by its name or id, that is nobody else's."""
    for model in store.list(Model):
        names = (model.name, model.id)
        mine = model.project in (None, caller.project)
        if name in names and mine and caller.audience.may_ask(*names):
            return model
    raise RequestError(
        404,
        f"there is no tuned model {name[:128]!r}",
        param="model",
        code="model_not_found",
    )


def _object(permission: CheckpointPermission) -> dict[str, Any]:
    return {
        "id": permission.id,
        "object": "checkpoint.permission",
        "created_at": int(permission.created),
        "project_id": permission.grantee,
    }
