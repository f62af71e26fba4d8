"""OpenAI's /v1/uploads: a large file in parts, which become one file when they are all there."""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import secrets
import shutil
import time
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel, ConfigDict, Field

from tunewright.api.access import authenticate
from tunewright.api.caller import Caller
from tunewright.api.files import (
    ExpiresAfter,
    file_object,
    known_purpose,
    new_file,
)
from tunewright.api.multipart import read_form
from tunewright.api.repeats import AttemptsOf
from tunewright.api.resources import CallerOf, StoreOf, json_body, parse_body
from tunewright.core.files import disk_errors, fsync_folder, make_folder
from tunewright.core.records import File, Upload
from tunewright.core.requests import made_before, make_once, remember
from tunewright.core.store import Store
from tunewright.deployment.replies import RequestError
from tunewright.jobs.filestore import Spool, place, printable_name, spooling

router = APIRouter(prefix="/v1/uploads", dependencies=[Depends(authenticate)])

MAX_UPLOAD_BYTES = 8 * 1024**3
MAX_PART_BYTES = 64 * 1024**2
MAX_PARTS = 1024
_LIFETIME = 3600.0
_PART = re.compile(r"part_[0-9a-f]{24}")
_COPIED = 1 << 20
_PART_FORM = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["data"],
                    "properties": {"data": {"type": "string", "format": "binary"}},
                }
            }
        },
    }
}


class CreateUploadRequest(BaseModel):
    """What is to come."""

    model_config = ConfigDict(extra="forbid")

    filename: str = Field(min_length=1, max_length=1024)
    purpose: str
    bytes: int = Field(ge=0, le=MAX_UPLOAD_BYTES, strict=True)
    mime_type: str = Field(max_length=255)
    expires_after: ExpiresAfter | None = None


class CompleteUploadRequest(BaseModel):
    """The parts in their order."""

    model_config = ConfigDict(extra="forbid")

    part_ids: list[str] = Field(max_length=MAX_PARTS)
    md5: str | None = None


@router.post("", summary="Announce a large file", openapi_extra=json_body("CreateUploadRequest"))
async def create_upload(
    request: Request, caller: CallerOf, store: StoreOf, attempts: AttemptsOf
) -> dict[str, Any]:
    """An upload lives for an hour; its parts are forgotten then."""
    asked = await parse_body(request, CreateUploadRequest)
    purpose = known_purpose(asked.purpose)
    expiry = asked.expires_after
    now = time.time()
    upload = Upload(
        id=store.new_id(Upload),
        created=now,
        name=printable_name(asked.filename),
        purpose=purpose,
        bytes=asked.bytes,
        expires=now + _LIFETIME,
        file_seconds=expiry.checked() if expiry else None,
        project=caller.project,
    )
    attempt = attempts.at(asked.model_dump())
    return _upload_object(await asyncio.to_thread(make_once, store, attempt, upload))


@router.post("/{upload_id}/parts", summary="Send a part", openapi_extra=_PART_FORM)
async def add_part(
    upload_id: str, request: Request, caller: CallerOf, store: StoreOf, attempts: AttemptsOf
) -> dict[str, Any]:
    """Of a form with ``data``; parts may come in any order, several at once."""
    upload = await asyncio.to_thread(_pending, store, upload_id, caller)
    with spooling(store, Upload) as spool:
        await read_form(request, spool, "data", MAX_PART_BYTES)
        attempt = attempts.at(spool.sha256)

        def keep() -> str:
            made = made_before(store, attempt)
            if made is None:
                made = _keep_part(store, upload, spool)
                remember(store, attempt, made)
            return made

        part = await asyncio.to_thread(keep)
    return {
        "id": part,
        "object": "upload.part",
        "created_at": int(time.time()),
        "upload_id": upload.id,
    }


def _keep_part(store: Store, upload: Upload, spool: Spool) -> str:
    """A part is there when its file is: it is moved into place whole."""
    folder = store.folder(Upload, upload.id)
    part = f"part_{secrets.token_hex(12)}"
    spool.close()
    with disk_errors(folder):
        make_folder(folder)
        held = sum(path.stat().st_size for path in folder.iterdir())
        if held + spool.size > upload.bytes:
            raise RequestError(
                400, f"the parts together have more than the {upload.bytes:,} bytes announced"
            )
        os.replace(spool.path, folder / part)
        fsync_folder(folder)
    return part


