"""OpenAI's /v1/fine_tuning/jobs: create, watch, cancel, pause, resume."""

from __future__ import annotations

import asyncio
import secrets
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request

from tunewright.api.access import authenticate, gateway_of
from tunewright.api.caller import Caller
from tunewright.api.job_objects import checkpoint_object, event_object, job_object, place_of
from tunewright.api.job_requests import CreateJobRequest, checks_of, recipe_of
from tunewright.api.paging import MOST, cut, list_object, metadata_filter, page
from tunewright.api.repeats import AttemptsOf
from tunewright.api.resources import (
    CallerOf,
    ConfigOf,
    DispatcherOf,
    StoreOf,
    json_body,
    parse_body,
)
from tunewright.core.queue import Ask, Queue
from tunewright.core.records import FineTuningJob
from tunewright.core.requests import Attempt, make_once
from tunewright.core.store import Store
from tunewright.deployment.gateway import Gateway
from tunewright.deployment.replies import RequestError
from tunewright.jobs.filestore import find_file
from tunewright.jobs.journal import Journal, Note
from tunewright.jobs.work import FILES

router = APIRouter(prefix="/v1/fine_tuning/jobs", dependencies=[Depends(authenticate)])
Limit = Annotated[int, Query(ge=0, le=MOST)]
_PURPOSE = "fine-tune"


@router.post("", summary="Create a fine-tuning job", openapi_extra=json_body("CreateJobRequest"))
async def create_job(
    request: Request,
    caller: CallerOf,
    store: StoreOf,
    config: ConfigOf,
    gateway: Annotated[Gateway, Depends(gateway_of)],
    attempts: AttemptsOf,
    dispatcher: DispatcherOf,
) -> dict[str, Any]:
    """At once; what is wrong with its files fails it later, as with OpenAI."""
    asked = await parse_body(request, CreateJobRequest)
    recipe, checks = recipe_of(asked, config.device), checks_of(asked)
    target = await gateway.find(asked.model, caller.audience)
    seed = asked.seed if asked.seed is not None else secrets.randbelow(2**31)
    job = FineTuningJob(
        id=store.new_id(FineTuningJob),
        project=caller.project,
        model=asked.model,
        start=target.model.id if target.model else target.base,
        training_file=asked.training_file,
        validation_file=asked.validation_file,
        method=asked.kind,
        hyperparameters=asked.asked(),
        suffix=asked.suffix,
        seed=seed,
        metadata=asked.metadata,
        recipe={**recipe, "seed": seed},
        checks=checks,
        options=asked.tunewright,
    )
    notes = _first_notes(job, asked)
    attempt = attempts.at(asked.model_dump())
    job = await asyncio.to_thread(_add, store, job, notes, attempt)
    dispatcher.wake()
    return job_object(store, job)


def _add(store: Store, job: FineTuningJob, notes: list[Note], attempt: Attempt) -> FineTuningJob:
    """The job, its place in the queue and its first notes, all or none; or an earlier one."""
    for param in ("training_file", "validation_file"):
        _require_file(store, job, param)

    def begin() -> None:
        Queue(store).enqueue(job.id, FILES, job.project or "")
        Journal(store).write(job.id, notes)

    return make_once(store, attempt, job, begin)


def _first_notes(job: FineTuningJob, asked: CreateJobRequest) -> list[Note]:
    notes = [Note(f"Created fine-tuning job: {job.id}")]
    if asked.integrations:
        kinds = ", ".join(sorted({str(one.get("type"))[:32] for one in asked.integrations}))
        notes.append(
            Note(f"Integrations are left out: this server sends nothing to {kinds}", "warn")
        )
    return notes


def _require_file(store: Store, job: FineTuningJob, param: str) -> None:
    file_id = getattr(job, param)
    if file_id is None:
        return
    file = find_file(store, file_id, job.project or "")
    if file is None:
        raise RequestError(400, f"there is no file {file_id!r}", param=param, code="file_not_found")
    if file.purpose != _PURPOSE:
        raise RequestError(
            400,
            f"file {file_id} was uploaded with purpose {file.purpose!r}, not {_PURPOSE!r}",
            param=param,
            code="invalid_file_purpose",
        )


