"""The files of a batch: its input held fast, its answers written as OpenAI writes them."""

from __future__ import annotations

import json
import os
import secrets
import shutil
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any

from tunewright.core.asked_records import Batch
from tunewright.core.records import File
from tunewright.core.results import Result, Results
from tunewright.core.store import Store
from tunewright.jobs.asking import Reply
from tunewright.jobs.batch_lines import Line, unanswered
from tunewright.jobs.filestore import content_path, place, spooling

COMPLETED, FAILED = "completed", "failed"
_PURPOSE = "batch_output"
_NEVER_ASKED = {
    "expired": ("batch_expired", "the time of the batch was up before this request began"),
    "cancelled": ("batch_cancelled", "the batch was cancelled before this request ended"),
}


def input_path(store: Store, batch: Batch) -> Path:
    """Where the input is while the batch has not ended."""
    return store.folder(Batch, batch.id) / "input.jsonl"


def hold_input(store: Store, batch: Batch, file: File) -> None:
    """Keep the input for the batch, whatever becomes of its file."""
    with store.stage(Batch, batch.id) as folder:
        path = folder / "input.jsonl"
        try:
            os.link(content_path(store, file), path)
        except OSError:
            # Not every file system knows a second name for a file.
            shutil.copyfile(content_path(store, file), path)


def result(line: Line, reply: Reply) -> Result:
    """A line of the output or the error file."""
    timed_out = reply.code == "timeout"
    response = {"status_code": reply.status, "request_id": reply.id, "body": reply.body}
    told = reply.body.get("error", {})
    body = {
        "id": f"batch_req_{secrets.token_hex(12)}",
        "custom_id": line.custom_id,
        "response": None if timed_out else response,
        "error": _error("request_timeout", told.get("message", "")) if timed_out else None,
    }
    return Result(line.number, COMPLETED if reply.status == 200 else FAILED, body)


def write_output(store: Store, batch: Batch) -> File | None:
    """The answers, in the order of the input; nothing sees the file before its record is added."""
    lines = (one.body for one in Results(store).each(batch.id, COMPLETED))
    return _write(store, batch, "output", lines)


def write_errors(store: Store, batch: Batch, end: str) -> File | None:
    """Errors in the order of the input, then what was never asked when the batch ended early."""
    results = Results(store)
    failed = (one.body for one in results.each(batch.id, FAILED))
    return _write(store, batch, "error", chain(failed, _never_asked(store, batch, end)))


def _never_asked(store: Store, batch: Batch, end: str) -> Iterator[dict[str, Any]]:
    if end not in _NEVER_ASKED or batch.in_progress_at is None:
        return
    answered = Results(store).numbers(batch.id)
    for line in unanswered(input_path(store, batch), answered):
        yield {
            "id": f"batch_req_{secrets.token_hex(12)}",
            "custom_id": line.custom_id,
            "response": None,
            "error": _error(*_NEVER_ASKED[end]),
        }


def _error(code: str, message: str) -> dict[str, Any]:
    return {"code": code, "message": message}


def _write(store: Store, batch: Batch, what: str, lines: Iterable[dict[str, Any]]) -> File | None:
    with spooling(store, File) as spool:
        for line in lines:
            spool.write(json.dumps(line, ensure_ascii=False).encode() + b"\n")
        if not spool.size:
            return None
        file = File(
            id=store.new_id(File),
            name=f"{batch.id}_{what}.jsonl",
            purpose=_PURPOSE,
            bytes=spool.size,
            sha256=spool.sha256,
            project=batch.project,
        )
        if batch.file_seconds is not None:
            file = file.model_copy(update={"expires": file.created + batch.file_seconds})
        place(store, file, spool)
    return file
