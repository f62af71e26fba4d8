"""OpenAI's /v1/evals: what answers are tested for."""

from __future__ import annotations

import asyncio
import time
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Request

from tunewright.api.access import authenticate
from tunewright.api.asking import AskerOf
from tunewright.api.caller import Caller
from tunewright.api.eval_objects import eval_object
from tunewright.api.eval_requests import CreateEvalRequest, UpdateEvalRequest
from tunewright.api.paging import MOST, list_object, page
from tunewright.api.repeats import AttemptsOf
from tunewright.api.resources import CallerOf, StoreOf, json_body, parse_body
from tunewright.core.asked_records import Eval, EvalRun
from tunewright.core.errors import InputError
from tunewright.core.queue import Queue
from tunewright.core.requests import make_once
from tunewright.core.results import Results
from tunewright.core.store import Store
from tunewright.deployment.replies import RequestError
from tunewright.jobs.criteria import parse_criterion
from tunewright.jobs.eval_rows import item_validator

router = APIRouter(prefix="/v1/evals", dependencies=[Depends(authenticate)])
Limit = Annotated[int, Query(ge=0, le=MOST)]
Order = Literal["asc", "desc"]


@router.post(
    "", summary="Create an eval", status_code=201, openapi_extra=json_body("CreateEvalRequest")
)
async def create_eval(
    request: Request,
    caller: CallerOf,
    store: StoreOf,
    attempts: AttemptsOf,
    asker: AskerOf,
) -> dict[str, Any]:
    """Criteria that cannot work here are refused at once."""
    asked = await parse_body(request, CreateEvalRequest)
    source = asked.data_source_config.model_dump(exclude_none=True)
    await _check(asked, asker, caller)
    record = Eval(
        id=store.new_id(Eval),
        project=caller.project,
        name=asked.name or "Unnamed",
        source=source,
        criteria=tuple(asked.testing_criteria),
        metadata=asked.metadata or {},
    )
    attempt = attempts.at(asked.model_dump())
    return eval_object(await asyncio.to_thread(make_once, store, attempt, record))


async def _check(asked: CreateEvalRequest, asker: AskerOf, caller: Caller) -> None:
    names: set[str] = set()
    for number, values in enumerate(asked.testing_criteria):
        param = f"testing_criteria.{number}"
        try:
            criterion = await asyncio.to_thread(parse_criterion, values)
        except InputError as error:
            raise RequestError(400, error.message, param=param, code="invalid_grader") from None
        if criterion.name in names:
            raise RequestError(400, f"two criteria are called {criterion.name!r}", param=param)
        names.add(criterion.name)
        if criterion.judge is not None:
            await asker.find(criterion.judge, caller.project, caller.key or "")
    if asked.data_source_config.type == "custom":
        try:
            item_validator(asked.data_source_config.item_schema)
        except InputError as error:
            param = "data_source_config.item_schema"
            raise RequestError(400, error.message, param=param) from None


@router.get("", summary="List evals")
def list_evals(
    caller: CallerOf,
    store: StoreOf,
    after: str | None = None,
    limit: Limit = 20,
    order: Order = "asc",
    order_by: Literal["created_at", "updated_at"] = "created_at",
) -> dict[str, Any]:
    """The oldest first; or by their last change."""
    found = store.list(Eval, caller.project)
    if order_by == "created_at":
        return list_object(*page(found, after, limit, order), eval_object)
    ordered = sorted(found, key=lambda one: (one.updated, one.id), reverse=order == "desc")
    places = [one.id for one in ordered]
    begin = places.index(after) + 1 if after in places else 0
    rest = ordered[begin:]
    return list_object(rest[:limit], len(rest) > limit, eval_object)


@router.get("/{eval_id}", summary="One eval")
def retrieve_eval(eval_id: str, caller: CallerOf, store: StoreOf) -> dict[str, Any]:
    """What it tests for."""
    return eval_object(eval_of(store, eval_id, caller))


@router.post(
    "/{eval_id}", summary="Rename or label an eval", openapi_extra=json_body("UpdateEvalRequest")
)
async def update_eval(
    request: Request, eval_id: str, caller: CallerOf, store: StoreOf
) -> dict[str, Any]:
    """What it tests for stays: runs are to be comparable."""
    asked = await parse_body(request, UpdateEvalRequest)
    changes = asked.model_dump(exclude_none=True)
    return eval_object(await asyncio.to_thread(_change, store, eval_id, caller, changes))


def _change(store: Store, eval_id: str, caller: Caller, changes: dict[str, Any]) -> Eval:
    with store.transaction():
        record = eval_of(store, eval_id, caller)
        record = record.model_copy(update={**changes, "updated": time.time()})
        store.update(record)
        return record


@router.delete("/{eval_id}", summary="Delete an eval")
def delete_eval(eval_id: str, caller: CallerOf, store: StoreOf) -> dict[str, Any]:
    """With its runs; those that are under way end."""
    with store.transaction():
        record = eval_of(store, eval_id, caller)
        for run in store.list(EvalRun, caller.project):
            if run.eval == record.id:
                forget_run(store, run)
        store.delete(Eval, record.id)
    return {"object": "eval.deleted", "deleted": True, "eval_id": record.id}


def forget_run(store: Store, run: EvalRun) -> None:
    """Delete a run with all that it found; to be called in a transaction."""
    Queue(store).forget(run.id)
    Results(store).delete(run.id)
    store.delete(EvalRun, run.id)


def eval_of(store: Store, eval_id: str, caller: Caller) -> Eval:
    """The caller's eval.

    Raises:
        RequestError: 404; also for another project's.
    """
    record = store.by_id(Eval, eval_id)
    if record is None or record.project != caller.project:
        raise RequestError(404, f"there is no eval {eval_id[:128]!r}", param="eval_id")
    return record
