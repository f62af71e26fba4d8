"""The outermost layer: request ids, limits' headers, foreign web pages, faults nobody caught."""

from __future__ import annotations

import asyncio
import ipaddress

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tunewright.api.access import Access
from tunewright.api.books import UNMATCHED, Books
from tunewright.api.draining import stopped
from tunewright.api.errors import error_response, unexpected
from tunewright.api.metering import GONE, Meter
from tunewright.api.scopes import OPEN_PATHS
from tunewright.deployment.replies import RequestError
from tunewright.deployment.streaming import event_lines


class Boundary:
    """Wraps the application.

    Every response carries ``x-request-id`` and where its caller stands, every request is entered
    in the books. Without API keys only this machine can connect, but so can any web page open in
    its browser; requests that name another host (DNS rebinding) or come from another site's page
    are then refused.

    Args:
        app: what is wrapped.
        access: whether keys are asked for.
        books: what is remembered of requests.
        at_once: requests in hand at the same time, before others are refused.
    """

    def __init__(self, app: ASGIApp, access: Access, books: Books, at_once: int) -> None:
        self._app = app
        self._access = access
        self._books = books
        self._at_once = at_once

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        meter = self._books.begin()
        scope.setdefault("state", {})["meter"] = meter
        wire = _Wire(meter, send)
        try:
            refusal = await self._refusal(scope)
            if refusal is None:
                await self._answer(scope, receive, wire)
            else:
                meter.refuse(refusal)
                await error_response(refusal)(scope, receive, wire)
        except Exception as error:
            response = unexpected(error)
            if wire.started:
                meter.broken = True
                raise
            await response(scope, receive, wire)
        finally:
            if not (wire.ended or meter.broken):
                meter.status = GONE
            route = getattr(scope.get("route"), "path", UNMATCHED)
            self._books.end(meter, scope["method"] if route != UNMATCHED else "-", route)

    async def _answer(self, scope: Scope, receive: Receive, wire: _Wire) -> None:
        """Let the application answer; one that a stop interrupts ends with an error."""
        under_way = self._books.under_way
        try:
            with under_way.answering():
                await self._app(scope, receive, wire)
        except asyncio.CancelledError:
            if not under_way.ended or (wire.started and not wire.streams):
                raise
            await wire.stop(scope, receive)

    async def _refusal(self, scope: Scope) -> RequestError | None:
        """Why a request is not even looked at."""
        if not await self._access.keyed():
            foreign = _foreign(Headers(scope=scope))
            if foreign is not None:
                return foreign
        if self._books.in_hand > self._at_once and scope["path"] not in OPEN_PATHS:
            return RequestError(
                429,
                f"the server already has {self._at_once} requests in hand",
                code="server_busy",
                retry_after=1,
            )
        return None


class _Wire:
    """What goes out, and the headers that every response has."""

    def __init__(self, meter: Meter, send: Send) -> None:
        self._meter = meter
        self._send = send
        self.started = False
        self.streams = False
        self.ended = False

    async def stop(self, scope: Scope, receive: Receive) -> None:
        """End what has not ended with an error that says why."""
        error = stopped()
        self._meter.refuse(error)
        if not self.started:
            await error_response(error)(scope, receive, self)
        elif not self.ended:
            self._meter.broken = True
            await self({"type": "http.response.body", "body": event_lines([error.body()])})

    async def __call__(self, message: Message) -> None:
        """Send one message."""
        if message["type"] == "http.response.start":
            self.started = True
            self._meter.status = message["status"]
            headers = MutableHeaders(scope=message)
            self.streams = headers.get("content-type", "").startswith("text/event-stream")
            headers["x-request-id"] = self._meter.id
            headers["x-content-type-options"] = "nosniff"
            headers.update(self._meter.headers())
        await self._send(message)
        if message["type"] == "http.response.body" and not message.get("more_body", False):
            self.ended = True


def _foreign(headers: Headers) -> RequestError | None:
    host = headers.get("host", "")
    if not _is_local(host):
        return RequestError(
            403,
            f"host {host[:128]!r} is not this machine; to serve others, use API keys",
            code="host_not_allowed",
        )
    origin = headers.get("origin")
    if origin is not None and not _is_local(origin.partition("://")[2]):
        return RequestError(
            403,
            f"requests from pages of {origin[:128]!r} are refused",
            code="origin_not_allowed",
        )
    return None


def _is_local(authority: str) -> bool:
    """Whether ``host`` or ``host:port`` names this machine, and nothing is hidden behind it."""
    name, colon, port = authority.rpartition(":")
    if not colon or authority.endswith("]"):
        name, port = authority, ""
    if port and not (port.isascii() and port.isdigit()):
        return False
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name.removeprefix("[").removesuffix("]")).is_loopback
    except ValueError:
        return False
