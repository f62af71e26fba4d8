"""An engine's HTTP routes: OpenAI's chat protocol, and vLLM's for adapters; for its gateway."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import pydantic_core
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tunewright.core.errors import TunewrightError
from tunewright.core.messages import Conversation
from tunewright.deployment.protocol import BASE_NAME, ChatRequest
from tunewright.deployment.replies import ReplyWriter, RequestError, usage
from tunewright.deployment.scheduler import Group, Job, Piece, Scheduler
from tunewright.deployment.streaming import EventStream, unless_gone

if TYPE_CHECKING:
    from tunewright.model.choices import Choices  # loads torch; a served base brings its own


class ServedBase(Protocol):
    """A loaded base as the routes need it."""

    context_length: int

    def prompt_ids(self, conversation: Conversation) -> list[int]:
        """Token ids of a conversation with the generation prompt."""
        ...

    def choices(self, texts: Sequence[str]) -> Choices:
        """What an answer can be held to."""
        ...

    def open_group(self, adapter: str | None) -> Group:
        """A batch that is answered with an adapter, or with the bare base."""
        ...

    def load_adapter(self, name: str, folder: Path) -> None:
        """Make an adapter usable under a name."""
        ...

    def unload_adapter(self, name: str) -> None:
        """Forget an adapter."""
        ...


class EngineRoutes:
    """The routes of one engine."""

    def __init__(self, base: ServedBase) -> None:
        self._base = base
        self._scheduler = Scheduler(base.open_group)
        self._adapters: set[str] = set()

    async def health(self, request: Request) -> Response:
        """How many requests run and wait."""
        return JSONResponse({"status": "ok", **self._scheduler.counts()})

    async def load_adapter(self, request: Request) -> Response:
        """``{lora_name, lora_path}``; loading the same name again does nothing."""
        order = await _order(request, "lora_name", "lora_path")
        name, folder = order["lora_name"], Path(order["lora_path"])
        if name == BASE_NAME:
            raise RequestError(400, f"{BASE_NAME!r} is the base itself", param="lora_name")
        if name not in self._adapters:
            await self._scheduler.call(lambda: self._base.load_adapter(name, folder))
            self._adapters.add(name)
        return JSONResponse({"status": "ok"})

    async def unload_adapter(self, request: Request) -> Response:
        """``{lora_name}``."""
        name = (await _order(request, "lora_name"))["lora_name"]
        self._known(name)
        self._adapters.discard(name)
        await self._scheduler.call(lambda: self._base.unload_adapter(name))
        return JSONResponse({"status": "ok"})

    async def chat(self, request: Request) -> Response:
        """``POST /v1/chat/completions``."""
        chat = ChatRequest.parse(await request.body())
        answer = _Answer(chat, await self._submit(chat))
        if chat.stream:
            return EventStream(answer.events(), answer.close, {})
        try:
            body = await unless_gone(request, answer.whole())
        finally:
            await answer.close()
        return Response(status_code=499) if body is None else JSONResponse(body)

    async def _submit(self, chat: ChatRequest) -> Job:
        if chat.model != BASE_NAME:
            self._known(chat.model)
        # A long prompt takes a while to render; other requests must not wait for it.
        prompt = await asyncio.to_thread(self._base.prompt_ids, chat.conversation())
        room = self._base.context_length - len(prompt)
        settings = chat.generation(room)
        choices = None
        if settings.choices:
            choices = await asyncio.to_thread(self._base.choices, settings.choices)
        if room < (choices.longest if choices else 1):
            raise RequestError(
                400,
                f"the messages take {len(prompt)} tokens and leave no room for an answer in this"
                f" model's context of {self._base.context_length}",
                param="messages",
                code="context_length_exceeded",
            )
        job = Job(
            prompt=prompt,
            settings=settings,
            adapter=None if chat.model == BASE_NAME else chat.model,
            loop=asyncio.get_running_loop(),
            choices=choices,
        )
        self._scheduler.submit(job)
        return job

    def _known(self, name: str) -> None:
        if name not in self._adapters:
            raise RequestError(
                404, f"no adapter {name!r} is loaded", param="model", code="model_not_found"
            )


class _Answer:
    """The reply to one request while it is made."""

    def __init__(self, chat: ChatRequest, job: Job) -> None:
        self._chat = chat
        self._job = job
        self._writer = ReplyWriter(secrets.token_hex(12), chat.model)

    async def whole(self) -> dict[str, Any]:
        """The reply in one piece."""
        texts: list[str] = []
        while True:
            piece = await self._next()
            texts.append(piece.text)
            if piece.finish_reason is not None:
                counts = usage(len(self._job.prompt), piece.completion_tokens)
                return self._writer.whole("".join(texts), piece.finish_reason, counts)

    async def events(self) -> AsyncIterator[dict[str, Any]]:
        """The reply in chunks; a failure on the way is a last event with an ``error``."""
        yield self._writer.chunk({"role": "assistant", "content": ""})
        piece = Piece("")
        while piece.finish_reason is None:
            try:
                piece = await self._next()
            except RequestError as error:
                yield error.body()
                return
            if piece.text:
                yield self._writer.chunk({"content": piece.text})
        yield self._writer.chunk({}, piece.finish_reason)
        options = self._chat.stream_options
        if options is not None and options.include_usage:
            counts = usage(len(self._job.prompt), piece.completion_tokens)
            yield self._writer.usage_chunk(counts)

    async def close(self) -> None:
        """Stop generating, if that is still going on."""
        self._job.cancelled.set()

    async def _next(self) -> Piece:
        piece = await self._job.pieces.get()
        if isinstance(piece, Exception):
            raise piece
        return piece


async def _order(request: Request, *names: str) -> dict[str, str]:
    try:
        values = pydantic_core.from_json(await request.body())
        return {name: str(values[name]) for name in names}
    except (ValueError, KeyError, TypeError):
        raise RequestError(400, f"the body must be JSON with {', '.join(names)}") from None


def engine_app(base: ServedBase, token: str) -> Starlette:
    """The application; every route wants the token."""
    routes = EngineRoutes(base)
    expected = hashlib.sha256(f"Bearer {token}".encode()).digest()

    def guarded(
        endpoint: Callable[[Request], Awaitable[Response]],
    ) -> Callable[[Request], Awaitable[Response]]:
        async def check(request: Request) -> Response:
            given = request.headers.get("authorization", "").encode("latin-1")
            if not hmac.compare_digest(hashlib.sha256(given).digest(), expected):
                raise RequestError(401, "this engine answers its gateway only")
            return await endpoint(request)

        return check

    return Starlette(
        routes=[
            Route("/health", guarded(routes.health)),
            Route("/v1/chat/completions", guarded(routes.chat), methods=["POST"]),
            Route("/v1/load_lora_adapter", guarded(routes.load_adapter), methods=["POST"]),
            Route("/v1/unload_lora_adapter", guarded(routes.unload_adapter), methods=["POST"]),
        ],
        exception_handlers={TunewrightError: _expected},
    )


async def _expected(request: Request, error: Exception) -> Response:
    if not isinstance(error, RequestError):
        error = RequestError(400, str(error))
    return JSONResponse(error.body(), error.status)
