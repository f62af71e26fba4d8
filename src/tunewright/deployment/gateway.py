"""The gateway: takes a request to the engine that can answer it, within bounds."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import orjson

from tunewright.config.serving import ServeConfig
from tunewright.core.store import Store
from tunewright.deployment.audience import EVERYBODY, Audience
from tunewright.deployment.bodies import BASE_NAME, Body
from tunewright.deployment.catalog import Target, find_target, public_base_name, served_targets
from tunewright.deployment.channel import ChannelError, Response
from tunewright.deployment.process import EngineOrder
from tunewright.deployment.remote import RemoteOrder
from tunewright.deployment.replies import RequestError
from tunewright.deployment.streaming import DONE
from tunewright.deployment.upstream import EngineState, Order, Readiness, Upstream


class Gateway:
    """Routes requests to one engine per base, or to servers in their place.

    Made and closed inside one event loop.
    """

    def __init__(self, store: Store, config: ServeConfig) -> None:
        self._store = store
        self._config = config
        self._upstreams: dict[str, Upstream] = {}

    async def targets(self, audience: Audience = EVERYBODY) -> list[Target]:
        """Everything that is served to an audience."""
        return await asyncio.to_thread(served_targets, self._store, self._config, audience)

    async def find(self, name: str, audience: Audience = EVERYBODY) -> Target:
        """What a public name stands for, for an audience.

        Raises:
            RequestError: 404.
        """
        return await asyncio.to_thread(find_target, self._store, self._config, name, audience)

    async def complete(self, target: Target, request: Body) -> dict[str, Any]:
        """The whole reply of ``target``.

        Raises:
            RequestError: for anything but a whole reply.
        """
        deadline = self._deadline()
        try:
            async with AsyncExitStack() as stack, asyncio.timeout_at(deadline):
                exchange = await self._send(target, request, stack)
                body: dict[str, Any] = _object(await exchange.response.whole())
        except (TimeoutError, ChannelError) as error:
            raise failure(target, error) from error
        return {**body, "model": target.name} if "model" in body else body

    async def stream(self, target: Target, request: Body) -> ReplyStream:
        """The reply of ``target`` in pieces, its token counts last; the caller must close it.

        Raises:
            RequestError: when not even the first piece can be expected.
        """
        deadline = self._deadline()
        try:
            async with AsyncExitStack() as stack, asyncio.timeout_at(deadline):
                exchange = await self._send(target, request, stack)
                return ReplyStream(exchange, deadline, stack.pop_all())
        except (TimeoutError, ChannelError) as error:
            raise failure(target, error) from error

    async def readiness(self, target: Target) -> Readiness:
        """Whether ``target`` could be asked now; an engine that does not run is started."""
        return await self._upstream(target).readiness()

    @property
    def timeout(self) -> float:
        """Seconds that one request may take."""
        return self._config.timeout

    async def close(self) -> None:
        """Stop every engine."""
        await asyncio.gather(*(upstream.close() for upstream in self._upstreams.values()))

    def held(self) -> int:
        """Requests that wait or run, over all engines."""
        return sum(upstream.held for upstream in self._upstreams.values())

    async def look(self) -> None:
        """See how full the engines' caches are; what they do goes on."""
        await asyncio.gather(*(upstream.look() for upstream in self._upstreams.values()))

    def engines(self) -> list[EngineState]:
        """How every engine that was asked for stands."""
        return [upstream.state for upstream in self._upstreams.values()]

    async def _send(self, target: Target, request: Body, stack: AsyncExitStack) -> _Exchange:
        """Hand the request over; ``stack`` then holds the place in the queue and the reply."""
        upstream = self._upstream(target)
        stack.enter_context(upstream.slot(target))
        engine = await upstream.prepare(target)
        name = target.id if target.adapter else target.known_as or BASE_NAME
        wire = _counted(request.wire(name), engine.counts_on_the_way)
        response = await engine.channel.post(request.path, wire, root=request.at_root)
        stack.callback(response.close)
        if response.status != 200:
            raise _forwarded(response.status, await response.whole())
        return _Exchange(target, upstream, response)

    def _upstream(self, target: Target) -> Upstream:
        key = target.base if target.server is None else f"upstreams.{target.server}"
        if key not in self._upstreams:
            order: Order
            if target.server is None:
                config = self._config
                name = public_base_name(target.base)
                home = self._store.home
                order = EngineOrder(
                    name, target.base, home, config.device, config.kv_tokens, config.log_format
                )
            else:
                order = RemoteOrder(target.server, key, self._config.upstreams[target.server])
            self._upstreams[key] = Upstream(order, self._config.queue)
        return self._upstreams[key]

    def _deadline(self) -> float:
        return asyncio.get_running_loop().time() + self._config.timeout


