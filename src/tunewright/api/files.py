"""OpenAI's /v1/files: uploads that go to the disk as they come, lists, bodies."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import FileResponse
from pydantic import BaseModel, ConfigDict

from tunewright.api.access import authenticate
from tunewright.api.caller import Caller
from tunewright.api.multipart import Form, read_form
from tunewright.api.paging import MOST, Order, list_object, page
from tunewright.api.repeats import Attempts, AttemptsOf
from tunewright.api.resources import CallerOf, StoreOf
from tunewright.core.records import File
from tunewright.core.requests import Attempt, made_record, remember
from tunewright.core.store import Store
from tunewright.deployment.replies import RequestError
from tunewright.jobs.filestore import (
    Spool,
    content_path,
    find_file,
    is_live,
    place,
    printable_name,
    spooling,
)

router = APIRouter(prefix="/v1/files", dependencies=[Depends(authenticate)])

PURPOSES = ("assistants", "batch", "fine-tune", "vision", "user_data", "evals")
MAX_FILE_BYTES = 512 * 1024 * 1024
MAX_BATCH_BYTES = 200 * 1024 * 1024
_SECONDS = (3600, 30 * 24 * 3600)
_BATCH_SECONDS = 30 * 24 * 3600
_FORM = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file", "purpose"],
                    "properties": {
                        "file": {"type": "string", "format": "binary"},
                        "purpose": {"type": "string", "enum": list(PURPOSES)},
                        "expires_after[anchor]": {"type": "string", "enum": ["created_at"]},
                        "expires_after[seconds]": {
                            "type": "integer",
                            "minimum": _SECONDS[0],
                            "maximum": _SECONDS[1],
                        },
                    },
                }
            }
        },
    }
}


@router.post("", summary="Upload a file", openapi_extra=_FORM)
async def create_file(
    request: Request, caller: CallerOf, store: StoreOf, attempts: AttemptsOf
) -> dict[str, Any]:
    """Of a form with ``file`` and ``purpose``; its body is on the disk before the reply."""
    with spooling(store, File) as spool:
        form = await read_form(request, spool, "file", MAX_FILE_BYTES)
        purpose = known_purpose(form.values.get("purpose"))
        seconds = _lifetime(form.values)
        if purpose == "batch" and spool.size > MAX_BATCH_BYTES:
            raise RequestError(
                413, f"a batch file has at most {MAX_BATCH_BYTES:,} bytes", param="file"
            )
        return await asyncio.to_thread(
            _admitted, store, caller, attempts, spool, form, purpose, seconds
        )


def _admitted(
    store: Store,
    caller: Caller,
    attempts: Attempts,
    spool: Spool,
    form: Form,
    purpose: str,
    seconds: int | None,
) -> dict[str, Any]:
    name = printable_name(form.filename or "")
    attempt = attempts.at([purpose, name, seconds, spool.sha256])
    file = new_file(store, caller.project, name, purpose, spool, seconds)
    return file_object(admit(store, file, spool, attempt))


def new_file(
    store: Store, project: str, name: str, purpose: str, spool: Spool, seconds: int | None
) -> File:
    """The record of a body that came whole."""
    if seconds is None and purpose == "batch":
        seconds = _BATCH_SECONDS
    file = File(
        id=store.new_id(File),
        name=name,
        purpose=purpose,
        bytes=spool.size,
        sha256=spool.sha256,
        project=project,
    )
    return file if seconds is None else file.model_copy(update={"expires": file.created + seconds})


def admit(store: Store, file: File, spool: Spool, attempt: Attempt) -> File:
    """Make a spooled file visible; or find the one that an earlier attempt made."""
    known = earlier_file(store, attempt)
    if known is not None:
        return known
    place(store, file, spool)
    with store.transaction():
        known = earlier_file(store, attempt)
        if known is None:
            store.add(file)
            remember(store, attempt, file.id)
    return known or file


def earlier_file(store: Store, attempt: Attempt) -> File | None:
    """The file that an earlier attempt made."""
    return made_record(store, attempt, File)


def known_purpose(purpose: str | None) -> str:
    """A purpose that a client may give.

    Raises:
        RequestError: 400 for another one, or none.
    """
    if purpose not in PURPOSES:
        given = "is missing" if purpose is None else f"{purpose[:64]!r} is none that is known"
        raise RequestError(400, f"purpose {given}; allowed: {', '.join(PURPOSES)}", param="purpose")
    return purpose


def _lifetime(values: Mapping[str, str]) -> int | None:
    """``expires_after`` of a form, in seconds."""
    strange = sorted(values.keys() - {"purpose", *_EXPIRY})
    if strange:
        raise RequestError(400, f"the form has an unknown field {strange[0]!r}", param=strange[0])
    if not set(_EXPIRY) & values.keys():
        return None
    anchor, text = (values.get(key, "") for key in _EXPIRY)
    seconds = int(text) if text.isascii() and text.isdigit() and len(text) < 10 else -1
    return checked_lifetime(anchor, seconds)


_EXPIRY = ("expires_after[anchor]", "expires_after[seconds]")


class ExpiresAfter(BaseModel):
    """How long a file is to live."""

    model_config = ConfigDict(extra="forbid")

    anchor: str
    seconds: int

    def checked(self) -> int:
        """The seconds, see ``checked_lifetime``."""
        return checked_lifetime(self.anchor, self.seconds)


def checked_lifetime(anchor: str, seconds: int) -> int:
    """Seconds that a file is to live.

    Raises:
        RequestError: 400 for another anchor, or seconds out of bounds.
    """
    if anchor != "created_at":
        raise RequestError(
            400, "expires_after.anchor must be 'created_at'", param="expires_after.anchor"
        )
    if not _SECONDS[0] <= seconds <= _SECONDS[1]:
        raise RequestError(
            400,
            f"expires_after.seconds must be a number from {_SECONDS[0]} to {_SECONDS[1]}",
            param="expires_after.seconds",
        )
    return seconds


@router.get("", summary="List files")
def list_files(
    caller: CallerOf,
    store: StoreOf,
    purpose: str | None = None,
    after: str | None = None,
    limit: Annotated[int, Query(ge=0, le=MOST)] = MOST,
    order: Order = "desc",
) -> dict[str, Any]:
    """Those of the caller's project whose time is not up, newest first."""
    files = [
        file
        for file in store.list(File, caller.project)
        if is_live(file) and purpose in (None, file.purpose)
    ]
    return list_object(*page(files, after, limit, order), file_object)


