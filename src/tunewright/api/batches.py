"""OpenAI's /v1/batches: a file of requests, answered when there is time."""

from __future__ import annotations

import asyncio
import time
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Request
from pydantic import BaseModel, ConfigDict, Field

from tunewright.api.access import authenticate
from tunewright.api.asking import ENDPOINTS
from tunewright.api.caller import Caller
from tunewright.api.files import ExpiresAfter
from tunewright.api.paging import MOST, list_object, page
from tunewright.api.repeats import AttemptsOf
from tunewright.api.resources import (
    BackgroundOf,
    CallerOf,
    Metadata,
    StoreOf,
    json_body,
    parse_body,
)
from tunewright.core.asked_records import Batch
from tunewright.core.queue import Queue
from tunewright.core.records import File
from tunewright.core.requests import Attempt, made_record, make_once
from tunewright.core.store import Store
from tunewright.deployment.replies import RequestError
from tunewright.jobs.batch_files import hold_input
from tunewright.jobs.batches import BATCH
from tunewright.jobs.filestore import find_file

router = APIRouter(prefix="/v1/batches", dependencies=[Depends(authenticate)])
_PURPOSE = "batch"
_WINDOW = 24 * 3600
# The first of its times that a batch has says where it stands.
_STATES = (
    "cancelled",
    "expired",
    "failed",
    "completed",
    "finalizing",
    "cancelling",
    "in_progress",
)
_OVER = ("cancelled", "expired", "failed", "completed", "finalizing")


class CreateBatchRequest(BaseModel):
    """The body of POST /v1/batches."""

    model_config = ConfigDict(extra="forbid")

    input_file_id: str = Field(min_length=1, max_length=128)
    """A file with the purpose batch: one request per line."""
    endpoint: str = Field(max_length=64)
    """What all of its requests ask: a path under /v1."""
    completion_window: Literal["24h"]
    metadata: Metadata | None = None
    output_expires_after: ExpiresAfter | None = None
    """How long the files with the answers live."""


@router.post("", summary="Create a batch", openapi_extra=json_body("CreateBatchRequest"))
async def create_batch(
    request: Request,
    caller: CallerOf,
    store: StoreOf,
    attempts: AttemptsOf,
    background: BackgroundOf,
) -> dict[str, Any]:
    """At once; what is wrong with its file fails it a moment later, line by line."""
    asked = await parse_body(request, CreateBatchRequest)
    if asked.endpoint not in ENDPOINTS:
        raise RequestError(
            400,
            f"endpoint {asked.endpoint!r} is none for batches here; allowed: "
            + ", ".join(ENDPOINTS),
            param="endpoint",
            code="unsupported_endpoint",
        )
    batch = _new(store, caller, asked)
    attempt = attempts.at(asked.model_dump())
    batch = await asyncio.to_thread(_add, store, batch, attempt)
    background.wake()
    return batch_object(store, batch)


def _new(store: Store, caller: Caller, asked: CreateBatchRequest) -> Batch:
    after = asked.output_expires_after
    now = time.time()
    return Batch(
        id=store.new_id(Batch),
        created=now,
        project=caller.project,
        endpoint=asked.endpoint,
        input_file=asked.input_file_id,
        expires=now + _WINDOW,
        file_seconds=None if after is None else after.checked(),
        api_key=caller.key or "",
        metadata=asked.metadata,
    )


def _add(store: Store, batch: Batch, attempt: Attempt) -> Batch:
    """The batch and its place in the queue, both or none; or the one of an earlier attempt."""
    known = made_record(store, attempt, Batch)
    if known is not None:
        return known
    hold_input(store, batch, _input(store, batch))
    queue = Queue(store)
    return make_once(
        store, attempt, batch, lambda: queue.enqueue(batch.id, BATCH, batch.project or "")
    )


def _input(store: Store, batch: Batch) -> File:
    file = find_file(store, batch.input_file, batch.project or "")
    if file is None:
        raise RequestError(
            400,
            f"there is no file {batch.input_file!r}",
            param="input_file_id",
            code="file_not_found",
        )
    if file.purpose != _PURPOSE:
        raise RequestError(
            400,
            f"file {file.id} was uploaded with purpose {file.purpose!r}, not {_PURPOSE!r}",
            param="input_file_id",
            code="invalid_file_purpose",
        )
    return file