@router.post(
    "/{upload_id}/complete",
    summary="Make the parts one file",
    openapi_extra=json_body("CompleteUploadRequest"),
)
async def complete_upload(
    upload_id: str, request: Request, caller: CallerOf, store: StoreOf
) -> dict[str, Any]:
    """In the order of ``part_ids``; the bytes must be as many as were announced."""
    asked = await parse_body(request, CompleteUploadRequest)

    def complete() -> dict[str, Any]:
        upload = _upload_of(store, upload_id, caller)
        if upload.state == "completed":
            # The reply to the first request was lost.
            return _upload_object(upload, store)
        _pending(store, upload_id, caller)
        parts = _parts(store, upload, asked.part_ids)
        with spooling(store, File) as spool:
            md5 = _joined(parts, spool)
            if asked.md5 is not None and asked.md5.lower() != md5:
                raise RequestError(400, f"the bytes that came have the MD5 {md5}", param="md5")
            return _completed(store, upload, spool)

    return await asyncio.to_thread(complete)


def _completed(store: Store, upload: Upload, spool: Spool) -> dict[str, Any]:
    project = upload.project or ""
    file = new_file(store, project, upload.name, upload.purpose, spool, upload.file_seconds)
    place(store, file, spool)
    with store.transaction():
        now = store.by_id(Upload, upload.id)
        if now is None or now.state != "pending":
            raise _over(upload.id, now.state if now else "gone")
        upload = now.model_copy(update={"state": "completed", "file": file.id})
        store.add(file)
        store.update(upload)
    shutil.rmtree(store.folder(Upload, upload.id), ignore_errors=True)
    return _upload_object(upload, store)


def _parts(store: Store, upload: Upload, ids: list[str]) -> list[Path]:
    folder = store.folder(Upload, upload.id)
    if len(set(ids)) < len(ids):
        raise RequestError(400, "part_ids names a part twice", param="part_ids")
    for part in ids:
        if not _PART.fullmatch(part) or not (folder / part).is_file():
            raise RequestError(
                400, f"upload {upload.id} has no part {part[:64]!r}", param="part_ids"
            )
    parts = [folder / part for part in ids]
    total = sum(path.stat().st_size for path in parts)
    if total != upload.bytes:
        raise RequestError(
            400, f"the parts have {total:,} bytes, but {upload.bytes:,} were announced"
        )
    return parts


def _joined(parts: list[Path], spool: Spool) -> str:
    """Write the parts one after the other; the MD5 of all of it."""
    md5 = hashlib.md5(usedforsecurity=False)
    for path in parts:
        with open(path, "rb") as file:
            while piece := file.read(_COPIED):
                md5.update(piece)
                spool.write(piece)
    return md5.hexdigest()


@router.post("/{upload_id}/cancel", summary="Give an upload up")
def cancel_upload(upload_id: str, caller: CallerOf, store: StoreOf) -> dict[str, Any]:
    """Its parts are forgotten."""
    with store.transaction():
        upload = _upload_of(store, upload_id, caller)
        if upload.state != "cancelled":
            upload = _pending(store, upload_id, caller).model_copy(update={"state": "cancelled"})
            store.update(upload)
    shutil.rmtree(store.folder(Upload, upload.id), ignore_errors=True)
    return _upload_object(upload)


def _upload_of(store: Store, upload_id: str, caller: Caller) -> Upload:
    upload = store.by_id(Upload, upload_id)
    if upload is None or upload.project != caller.project:
        raise RequestError(404, f"there is no upload {upload_id[:128]!r}", param="upload_id")
    return upload


def _pending(store: Store, upload_id: str, caller: Caller) -> Upload:
    upload = _upload_of(store, upload_id, caller)
    if _state(upload) != "pending":
        raise _over(upload.id, _state(upload))
    return upload


def _over(upload_id: str, state: str) -> RequestError:
    return RequestError(400, f"upload {upload_id} is {state}", code="upload_not_pending")


def _state(upload: Upload) -> str:
    expired = upload.state == "pending" and upload.expires <= time.time()
    return "expired" if expired else upload.state


def _upload_object(upload: Upload, store: Store | None = None) -> dict[str, Any]:
    file = store.by_id(File, upload.file) if store and upload.file else None
    return {
        "id": upload.id,
        "object": "upload",
        "bytes": upload.bytes,
        "created_at": int(upload.created),
        "filename": upload.name,
        "purpose": upload.purpose,
        "status": _state(upload),
        "expires_at": int(upload.expires),
        "file": file_object(file) if file else None,
    }
