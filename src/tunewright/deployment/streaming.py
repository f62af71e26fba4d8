"""Answering over HTTP to clients that may hang up: shared by the API and the engines."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Mapping
from typing import Any, TypeVar

import orjson
from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

T = TypeVar("T")
DONE = b"[DONE]"
DONE_LINE = b"data: " + DONE + b"\n\n"


async def unless_gone(request: Request, work: Coroutine[Any, Any, T]) -> T | None:
    """The work's result, or None when the client hung up first and the work was cancelled.

    The request's body must have been read before.
    """
    task = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_disconnect(request))
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        return await task if task.done() else None
    finally:
        for pending in (task, gone):
            pending.cancel()
        await asyncio.gather(task, gone, return_exceptions=True)


async def _disconnect(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def event_lines(events: Iterable[Mapping[str, Any]]) -> bytes:
    """Server-sent events as they go over the wire."""
    return b"".join(b"data: " + orjson.dumps(event) + b"\n\n" for event in events)


class ByteStream(StreamingResponse):
    """Server-sent events as they go over the wire, one or several at a time.

    Args:
        lines: the events.
        close: called however the response ends, even unstarted.
        headers: of the response.
    """

    def __init__(
        self,
        lines: AsyncIterator[bytes],
        close: Callable[[], Awaitable[None]],
        headers: Mapping[str, str],
    ) -> None:
        super().__init__(
            lines,
            media_type="text/event-stream",
            headers={**headers, "Cache-Control": "no-cache"},
        )
        self._close = close

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the events."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            await self._close()


class EventStream(ByteStream):
    """Server-sent events from JSON objects.

    After an event with an ``error`` the stream ends without ``[DONE]``, as OpenAI's does.

    Args:
        events: the objects.
        close: called however the response ends, even unstarted.
        headers: of the response.
    """

    def __init__(
        self,
        events: AsyncIterator[dict[str, Any]],
        close: Callable[[], Awaitable[None]],
        headers: Mapping[str, str],
    ) -> None:
        super().__init__(_lines(events), close, headers)


async def _lines(events: AsyncIterator[dict[str, Any]]) -> AsyncIterator[bytes]:
    failed = False
    async for event in events:
        failed = "error" in event
        yield event_lines([event])
    if not failed:
        yield DONE_LINE
