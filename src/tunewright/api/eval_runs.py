"""OpenAI's /v1/evals/{eval_id}/runs: answers tested, in the background."""

from __future__ import annotations

import asyncio
import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from fastapi import APIRouter, Depends, Request
from pydantic import ValidationError

from tunewright.api.access import authenticate
from tunewright.api.asking import AskerOf
from tunewright.api.caller import Caller
from tunewright.api.eval_objects import (
    item_number,
    item_object,
    run_object,
    run_state,
)
from tunewright.api.eval_requests import (
    MOST_STORED,
    CompletionsRun,
    CreateRunRequest,
    FileContent,
    FileId,
    StoredRows,
)
from tunewright.api.evals import Limit, Order, eval_of, forget_run
from tunewright.api.paging import list_object, page
from tunewright.api.repeats import AttemptsOf
from tunewright.api.resources import (
    BackgroundOf,
    CallerOf,
    ConfigOf,
    StoreOf,
    json_body,
    parse_body,
)
from tunewright.api.stored_completions import completions_of
from tunewright.config.serving import ServeConfig
from tunewright.core.asked_records import Eval, EvalRun
from tunewright.core.completions import StoredCompletion
from tunewright.core.errors import ConfigError
from tunewright.core.queue import Queue
from tunewright.core.requests import Attempt, made_record, make_once
from tunewright.core.results import Results
from tunewright.core.store import Store
from tunewright.deployment.protocol import ChatRequest
from tunewright.deployment.replies import RequestError
from tunewright.grading.templates import template
from tunewright.jobs.eval_rows import Row, request, template_messages, write_rows
from tunewright.jobs.evals import EVAL
from tunewright.jobs.filestore import content_path, find_file

router = APIRouter(prefix="/v1/evals/{eval_id}/runs", dependencies=[Depends(authenticate)])
_OVER = ("completed", "failed", "canceled")


@router.post(
    "", summary="Run an eval", status_code=201, openapi_extra=json_body("CreateRunRequest")
)
async def create_run(
    http: Request,
    eval_id: str,
    caller: CallerOf,
    store: StoreOf,
    config: ConfigOf,
    attempts: AttemptsOf,
    background: BackgroundOf,
    asker: AskerOf,
) -> dict[str, Any]:
    """At once; rows that do not fit fail it a moment later."""
    asked = await parse_body(http, CreateRunRequest)
    of = await asyncio.to_thread(eval_of, store, eval_id, caller)
    run = _new(store, of, caller, asked)
    if run.model is not None:
        await asker.find(run.model, caller.project, caller.key or "")
        _check_request(run)
    attempt = attempts.at(asked.model_dump())
    run = await asyncio.to_thread(_add, store, config, run, of, asked, attempt)
    background.wake()
    return run_object(store, run, _base(http))


def _new(store: Store, of: Eval, caller: Caller, asked: CreateRunRequest) -> EvalRun:
    source = asked.data_source
    model = source.model if isinstance(source, CompletionsRun) else None
    if isinstance(source, CompletionsRun) and model is None:
        if not isinstance(source.source, StoredRows):
            raise RequestError(400, "model: who is to answer?", param="data_source.model")
        if source.input_messages is not None:
            raise RequestError(
                400, "input_messages need a model that answers them", param="data_source.model"
            )
    return EvalRun(
        id=store.new_id(EvalRun),
        project=caller.project,
        eval=of.id,
        name=asked.name or "Unnamed",
        source=_without_rows(source.model_dump(exclude_none=True)),
        model=model,
        api_key=caller.key or "",
        metadata=asked.metadata or {},
    )


def _without_rows(source: dict[str, Any]) -> dict[str, Any]:
    """They are in a file, and need not be in the record too."""
    rows = source["source"]
    return {**source, "source": {**rows, "content": []}} if "content" in rows else source


