"""Our own routes for exports: ask for one, see how it stands, delete it."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from pydantic import BaseModel, ConfigDict, Field

from tunewright.api.access import authenticate, gateway_of
from tunewright.api.caller import Caller
from tunewright.api.export_objects import PLACES, export_object
from tunewright.api.paging import MOST, list_object, page
from tunewright.api.repeats import AttemptsOf
from tunewright.api.resources import BackgroundOf, CallerOf, StoreOf, json_body, parse_body
from tunewright.config.base import merge
from tunewright.config.export import ExportConfig
from tunewright.core.errors import ConfigError, InputError
from tunewright.core.queue import Queue
from tunewright.core.records import Dataset, Export
from tunewright.core.requests import Attempt, make_once
from tunewright.core.store import Store
from tunewright.deployment.catalog import Target
from tunewright.deployment.gateway import Gateway
from tunewright.deployment.replies import RequestError
from tunewright.export.record import delete_export
from tunewright.jobs.exporting import EXPORT

router = APIRouter(prefix="/v1/exports", dependencies=[Depends(authenticate)])
GatewayOf = Annotated[Gateway, Depends(gateway_of)]


class CreateExportRequest(BaseModel):
    """The body of POST /v1/exports."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    model: str = Field(min_length=1, max_length=512)
    """A tuned model or a base, by its name."""
    settings: dict[str, Any] = Field(default_factory=dict)
    """By the names of the options of `tunewright export`, such as `to`; not where it goes."""


@router.post(
    "", summary="Export a model", status_code=201, openapi_extra=json_body("CreateExportRequest")
)
async def create_export(
    request: Request,
    caller: CallerOf,
    store: StoreOf,
    gateway: GatewayOf,
    attempts: AttemptsOf,
    background: BackgroundOf,
) -> dict[str, Any]:
    """In the background, one after the other; it is compared with the model at its end."""
    asked = await parse_body(request, CreateExportRequest)
    target = await gateway.find(asked.model, caller.audience)
    attempt = attempts.at(asked.model_dump())
    record = await asyncio.to_thread(_add, store, caller, asked, target, attempt)
    background.wake()
    return await asyncio.to_thread(export_object, store, record)


@router.get("", summary="List exports")
def list_exports(
    caller: CallerOf,
    store: StoreOf,
    after: str | None = None,
    limit: Annotated[int, Query(ge=1, le=MOST)] = 20,
) -> dict[str, Any]:
    """Those of the caller's project, newest first."""
    found = store.list(Export, caller.project)
    return list_object(*page(found, after, limit), lambda one: export_object(store, one), None)


@router.get("/{export_id}", summary="One export")
def retrieve_export(export_id: str, caller: CallerOf, store: StoreOf) -> dict[str, Any]:
    """How it stands, what it was made of, and how it compares with its model."""
    return export_object(store, _export_of(store, export_id, caller))


@router.delete("/{export_id}", summary="Delete an export")
def remove_export(export_id: str, caller: CallerOf, store: StoreOf) -> dict[str, Any]:
    """With its folder; one that is being made is broken off."""
    record = _export_of(store, export_id, caller)
    try:
        delete_export(store, record)
    except InputError as error:
        raise RequestError(409, error.message, code="conflict") from None
    return {"id": record.id, "object": "export", "deleted": True}


def _export_of(store: Store, export_id: str, caller: Caller) -> Export:
    record = store.by_id(Export, export_id)
    if record is None or record.project != caller.project:
        raise RequestError(404, f"there is no export {export_id[:128]!r}", param="export_id")
    return record


def _add(
    store: Store, caller: Caller, asked: CreateExportRequest, target: Target, attempt: Attempt
) -> Export:
    config = _config(store, caller, asked, target)
    new = Store.new_id(Export)
    folder = store.home / Export.folder / new
    config = config.model_copy(update={"output": str(folder), "overwrite": True})
    record = Export(
        id=new,
        project=caller.project,
        model=target.name,
        model_id=target.model.id if target.model else None,
        format=config.to,
        path=str(folder),
        state="queued",
        settings=config.json_dict(),
    )
    enqueue = partial(Queue(store).enqueue, new, EXPORT, caller.project)
    return make_once(store, attempt, record, enqueue)


def _config(
    store: Store, caller: Caller, asked: CreateExportRequest, target: Target
) -> ExportConfig:
    if target.model is None and target.server is not None:
        raise RequestError(400, f"{target.name!r} is another server's", param="model")
    for name in PLACES:
        if name in asked.settings:
            raise RequestError(400, f"settings.{name} is not for clients", param="settings")
    reference = target.model.id if target.model else target.base
    try:
        config = ExportConfig.build(merge(asked.settings, {"model": reference}))
    except ConfigError as error:
        raise RequestError(400, str(error), param="settings", code="invalid_value") from None
    for part in (config.parity, config.quantize):
        if part.dataset is not None:
            found = store.find(Dataset, part.dataset)
            if found is None or found.project not in (None, caller.project):
                message = f"there is no dataset {part.dataset[:128]!r}"
                raise RequestError(400, message, param="settings", code="not_found")
    return config