@dataclass(frozen=True)
class _Exchange:
    """A request that an engine has taken, and the reply that has begun."""

    target: Target
    upstream: Upstream
    response: Response


class ReplyStream:
    """A streamed reply and the place in the queue that it holds until closed.

    Attributes:
        target: who answers.
    """

    def __init__(self, exchange: _Exchange, deadline: float, stack: AsyncExitStack) -> None:
        self.target = exchange.target
        self._upstream = exchange.upstream
        self._response = exchange.response
        self._stack = stack
        self._late = False
        self._rest = b""
        # One alarm for the whole stream: a timeout for each chunk would cost more than the chunk.
        loop = asyncio.get_running_loop()
        stack.callback(loop.call_at(deadline, self._expire).cancel)

    async def events(self) -> AsyncIterator[dict[str, Any]]:
        """The chunks; a failure on the way is a last event with an ``error``."""
        try:
            while True:
                for event in await self._next():
                    if event == DONE:
                        return
                    chunk = _object(event)
                    yield {**chunk, "model": self.target.name} if "choices" in chunk else chunk
        except ChannelError as error:
            reason = TimeoutError() if self._late else error
            self._upstream.note(reason)
            yield failure(self.target, reason).body()

    async def close(self) -> None:
        """Let go of the engine; one that still writes then stops."""
        await self._stack.aclose()

    async def _next(self) -> list[bytes]:
        """The data of the events that have come whole."""
        data = await self._response.some()
        if not data:
            raise ChannelError("the stream ended early")
        *lines, self._rest = (self._rest + data).split(b"\n")
        return [line[len(_DATA) :].strip() for line in lines if line.startswith(_DATA)]

    def _expire(self) -> None:
        self._late = True
        self._response.close()


_DATA = b"data: "


def _object(data: bytes) -> dict[str, Any]:
    try:
        found = orjson.loads(data)
    except ValueError as error:
        raise ChannelError(f"this is no JSON: {error}") from None
    if not isinstance(found, dict):
        raise ChannelError("this is no JSON object")
    return found


def _counted(wire: dict[str, Any], on_the_way: bool) -> dict[str, Any]:
    """A streamed reply is to carry its token counts, whether the client wants them or not: one
    that hangs up pays for what it got."""
    if not wire.get("stream"):
        return wire
    more = {"continuous_usage_stats": True} if on_the_way else {}
    return {**wire, "stream_options": {"include_usage": True, **more}}


def failure(target: Target, error: TimeoutError | ChannelError) -> RequestError:
    """What a client is told of an engine that was too slow, or broke down."""
    if isinstance(error, TimeoutError):
        return RequestError(504, f"no whole answer from {target.name!r} in time", code="timeout")
    ours = target.server is None
    return RequestError(
        503,
        f"the {'engine' if ours else 'server'} of {target.name!r} stopped while answering"
        f" ({type(error).__name__})" + ("; the next request starts it again" if ours else ""),
        code="engine_failed",
        retry_after=1,
    )


def _forwarded(status: int, body: bytes) -> RequestError:
    """An engine's error as the client's; an engine's refusal of our token is our fault."""
    try:
        error = orjson.loads(body)["error"]
        message, param, code = str(error["message"]), error.get("param"), error.get("code")
    except (ValueError, KeyError, TypeError):
        message, param, code = "the engine gave an error without an explanation", None, None
    known = status if status in (400, 404, 429, 503) else 500
    return RequestError(known, message, param=param, code=code)
