"""The gateway: takes a chat request to the engine that can answer it, within bounds."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import httpx

from tunewright.config.serving import ServeConfig
from tunewright.core.store import Store
from tunewright.deployment.catalog import Target, find_target, public_base_name, served_targets
from tunewright.deployment.process import EngineOrder
from tunewright.deployment.protocol import BASE_NAME, ChatRequest
from tunewright.deployment.replies import RequestError
from tunewright.deployment.streaming import DONE
from tunewright.deployment.upstream import EngineState, Upstream

_CONNECT_SECONDS = 5.0


class Gateway:
    """Routes requests to one engine per base. Made and closed inside one event loop."""

    def __init__(self, store: Store, config: ServeConfig) -> None:
        self._store = store
        self._config = config
        self._upstreams: dict[str, Upstream] = {}
        # Engines are on loopback: a proxy from the environment must not come between.
        self._client = httpx.AsyncClient(
            trust_env=False,
            timeout=httpx.Timeout(None, connect=_CONNECT_SECONDS),
            limits=httpx.Limits(max_connections=None),
        )

    async def targets(self, project: str | None = None) -> list[Target]:
        """Everything that is served to a project."""
        return await asyncio.to_thread(served_targets, self._store, self._config, project)

    async def find(self, name: str, project: str | None = None) -> Target:
        """What a public name stands for, for a project.

        Raises:
            RequestError: 404.
        """
        return await asyncio.to_thread(find_target, self._store, self._config, name, project)

    async def complete(self, target: Target, request: ChatRequest) -> dict[str, Any]:
        """The whole reply of ``target``.

        Raises:
            RequestError: for anything but a whole reply.
        """
        deadline = self._deadline()
        try:
            async with AsyncExitStack() as stack, asyncio.timeout_at(deadline):
                exchange = await self._send(target, request, stack)
                body: dict[str, Any] = json.loads(await exchange.response.aread())
        except (TimeoutError, httpx.TransportError) as error:
            raise _failure(request.model, error) from error
        return {**body, "model": target.name}

    async def stream(self, target: Target, request: ChatRequest) -> ReplyStream:
        """The reply of ``target`` in pieces, its token counts last; the caller must close it.

        Raises:
            RequestError: when not even the first piece can be expected.
        """
        deadline = self._deadline()
        try:
            async with AsyncExitStack() as stack, asyncio.timeout_at(deadline):
                exchange = await self._send(target, request, stack)
                return ReplyStream(exchange, deadline, stack.pop_all())
        except (TimeoutError, httpx.TransportError) as error:
            raise _failure(request.model, error) from error

    async def close(self) -> None:
        """Stop every engine."""
        await asyncio.gather(*(upstream.close() for upstream in self._upstreams.values()))
        await self._client.aclose()

    def held(self) -> int:
        """Requests that wait or run, over all engines."""
        return sum(upstream.held for upstream in self._upstreams.values())

    def engines(self) -> list[EngineState]:
        """How every engine that was asked for stands."""
        return [upstream.state for upstream in self._upstreams.values()]

    async def _send(self, target: Target, request: ChatRequest, stack: AsyncExitStack) -> _Exchange:
        """Hand the request over; ``stack`` then holds the place in the queue and the reply."""
        request.conversation()
        upstream = self._upstream(target.base)
        stack.enter_context(upstream.slot(target))
        engine = await upstream.prepare(target)
        message = self._client.build_request(
            "POST",
            f"{engine.url}/v1/chat/completions",
            json=_counted(request.wire(target.id if target.adapter else BASE_NAME)),
            headers={"Authorization": f"Bearer {engine.token}"},
        )
        response = await self._client.send(message, stream=True)
        stack.push_async_callback(response.aclose)
        if response.status_code != 200:
            raise _forwarded(response.status_code, await response.aread())
        return _Exchange(target, upstream, response)

    def _upstream(self, base: str) -> Upstream:
        if base not in self._upstreams:
            name = public_base_name(base)
            order = EngineOrder(name, base, self._store.home, self._config.device)
            self._upstreams[base] = Upstream(order, self._config.queue, self._client)
        return self._upstreams[base]

    def _deadline(self) -> float:
        return asyncio.get_running_loop().time() + self._config.timeout


@dataclass(frozen=True)
class _Exchange:
    """A request that an engine has taken, and the reply that has begun."""

    target: Target
    upstream: Upstream
    response: httpx.Response


class ReplyStream:
    """A streamed reply and the place in the queue that it holds until closed.

    Attributes:
        target: who answers.
    """

    def __init__(self, exchange: _Exchange, deadline: float, stack: AsyncExitStack) -> None:
        self.target = exchange.target
        self._upstream = exchange.upstream
        self._lines = exchange.response.aiter_lines()
        self._deadline = deadline
        self._stack = stack

    async def events(self) -> AsyncIterator[dict[str, Any]]:
        """The chunks; a failure on the way is a last event with an ``error``."""
        try:
            while (chunk := await self._next()) is not None:
                yield chunk
        except (TimeoutError, httpx.TransportError) as error:
            self._upstream.note(error)
            yield _failure(self.target.name, error).body()

    async def close(self) -> None:
        """Let go of the engine; one that still writes then stops."""
        await self._stack.aclose()

    async def _next(self) -> dict[str, Any] | None:
        async with asyncio.timeout_at(self._deadline):
            async for line in self._lines:
                if not line.startswith("data: "):
                    continue
                if line == f"data: {DONE}":
                    return None
                chunk: dict[str, Any] = json.loads(line[len("data: ") :])
                return {**chunk, "model": self.target.name} if "choices" in chunk else chunk
        raise httpx.RemoteProtocolError("the stream ended early")


def _counted(wire: dict[str, Any]) -> dict[str, Any]:
    """A streamed reply is to carry its token counts, whether the client wants them or not: one
    that hangs up pays for what it got."""
    if not wire.get("stream"):
        return wire
    return {**wire, "stream_options": {"include_usage": True, "continuous_usage_stats": True}}


def _failure(name: str, error: TimeoutError | httpx.TransportError) -> RequestError:
    if isinstance(error, TimeoutError):
        return RequestError(504, f"no whole answer from {name!r} in time", code="timeout")
    return RequestError(
        503,
        f"the engine of {name!r} stopped while answering ({type(error).__name__});"
        " the next request starts it again",
        code="engine_failed",
        retry_after=1,
    )


def _forwarded(status: int, body: bytes) -> RequestError:
    """An engine's error as the client's; an engine's refusal of our token is our fault."""
    try:
        error = json.loads(body)["error"]
        message, param, code = str(error["message"]), error.get("param"), error.get("code")
    except (ValueError, KeyError, TypeError):
        message, param, code = "the engine gave an error without an explanation", None, None
    known = status if status in (400, 404, 429, 503) else 500
    return RequestError(known, message, param=param, code=code)
