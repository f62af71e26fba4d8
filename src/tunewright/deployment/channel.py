"""HTTP to engines: as little of HTTP/1.1 as engines speak, at as little cost.

A general client takes longer to hand on one token than a small model to make it. Requests are
JSON; replies come whole or in chunks. Connections are kept for further requests.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self
from urllib.parse import SplitResult, urlsplit

import orjson

_CONNECT_SECONDS = 5.0
_LINE_BYTES = 1 << 16
_READ_BYTES = 1 << 16
_MOST_HEADERS = 200
_MOST_WHOLE = 1 << 28
_MOST_IDLE = 64


class ChannelError(Exception):
    """The other side could not be reached, hung up, or does not speak HTTP."""


@dataclass
class _Connection:
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    used: bool = False


class Channel:
    """Connections to one server. Made and closed inside one event loop.

    Args:
        url: where its API begins, such as ``http://host:port/v1``.
        headers: sent with every request, such as the authorization.
    """

    def __init__(self, url: str, headers: Mapping[str, str]) -> None:
        self._url: SplitResult = urlsplit(url)
        lines = [f"Host: {self._url.netloc}", "Content-Type: application/json"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        self._path = self._url.path.rstrip("/")
        self._root = self._path.removesuffix("/v1")
        self._head = "\r\n".join(lines).encode("latin-1")
        self._idle: deque[_Connection] = deque()

    async def post(
        self, path: str, body: Any, headers: Mapping[str, str] | None = None, root: bool = False
    ) -> Response:
        """Send a request and wait for the head of its reply; the caller must close that.

        Args:
            path: behind the API's own, or behind the server's root.
            body: JSON values.
            headers: besides those of all requests.
            root: whether the path is that of the server, beside its API.

        Raises:
            ChannelError: no reply came.
        """
        data = orjson.dumps(body, option=orjson.OPT_NON_STR_KEYS)
        more = "".join(f"{name}: {value}\r\n" for name, value in (headers or {}).items())
        head = (
            f"POST {self._root if root else self._path}{path} HTTP/1.1\r\n{more}"
            f"Content-Length: {len(data)}\r\n"
        ).encode("latin-1")
        return await self._send(b"".join((head, self._head, b"\r\n\r\n", data)))

    async def get(self, path: str) -> Response:
        """Ask for something beside the API, at the server's root; the caller must close it.

        Raises:
            ChannelError: no reply came.
        """
        head = f"GET {self._root}{path} HTTP/1.1\r\n".encode("latin-1")
        return await self._send(b"".join((head, self._head, b"\r\n\r\n")))

    async def _send(self, message: bytes) -> Response:
        while True:
            connection = await self._connect()
            try:
                connection.writer.write(message)
                return await Response.read(connection, self)
            except (OSError, EOFError, ValueError) as error:
                connection.writer.close()
                # A connection that was kept may have been closed by the other side meanwhile.
                if not connection.used:
                    raise ChannelError(_reason(error)) from error
            except BaseException:
                connection.writer.close()
                raise

    def close(self) -> None:
        """Close the connections that no reply needs."""
        while self._idle:
            self._idle.pop().writer.close()

    def keep(self, connection: _Connection) -> None:
        """Take a connection back whose reply has been read to its end."""
        connection.used = True
        if len(self._idle) < _MOST_IDLE and not connection.reader.at_eof():
            self._idle.append(connection)
        else:
            connection.writer.close()

    async def _connect(self) -> _Connection:
        while self._idle:
            # The one used last is the least likely to have been closed.
            connection = self._idle.pop()
            if not connection.reader.at_eof() and not connection.writer.is_closing():
                return connection
            connection.writer.close()
        secure = self._url.scheme == "https"
        port = self._url.port or (443 if secure else 80)
        context = ssl.create_default_context() if secure else None
        try:
            async with asyncio.timeout(_CONNECT_SECONDS):
                streams = await asyncio.open_connection(
                    self._url.hostname, port, ssl=context, limit=_LINE_BYTES
                )
        except (OSError, TimeoutError) as error:
            raise ChannelError(_reason(error)) from error
        return _Connection(*streams)


class Response:
    """A reply whose head has come.

    Attributes:
        status: of HTTP.
    """

    def __init__(
        self, status: int, headers: Mapping[str, str], connection: _Connection, channel: Channel
    ) -> None:
        self.status = status
        self._headers = headers
        self._connection = connection
        self._channel = channel
        self._done = False
        self._chunked = "chunked" in headers.get("transfer-encoding", "").lower()
        length = headers.get("content-length")
        self._left = int(length) if length is not None and not self._chunked else None

    @classmethod
    async def read(cls, connection: _Connection, channel: Channel) -> Self:
        """Read a head.

        Raises:
            OSError, EOFError, ValueError: there is none.
        """
        status = 100
        while 100 <= status < 200:
            line = await _line(connection.reader)
            version, _, rest = line.partition(b" ")
            if not version.startswith(b"HTTP/1."):
                raise ValueError("this is no HTTP/1.1")
            status = int(rest[:3])
            headers: dict[str, str] = {}
            while line := await _line(connection.reader):
                name, _, value = line.decode("latin-1").partition(":")
                headers[name.strip().lower()] = value.strip()
                if len(headers) > _MOST_HEADERS:
                    raise ValueError("too many headers")
        return cls(status, headers, connection, channel)

    async def __aenter__(self) -> Self:
        """The reply itself."""
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close it."""
        self.close()

    async def some(self) -> bytes:
        """What has come of the body; nothing once it has ended.

        Raises:
            ChannelError: the other side hung up before the end.
        """
        if self._done:
            return b""
        try:
            data = await (self._chunk() if self._chunked else self._plain())
        except (OSError, EOFError, ValueError) as error:
            raise ChannelError(_reason(error)) from error
        if not data:
            self._finish()
        return data

    async def whole(self) -> bytes:
        """The whole body.

        Raises:
            ChannelError: the other side hung up before the end, or sends without end.
        """
        parts: list[bytes] = []
        size = 0
        while part := await self.some():
            parts.append(part)
            size += len(part)
            if size > _MOST_WHOLE:
                raise ChannelError("the reply is too large")
        return b"".join(parts)

    def close(self) -> None:
        """Let go of the connection; one whose reply has not ended is closed."""
        if not self._done:
            self._done = True
            self._connection.writer.transport.abort()

    async def _chunk(self) -> bytes:
        reader = self._connection.reader
        size = int((await _line(reader)).split(b";")[0], 16)
        data = await reader.readexactly(size) if size else b""
        while trailer := await _line(reader):
            if size:
                raise ValueError(f"a chunk goes on after its end: {trailer[:20]!r}")
        return data

    async def _plain(self) -> bytes:
        if self._left == 0:
            return b""
        data = await self._connection.reader.read(min(self._left or _READ_BYTES, _READ_BYTES))
        if self._left is not None:
            if not data:
                raise EOFError("the reply ended early")
            self._left -= len(data)
        return data

    def _finish(self) -> None:
        self._done = True
        ends = not self._chunked and self._left is None
        if ends or self._headers.get("connection", "").lower() == "close":
            self._connection.writer.close()
        else:
            self._channel.keep(self._connection)


async def _line(reader: asyncio.StreamReader) -> bytes:
    try:
        line = await reader.readuntil(b"\n")
    except asyncio.LimitOverrunError:
        raise ValueError("a line is too long") from None
    return line.rstrip(b"\r\n")


def _reason(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