def _check_request(run: EvalRun) -> None:
    """Refuse messages and sampling that no row could make good."""
    given = run.source.get("input_messages") or {}
    if given.get("type") == "template":
        try:
            for message in template_messages(given["template"]):
                template(message.content)
        except (ValidationError, ConfigError) as error:
            what = error.message if isinstance(error, ConfigError) else _first(error)
            raise RequestError(400, what, param="data_source.input_messages.template") from None
    probe = [{"role": "user", "content": "?"}]
    referred = {"type": "item_reference", "item_reference": "item.input"}
    source = {**run.source, "input_messages": referred}
    body = request(run.model_copy(update={"source": source}), Row(0, {"input": probe}, None))
    strange = set(run.source.get("sampling_params") or {}) - set(body) - {"reasoning_effort"}
    if strange:
        param = f"data_source.sampling_params.{min(strange)}"
        raise RequestError(400, f"{param} is none that is known", param=param)
    ChatRequest.parse(json.dumps(body).encode())


def _first(error: ValidationError) -> str:
    return error.errors()[0]["msg"].removeprefix("Value error, ")


def _add(
    store: Store,
    config: ServeConfig,
    run: EvalRun,
    of: Eval,
    asked: CreateRunRequest,
    attempt: Attempt,
) -> EvalRun:
    """The run, its rows and its place in the queue; or the one of an earlier attempt."""
    known = made_record(store, attempt, EvalRun)
    if known is not None:
        return known
    with store.stage(EvalRun, run.id) as folder:
        _place_rows(store, config, run, of, asked, folder)
    queue = Queue(store)
    return make_once(store, attempt, run, lambda: queue.enqueue(run.id, EVAL, run.project or ""))


def _place_rows(
    store: Store,
    config: ServeConfig,
    run: EvalRun,
    of: Eval,
    asked: CreateRunRequest,
    folder: Path,
) -> None:
    """Whatever the source is, the rows end up in one file of the run's own."""
    source = asked.data_source.source
    if isinstance(source, FileContent):
        write_rows(folder, (row.model_dump(exclude_none=True) for row in source.content))
    elif isinstance(source, FileId):
        file = find_file(store, source.id, run.project or "")
        if file is None:
            raise RequestError(
                400,
                f"there is no file {source.id!r}",
                param="data_source.source.id",
                code="file_not_found",
            )
        shutil.copyfile(content_path(store, file), folder / "items.jsonl")
    else:
        write_rows(folder, _stored(store, config, run, of, source))


def _stored(
    store: Store, config: ServeConfig, run: EvalRun, of: Eval, source: StoredRows
) -> Iterator[dict[str, Any]]:
    """Stored completions as rows, the newest first."""
    labels = {**(of.source.get("metadata") or {}), **(source.metadata or {})}
    completions = completions_of(store, config)
    left = source.limit or MOST_STORED
    after, more = None, True
    while more and left > 0:
        found, more = completions.page(
            run.project or "",
            100,
            after,
            ascending=False,
            model=source.model,
            metadata=labels,
        )
        for stored in found:
            after = stored.id
            if left > 0 and _within(stored, source):
                left -= 1
                yield _row(stored)


def _within(stored: StoredCompletion, source: StoredRows) -> bool:
    begin = float("-inf") if source.created_after is None else source.created_after
    end = float("inf") if source.created_before is None else source.created_before
    return begin <= stored.created <= end


def _row(stored: StoredCompletion) -> dict[str, Any]:
    messages = [
        {"role": one["role"], "content": _plain(one.get("content"))}
        for one in stored.request["messages"]
    ]
    choice = (stored.reply.get("choices") or [{}])[0]
    usage = stored.reply.get("usage") or {}
    details = usage.get("prompt_tokens_details") or {}
    counts = {name: int(usage.get(name) or 0) for name in _COUNTS}
    return {
        "item": {"input": messages, "metadata": stored.metadata, "completion_id": stored.id},
        "sample": {
            "output_text": (choice.get("message") or {}).get("content") or "",
            "input": messages,
            "finish_reason": choice.get("finish_reason"),
            "model": stored.model,
            "usage": {**counts, "cached_tokens": int(details.get("cached_tokens") or 0)},
        },
    }


_COUNTS = ("total_tokens", "completion_tokens", "prompt_tokens")


def _plain(content: Any) -> str:
    if isinstance(content, list):
        return "".join(str(part.get("text", "")) for part in content)
    return str(content or "")