@router.get("", summary="List fine-tuning jobs")
def list_jobs(
    request: Request,
    caller: CallerOf,
    store: StoreOf,
    after: str | None = None,
    limit: Limit = 20,
) -> dict[str, Any]:
    """Newest first; ``metadata[key]=value`` names those wanted, ``metadata=null`` those without."""
    wanted, bare = metadata_filter(request.query_params)
    jobs = [
        job
        for job in store.list(FineTuningJob, caller.project)
        if (not bare or not job.metadata) and wanted.items() <= (job.metadata or {}).items()
    ]
    known = {entry.id: entry for entry in Queue(store).list(project=caller.project)}
    return list_object(*page(jobs, after, limit), lambda job: job_object(store, job, known), None)


@router.get("/{job_id}", summary="One fine-tuning job")
def retrieve_job(job_id: str, caller: CallerOf, store: StoreOf) -> dict[str, Any]:
    """Where it stands."""
    return job_object(store, _job_of(store, job_id, caller))


@router.post("/{job_id}/cancel", summary="Cancel a job")
def cancel_job(
    job_id: str, caller: CallerOf, store: StoreOf, dispatcher: DispatcherOf
) -> dict[str, Any]:
    """It makes no model any more; its checkpoints so far stay."""
    return _asked(store, job_id, caller, "cancel", dispatcher)


@router.post("/{job_id}/pause", summary="Pause a job")
def pause_job(
    job_id: str, caller: CallerOf, store: StoreOf, dispatcher: DispatcherOf
) -> dict[str, Any]:
    """One that trains saves first, and is paused a moment later."""
    return _asked(store, job_id, caller, "pause", dispatcher)


@router.post("/{job_id}/resume", summary="Go on with a paused job")
def resume_job(
    job_id: str, caller: CallerOf, store: StoreOf, dispatcher: DispatcherOf
) -> dict[str, Any]:
    """From where it was saved."""
    return _asked(store, job_id, caller, "resume", dispatcher)


# States in which a request has been fulfilled already; its first reply may have been lost.
_DONE = {"cancel": ("cancelled",), "pause": ("paused",), "resume": ("queued", "running")}
_TOLD = {"cancel": "Fine-tuning job cancelled", "pause": "Fine-tuning job paused"}


def _asked(
    store: Store, job_id: str, caller: Caller, what: Ask, dispatcher: DispatcherOf
) -> dict[str, Any]:
    job = _job_of(store, job_id, caller)
    queue = Queue(store)
    with store.transaction():
        before = queue.get(job.id)
        changed = queue.ask(job.id, what)
        after = queue.get(job.id)
        if changed and after.state != before.state:
            told = _TOLD.get(what, "Fine-tuning job resumed")
            Journal(store).write(job.id, [Note(told)])
    if not changed and after.state not in _DONE[what]:
        state = "cancelled" if after.asked == "cancel" else after.state
        raise RequestError(
            409, f"job {job.id} is {state}, so it cannot {what}", code="job_not_in_this_state"
        )
    dispatcher.wake()
    return job_object(store, job)


@router.get("/{job_id}/events", summary="What a job tells")
def list_events(
    job_id: str,
    caller: CallerOf,
    store: StoreOf,
    after: str | None = None,
    limit: Limit = 20,
) -> dict[str, Any]:
    """Newest first."""
    job = _job_of(store, job_id, caller)
    before = None if after is None else place_of(after)
    told = Journal(store).newest(job.id, limit + 1, before)
    return list_object(*cut(told, limit), event_object, None)


@router.get("/{job_id}/checkpoints", summary="A job's checkpoints")
def list_checkpoints(
    job_id: str,
    caller: CallerOf,
    store: StoreOf,
    after: str | None = None,
    limit: Limit = 10,
) -> dict[str, Any]:
    """Newest first; the last three can be asked for as models."""
    job = _job_of(store, job_id, caller)
    found = Journal(store).checkpoints(job.id)
    if after is not None:
        step = place_of(after)
        found = [told for told in found if (told.note.checkpoint or 0) < step]
    return list_object(*cut(found, limit), lambda told: checkpoint_object(job, told), None)


def _job_of(store: Store, job_id: str, caller: Caller) -> FineTuningJob:
    job = store.by_id(FineTuningJob, job_id)
    if job is None or job.project != caller.project:
        raise RequestError(
            404,
            f"there is no fine-tuning job {job_id[:128]!r}",
            param="fine_tuning_job_id",
            code="fine_tune_not_found",
        )
    return job
