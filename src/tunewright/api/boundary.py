"""The outermost layer: request ids, foreign web pages, faults that nobody caught."""

from __future__ import annotations

import ipaddress
import secrets

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tunewright.api.errors import error_response, unexpected
from tunewright.deployment.replies import RequestError


class Boundary:
    """Wraps the application.

    Every response carries ``x-request-id``. Without API keys only this machine can connect, but
    so can any web page open in its browser; ``local_only`` therefore refuses requests that name
    another host (DNS rebinding) or come from another site's page.
    """

    def __init__(self, app: ASGIApp, local_only: bool) -> None:
        self._app = app
        self._local_only = local_only

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = False
        request_id = f"req_{secrets.token_hex(16)}"

        async def send_named(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                headers = MutableHeaders(scope=message)
                headers["x-request-id"] = request_id
                headers["x-content-type-options"] = "nosniff"
            await send(message)

        refusal = _foreign(Headers(scope=scope)) if self._local_only else None
        if refusal is not None:
            await error_response(refusal)(scope, receive, send_named)
            return
        try:
            await self._app(scope, receive, send_named)
        except Exception as error:
            response = unexpected(error)
            if started:
                raise
            await response(scope, receive, send_named)


def _foreign(headers: Headers) -> RequestError | None:
    host = headers.get("host", "")
    if not _is_local(host):
        return RequestError(
            403,
            f"host {host[:128]!r} is not this machine; to serve others, set api_key_file",
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
