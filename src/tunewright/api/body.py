"""Reading a request's body within bounds of type, size and time."""

from __future__ import annotations

import asyncio

from fastapi import Request

from tunewright.deployment.protocol import MAX_BODY_BYTES
from tunewright.deployment.replies import RequestError

_BODY_SECONDS = 30.0
# Reading on a little lets a client that is still sending see the answer, not a broken pipe.
_READ_AND_DROP = 8 * MAX_BODY_BYTES


async def read_body(request: Request) -> bytes:
    """The whole JSON body.

    Raises:
        RequestError: 415 for another type (a web form can post text/plain across sites),
            413 for too many bytes, 408 for a client that stops sending.
    """
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json":
        raise RequestError(415, "the body must be sent with Content-Type: application/json")
    parts: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(_BODY_SECONDS):
            async for part in request.stream():
                size += len(part)
                if size <= MAX_BODY_BYTES:
                    parts.append(part)
                elif size > _READ_AND_DROP:
                    break
    except TimeoutError:
        raise RequestError(408, f"the body did not arrive in {_BODY_SECONDS:g} s") from None
    if size > MAX_BODY_BYTES:
        raise RequestError(
            413, f"the body is larger than {MAX_BODY_BYTES} bytes", code="request_too_large"
        )
    return b"".join(parts)
