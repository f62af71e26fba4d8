"""An OpenAI-compatible server that misbehaves as it is told to, on a port of this machine."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import uvicorn

Mode = Literal["good", "hang", "500", "400", "429", "dies early", "dies late", "late error"]
_JSON = [(b"content-type", b"application/json")]
_EVENTS = [(b"content-type", b"text/event-stream")]


class Strange:
    """The server: ``mode`` is how it answers from now on, ``asked`` what it was asked.

    Args:
        name: what its answers say.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.mode: Mode = "good"
        self.asked: list[dict[str, Any]] = []
        self.url = ""

    def upstream(self) -> dict[str, Any]:
        """As a server's configuration names it."""
        return {"url": self.url, "models": [self.name]}

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        body, more = b"", True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        asked = json.loads(body)
        self.asked.append(asked)
        mode = self.mode
        if mode == "hang":
            while (await receive())["type"] != "http.disconnect":
                pass
            return
        if mode in ("400", "429", "500"):
            error = {"message": f"told to say {mode}", "type": "x", "param": None, "code": None}
            await _whole(send, int(mode), {"error": error})
        elif asked.get("stream"):
            await self._stream(send, mode)
        else:
            await self._reply(send, mode)

    async def _reply(self, send: Any, mode: Mode) -> None:
        choice = {"index": 0, "finish_reason": "stop",
                  "message": {"role": "assistant", "content": f"I am {self.name}"}}  # fmt: skip
        counts = {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}
        reply = {"id": "x", "object": "chat.completion", "created": 1, "model": self.name,
                 "choices": [choice], "usage": counts}  # fmt: skip
        if mode != "good":
            headers = [*_JSON, (b"content-length", b"999")]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": b"{", "more_body": True})
            raise _Dies
        await _whole(send, 200, reply)

    async def _stream(self, send: Any, mode: Mode) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": _EVENTS})
        for number, piece in enumerate(("", "I ", "am ", self.name)):
            delta: dict[str, Any] = {"content": piece} if number else {"role": "assistant"}
            choice = {"index": 0, "delta": delta, "finish_reason": None}
            await _event(send, {"id": "x", "model": self.name, "choices": [choice]})
            if (mode, number) in (("dies early", 0), ("dies late", 2)):
                await asyncio.sleep(0.05)
                raise _Dies
            if (mode, number) == ("late error", 2):
                error = {"message": "out of memory", "type": "server_error", "code": "oom"}
                await _event(send, {"error": {**error, "param": None}})
                await send({"type": "http.response.body", "body": b""})
                return
        choice = {"index": 0, "delta": {}, "finish_reason": "stop"}
        await _event(send, {"id": "x", "model": self.name, "choices": [choice]})
        await send({"type": "http.response.body", "body": b"data: [DONE]\n\n"})


class _Dies(Exception):  # noqa: N818 - what makes uvicorn hang up
    """Ends an answer in its middle."""


async def _whole(send: Any, status: int, body: dict[str, Any]) -> None:
    await send({"type": "http.response.start", "status": status, "headers": _JSON})
    await send({"type": "http.response.body", "body": json.dumps(body).encode()})


async def _event(send: Any, event: dict[str, Any]) -> None:
    data = b"data: " + json.dumps(event).encode() + b"\n\n"
    await send({"type": "http.response.body", "body": data, "more_body": True})


@contextmanager
def strange(name: str) -> Iterator[Strange]:
    """Such a server while the block runs."""
    app = Strange(name)
    listener = socket.create_server(("127.0.0.1", 0))
    app.url = f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
    server = uvicorn.Server(
        uvicorn.Config(app, log_config=None, access_log=False, timeout_graceful_shutdown=1)
    )
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    try:
        yield app
    finally:
        server.should_exit = True
        thread.join(timeout=30)
        listener.close()