@router.get("", summary="List batches")
def list_batches(
    caller: CallerOf,
    store: StoreOf,
    after: str | None = None,
    limit: Annotated[int, Query(ge=0, le=MOST)] = 20,
) -> dict[str, Any]:
    """Newest first."""
    found, more = page(store.list(Batch, caller.project), after, limit)
    return list_object(found, more, lambda batch: batch_object(store, batch), None)


@router.get("/{batch_id}", summary="One batch")
def retrieve_batch(batch_id: str, caller: CallerOf, store: StoreOf) -> dict[str, Any]:
    """Where it stands."""
    return batch_object(store, _batch_of(store, batch_id, caller))


@router.post("/{batch_id}/cancel", summary="Cancel a batch")
async def cancel_batch(
    batch_id: str, caller: CallerOf, store: StoreOf, background: BackgroundOf
) -> dict[str, Any]:
    """What was answered until then is in its output file, a moment later."""
    batch = await asyncio.to_thread(cancel, store, batch_id, caller)
    background.wake()
    return batch_object(store, batch)


def cancel(store: Store, batch_id: str, caller: Caller) -> Batch:
    """Ask for a batch's end; its task sees it a moment later.

    Raises:
        RequestError: 404, or 409 when it has ended.
    """
    with store.transaction():
        batch = _batch_of(store, batch_id, caller)
        state = _state(batch, _given_up(store, batch))
        if state in ("cancelling", "cancelled"):
            # The reply to an earlier attempt may have been lost.
            return batch
        if state in _OVER:
            raise RequestError(
                409,
                f"batch {batch.id} is {state}, so it cannot be cancelled",
                code="batch_not_in_this_state",
            )
        return store.change(Batch, batch.id, cancelling_at=time.time())


def _batch_of(store: Store, batch_id: str, caller: Caller) -> Batch:
    batch = store.by_id(Batch, batch_id)
    if batch is None or batch.project != caller.project:
        raise RequestError(404, f"there is no batch {batch_id[:128]!r}", param="batch_id")
    return batch


def _given_up(store: Store, batch: Batch) -> dict[str, Any] | None:
    """Why the queue gave a batch up, if it did: its server broke off again and again."""
    if any(getattr(batch, f"{state}_at") for state in ("cancelled", "expired", "completed")):
        return None
    if batch.failed_at is not None:
        return None
    entry = Queue(store).get(batch.id)
    if entry.state != "failed" or entry.error is None:
        return None
    told = {key: entry.error.get(key) for key in ("code", "message", "param")}
    return {**told, "line": None, "at": entry.finished}


def _state(batch: Batch, given_up: dict[str, Any] | None) -> str:
    if given_up is not None:
        return "failed"
    found = (state for state in _STATES if getattr(batch, f"{state}_at") is not None)
    return next(found, "validating")


def batch_object(store: Store, batch: Batch) -> dict[str, Any]:
    """OpenAI's batch."""
    given_up = _given_up(store, batch)
    errors = list(batch.errors)
    failed_at = batch.failed_at
    if given_up is not None:
        failed_at = given_up.pop("at")
        errors.append(given_up)
    times = {f"{state}_at": _whole(getattr(batch, f"{state}_at")) for state in _STATES}
    return {
        "id": batch.id,
        "object": "batch",
        "endpoint": batch.endpoint,
        "model": batch.model,
        "errors": {"object": "list", "data": errors} if errors else None,
        "input_file_id": batch.input_file,
        "completion_window": "24h",
        "status": _state(batch, given_up),
        "output_file_id": batch.output_file,
        "error_file_id": batch.error_file,
        "created_at": int(batch.created),
        "expires_at": int(batch.expires),
        **times,
        "failed_at": _whole(failed_at),
        "request_counts": {
            "total": batch.total,
            "completed": batch.completed,
            "failed": batch.failed,
        },
        "usage": _usage(batch),
        "metadata": batch.metadata,
    }


def _usage(batch: Batch) -> dict[str, Any]:
    return {
        "input_tokens": batch.prompt_tokens,
        "input_tokens_details": {"cached_tokens": batch.cached_tokens},
        "output_tokens": batch.completion_tokens,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": batch.prompt_tokens + batch.completion_tokens,
    }


def _whole(seconds: float | None) -> int | None:
    return None if seconds is None else int(seconds)