@router.get("/{file_id}", summary="One file")
def retrieve_file(file_id: str, caller: CallerOf, store: StoreOf) -> dict[str, Any]:
    """Its record, not its body."""
    return file_object(file_of(store, file_id, caller))


@router.get("/{file_id}/content", summary="A file's body", response_class=FileResponse)
def file_content(file_id: str, caller: CallerOf, store: StoreOf) -> FileResponse:
    """As it was uploaded, byte for byte."""
    file = file_of(store, file_id, caller)
    return FileResponse(
        content_path(store, file),
        media_type="application/octet-stream",
        headers={"content-disposition": f"attachment; filename*=utf-8''{quote(file.name)}"},
    )


@router.delete("/{file_id}", summary="Delete a file")
def delete_file(file_id: str, caller: CallerOf, store: StoreOf) -> dict[str, Any]:
    """Jobs that began with it are not disturbed: they have its rows."""
    file = file_of(store, file_id, caller)
    store.delete(File, file.id)
    return {"id": file.id, "object": "file", "deleted": True}


def file_of(store: Store, file_id: str, caller: Caller) -> File:
    """The caller's file.

    Raises:
        RequestError: 404; also for another project's.
    """
    file = find_file(store, file_id, caller.project)
    if file is None:
        raise RequestError(404, f"there is no file {file_id[:128]!r}", param="id")
    return file


def file_object(file: File) -> dict[str, Any]:
    """OpenAI's file object."""
    body = {
        "id": file.id,
        "object": "file",
        "bytes": file.bytes,
        "created_at": int(file.created),
        "filename": file.name,
        "purpose": file.purpose,
        "status": "processed",
    }
    return body if file.expires is None else {**body, "expires_at": int(file.expires)}