@router.get("", summary="List runs")
def list_runs(
    http: Request,
    eval_id: str,
    caller: CallerOf,
    store: StoreOf,
    after: str | None = None,
    limit: Limit = 20,
    order: Order = "asc",
    status: Literal["queued", "in_progress", "completed", "canceled", "failed"] | None = None,
) -> dict[str, Any]:
    """The oldest first."""
    of = eval_of(store, eval_id, caller)
    runs = [
        run
        for run in store.list(EvalRun, caller.project)
        if run.eval == of.id and status in (None, run_state(store, run)[0])
    ]
    base = _base(http)
    return list_object(*page(runs, after, limit, order), lambda run: run_object(store, run, base))


@router.get("/{run_id}", summary="One run")
def retrieve_run(
    http: Request, eval_id: str, run_id: str, caller: CallerOf, store: StoreOf
) -> dict[str, Any]:
    """Where it stands."""
    return run_object(store, _run_of(store, eval_id, run_id, caller), _base(http))


@router.post("/{run_id}", summary="Cancel a run, as OpenAI's document has it")
@router.post("/{run_id}/cancel", summary="Cancel a run")
async def cancel_run(
    http: Request,
    eval_id: str,
    run_id: str,
    caller: CallerOf,
    store: StoreOf,
    background: BackgroundOf,
) -> dict[str, Any]:
    """What was tested until then stays."""
    run = await asyncio.to_thread(_cancel, store, eval_id, run_id, caller)
    background.wake()
    return run_object(store, run, _base(http))


def _cancel(store: Store, eval_id: str, run_id: str, caller: Caller) -> EvalRun:
    with store.transaction():
        run = _run_of(store, eval_id, run_id, caller)
        state, _ = run_state(store, run)
        if state == "canceled" or run.canceling_at is not None:
            return run
        if state in _OVER:
            raise RequestError(
                409, f"run {run.id} is {state}, so it cannot be cancelled", param="run_id"
            )
        return store.change(EvalRun, run.id, canceling_at=time.time())


@router.delete("/{run_id}", summary="Delete a run")
def delete_run(eval_id: str, run_id: str, caller: CallerOf, store: StoreOf) -> dict[str, Any]:
    """With all that it found; one that is under way ends."""
    with store.transaction():
        run = _run_of(store, eval_id, run_id, caller)
        forget_run(store, run)
    return {"object": "eval.run.deleted", "deleted": True, "run_id": run.id}


@router.get("/{run_id}/output_items", summary="What a run found")
def list_items(
    eval_id: str,
    run_id: str,
    caller: CallerOf,
    store: StoreOf,
    after: str | None = None,
    limit: Limit = 20,
    order: Order = "asc",
    status: Literal["pass", "fail", "error"] | None = None,
) -> dict[str, Any]:
    """Row by row."""
    run = _run_of(store, eval_id, run_id, caller)
    place = None if after is None else item_number(run, after)
    if after is not None and place is None:
        # Nothing comes after what is not there, as in every other list.
        return list_object([], False, dict)
    found, more = Results(store).page(
        run.id, limit, place, ascending=order == "asc", outcome=status
    )
    return list_object(found, more, lambda one: item_object(run, one))


@router.get("/{run_id}/output_items/{output_item_id}", summary="What a run found for one row")
def retrieve_item(
    eval_id: str, run_id: str, output_item_id: str, caller: CallerOf, store: StoreOf
) -> dict[str, Any]:
    """The answer, and what each criterion says of it."""
    run = _run_of(store, eval_id, run_id, caller)
    number = item_number(run, output_item_id)
    found = None if number is None else Results(store).get(run.id, number)
    if found is None:
        raise RequestError(
            404, f"there is no output item {output_item_id[:128]!r}", param="output_item_id"
        )
    return item_object(run, found)


def _run_of(store: Store, eval_id: str, run_id: str, caller: Caller) -> EvalRun:
    of = eval_of(store, eval_id, caller)
    run = store.by_id(EvalRun, run_id)
    if run is None or run.eval != of.id:
        raise RequestError(404, f"there is no run {run_id[:128]!r} of {of.id}", param="run_id")
    return run


def _base(http: Request) -> str:
    return str(http.base_url).rstrip("/")
