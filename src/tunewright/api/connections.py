"""HTTP connections with bounds: their number, their heads, and patience with slow clients."""

from __future__ import annotations

import asyncio
import resource
from collections.abc import Callable
from typing import Any

import h11
import orjson
from uvicorn.protocols.http.h11_impl import H11Protocol

from tunewright.deployment.replies import error_body

MOST_HEAD_BYTES = 64 * 1024
"""Request line and headers together."""

_MOST_CONNECTIONS = 4096
# Files, engines and the database need descriptors too.
_SPARE_DESCRIPTORS = 256


class Connection(H11Protocol):
    """uvicorn's own, which waits for ever: for the rest of a head, and for a client to read.

    Attributes:
        head_seconds: in which a request line and headers have to come.
        read_seconds: in which a client has to read some of what waits for it.
    """

    head_seconds = 20.0
    read_seconds = 60.0

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._head = _Timer()
        self._reading = _Timer()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client has connected."""
        super().connection_made(transport)
        if len(self.connections) > most_connections():
            transport.write(_whole_answer(503, "the server has too many connections", "busy"))
            transport.close()
        else:
            self._head.start(self.loop, self.head_seconds, transport.close)

    def data_received(self, data: bytes) -> None:
        """More of a request has come; its head has to be whole in time."""
        super().data_received(data)
        if self.cycle is not None and not self.cycle.response_complete:
            self._head.stop()
        else:
            self._head.start(self.loop, self.head_seconds, self.transport.close)

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        self._head.stop()
        self._reading.stop()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """The client does not read what is sent; it has a while to begin."""
        super().pause_writing()
        self._reading.start(self.loop, self.read_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        """The client reads again."""
        self._reading.stop()
        super().resume_writing()

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP, or a head that is too large, in OpenAI's shape."""
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            message = f"{msg} A request line and headers may hold {MOST_HEAD_BYTES} bytes together."
            self.transport.write(_whole_answer(400, message, "invalid_http"))
        self.transport.close()


class _Timer:
    """Calls something once, after a time, unless it is stopped before."""

    def __init__(self) -> None:
        self._handle: asyncio.TimerHandle | None = None

    def start(
        self, loop: asyncio.AbstractEventLoop, seconds: float, call: Callable[[], None]
    ) -> None:
        """Begin to wait; one that waits already goes on as it was."""
        if self._handle is None:
            self._handle = loop.call_later(seconds, call)

    def stop(self) -> None:
        """Wait no more."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None


def most_connections() -> int:
    """As many as there are descriptors to spare for."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return _MOST_CONNECTIONS
    return max(16, min(_MOST_CONNECTIONS, soft - _SPARE_DESCRIPTORS))


def _whole_answer(status: int, message: str, code: str) -> bytes:
    """An answer that is not the application's; the connection ends with it."""
    kind = "server_error" if status >= 500 else "invalid_request_error"
    body = orjson.dumps(error_body(message, kind, code=code))
    phrase = {400: "Bad Request", 503: "Service Unavailable"}[status]
    lines = [
        f"HTTP/1.1 {status} {phrase}",
        "content-type: application/json",
        f"content-length: {len(body)}",
        "connection: close",
        *(["retry-after: 1"] if status == 503 else []),
    ]
    return "\r\n".join([*lines, "", ""]).encode() + body
