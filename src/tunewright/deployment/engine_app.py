"""An engine's HTTP routes, for its gateway: OpenAI's, and vLLM's for adapters and tokens."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Awaitable, Callable
from pathlib import Path

import pydantic_core
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tunewright.core.errors import TunewrightError
from tunewright.core.logs import note
from tunewright.deployment.answers import Answer
from tunewright.deployment.asking import Desk, ServedBase
from tunewright.deployment.bodies import BASE_NAME
from tunewright.deployment.protocol import ChatRequest
from tunewright.deployment.replies import RequestError
from tunewright.deployment.scheduler import Scheduler
from tunewright.deployment.streaming import ByteStream, unless_gone
from tunewright.deployment.text_protocol import (
    CompletionRequest,
    DetokenizeRequest,
    EmbeddingRequest,
    TokenizeRequest,
)

PUBLIC_NAME = "x-tunewright-model"
"""Header in which a gateway says how the client calls the model, so that replies can say so too."""


class EngineRoutes:
    """The routes of one engine."""

    def __init__(self, base: ServedBase, fingerprint: str) -> None:
        self._base = base
        self._scheduler = Scheduler(base.open_group, base.group_of)
        self._desk = Desk(base, self._scheduler, fingerprint)

    async def health(self, request: Request) -> Response:
        """How many answers are under way and wait, and how full the cache is."""
        blocks = {"kv_blocks": self._base.kv_blocks()}
        known = {**self._scheduler.counts(), **self._base.memory(), **blocks}
        return JSONResponse({"status": "ok", **known})

    async def load_adapter(self, request: Request) -> Response:
        """``{lora_name, lora_path}``; loading the same name again does nothing."""
        order = await _order(request, "lora_name", "lora_path")
        name, folder = order["lora_name"], Path(order["lora_path"])
        if name == BASE_NAME:
            raise RequestError(400, f"{BASE_NAME!r} is the base itself", param="lora_name")
        if name not in self._desk.adapters:
            await self._scheduler.call(lambda: self._base.load_adapter(name, folder))
            self._desk.adapters.add(name)
            note("adapter_loaded", {"adapter": name})
        return JSONResponse({"status": "ok"})

    async def unload_adapter(self, request: Request) -> Response:
        """``{lora_name}``; answers that it is giving end with an error."""
        name = (await _order(request, "lora_name"))["lora_name"]
        self._desk.check_known(name)
        self._desk.adapters.discard(name)
        gone = RequestError(
            404, f"adapter {name!r} was unloaded", param="model", code="model_not_found"
        )

        def unload() -> None:
            self._scheduler.end_adapter(name, gone)
            self._base.unload_adapter(name)

        await self._scheduler.call(unload)
        note("adapter_unloaded", {"adapter": name})
        return JSONResponse({"status": "ok"})

    async def chat(self, request: Request) -> Response:
        """``POST /v1/chat/completions``."""
        chat = ChatRequest.parse(await request.body())
        answer = await self._desk.chat(chat, _public_name(request, chat.model))
        return await _answered(request, answer, bool(chat.stream))

    async def complete(self, request: Request) -> Response:
        """``POST /v1/completions``."""
        asked = CompletionRequest.parse(await request.body())
        answer = await self._desk.complete(asked, _public_name(request, asked.model))
        return await _answered(request, answer, bool(asked.stream))

    async def embed(self, request: Request) -> Response:
        """``POST /v1/embeddings``."""
        asked = EmbeddingRequest.parse(await request.body())
        work = self._desk.embed(asked, _public_name(request, asked.model))
        body = await unless_gone(request, work)
        return _nobody() if body is None else JSONResponse(body)

    async def tokenize(self, request: Request) -> Response:
        """``POST /tokenize``."""
        return JSONResponse(await self._desk.tokenize(TokenizeRequest.parse(await request.body())))

    async def detokenize(self, request: Request) -> Response:
        """``POST /detokenize``."""
        asked = DetokenizeRequest.parse(await request.body())
        return JSONResponse(await self._desk.detokenize(asked))


async def _answered(request: Request, answer: Answer, stream: bool) -> Response:
    if stream:
        return ByteStream(answer.events(), answer.close, {})
    try:
        body = await unless_gone(request, answer.whole())
    finally:
        await answer.close()
    return _nobody() if body is None else JSONResponse(body)


def _nobody() -> Response:
    """For a client that has gone."""
    return Response(status_code=499)


def _public_name(request: Request, model: str) -> str:
    """The model as the client calls it; escaped, since names may be in any script."""
    given = request.headers.get(PUBLIC_NAME)
    return model if given is None else given.encode("latin-1").decode("unicode_escape")


async def _order(request: Request, *names: str) -> dict[str, str]:
    try:
        values = pydantic_core.from_json(await request.body())
        return {name: str(values[name]) for name in names}
    except (ValueError, KeyError, TypeError):
        raise RequestError(400, f"the body must be JSON with {', '.join(names)}") from None


def engine_app(base: ServedBase, token: str, fingerprint: str = "fp_unknown") -> Starlette:
    """The application; every route wants the token.

    Args:
        base: what answers.
        token: known to the gateway only.
        fingerprint: of the base's weights and renderer, for replies.
    """
    routes = EngineRoutes(base, fingerprint)
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
            Route("/tokenize", guarded(routes.tokenize), methods=["POST"]),
            Route("/detokenize", guarded(routes.detokenize), methods=["POST"]),
            Route("/v1/chat/completions", guarded(routes.chat), methods=["POST"]),
            Route("/v1/completions", guarded(routes.complete), methods=["POST"]),
            Route("/v1/embeddings", guarded(routes.embed), methods=["POST"]),
            Route("/v1/load_lora_adapter", guarded(routes.load_adapter), methods=["POST"]),
            Route("/v1/unload_lora_adapter", guarded(routes.unload_adapter), methods=["POST"]),
        ],
        exception_handlers={TunewrightError: _expected},
    )


async def _expected(request: Request, error: Exception) -> Response:
    if not isinstance(error, RequestError):
        error = RequestError(400, str(error))
    return JSONResponse(error.body(), error.status)
