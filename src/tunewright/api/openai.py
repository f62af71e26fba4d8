"""OpenAI's routes: models, chat, completions, embeddings; and vLLM's for tokens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import JSONResponse, Response

from tunewright.api.access import Caller, authenticate, gateway_of
from tunewright.api.body import read_body
from tunewright.api.metering import UNKNOWN, Meter, meter_of
from tunewright.api.resources import ConfigOf, StoreOf
from tunewright.api.stored_completions import Keeping, keeping
from tunewright.deployment.bodies import Body, Reporting
from tunewright.deployment.catalog import Target
from tunewright.deployment.gateway import Gateway
from tunewright.deployment.protocol import ChatRequest
from tunewright.deployment.streaming import EventStream, unless_gone
from tunewright.deployment.text_protocol import (
    CompletionRequest,
    EmbeddingRequest,
    TokenizeRequest,
)

router = APIRouter(prefix="/v1", dependencies=[Depends(authenticate)])
tokens = APIRouter(dependencies=[Depends(authenticate)])
GatewayOf = Annotated[Gateway, Depends(gateway_of)]
CallerOf = Annotated[Caller, Depends(authenticate)]
MeterOf = Annotated[Meter, Depends(meter_of)]


def _body(schema: type[Body]) -> dict[str, Any]:
    """How a body that a route parses itself stands in the OpenAPI document."""
    reference = {"$ref": f"#/components/schemas/{schema.__name__}"}
    content = {"application/json": {"schema": reference}}
    return {"requestBody": {"required": True, "content": content}}


@router.get("/models", summary="List the models that are served")
async def list_models(gateway: GatewayOf, caller: CallerOf) -> dict[str, Any]:
    """Tuned models, newest first, then bases."""
    targets = await gateway.targets(caller.project)
    return {"object": "list", "data": [_model(target) for target in targets]}


@router.get("/models/{model:path}", summary="One model")
async def retrieve_model(model: str, gateway: GatewayOf, caller: CallerOf) -> dict[str, Any]:
    """By public name or by id; names may hold slashes."""
    return _model(await gateway.find(model, caller.project))


@router.post(
    "/chat/completions",
    summary="Answer a conversation",
    response_model=None,
    openapi_extra=_body(ChatRequest),
)
async def create_chat_completion(
    request: Request,
    gateway: GatewayOf,
    caller: CallerOf,
    meter: MeterOf,
    store: StoreOf,
    config: ConfigOf,
) -> Response:
    """Whole, or with ``stream: true`` as server-sent events."""
    raw = await read_body(request)
    chat = ChatRequest.parse(raw)
    meter.note_prompt([message.model_dump(exclude_none=True) for message in chat.messages])
    keeper = keeping(store, config, caller.project, chat, raw)
    asked = _Asked(request, gateway, caller, meter, keeper)
    return await asked.answer(chat, raw, chat.reports_usage if chat.stream else None)


@router.post(
    "/completions",
    summary="Go on with a text",
    response_model=None,
    openapi_extra=_body(CompletionRequest),
)
async def create_completion(
    request: Request, gateway: GatewayOf, caller: CallerOf, meter: MeterOf
) -> Response:
    """Without a chat template; whole, or with ``stream: true`` as server-sent events."""
    raw = await read_body(request)
    asked = CompletionRequest.parse(raw)
    meter.note_prompt(asked.prompt)
    answer = _Asked(request, gateway, caller, meter)
    return await answer.answer(asked, raw, asked.reports_usage if asked.stream else None)


@router.post(
    "/embeddings",
    summary="Turn texts into vectors",
    response_model=None,
    openapi_extra=_body(EmbeddingRequest),
)
async def create_embedding(
    request: Request, gateway: GatewayOf, caller: CallerOf, meter: MeterOf
) -> Response:
    """The mean of the model's last hidden states, of length 1: good enough to tell topics apart."""
    raw = await read_body(request)
    asked = EmbeddingRequest.parse(raw)
    meter.note_prompt(asked.input)
    return await _Asked(request, gateway, caller, meter).answer(asked, raw)


@tokens.post(
    "/tokenize",
    summary="Turn a text or a conversation into token ids",
    response_model=None,
    openapi_extra=_body(TokenizeRequest),
)
async def tokenize(
    request: Request, gateway: GatewayOf, caller: CallerOf, meter: MeterOf
) -> Response:
    """As vLLM answers it."""
    raw = await read_body(request)
    asked = TokenizeRequest.parse(raw)
    return await _Asked(request, gateway, caller, meter).answer(asked, raw)


@dataclass(frozen=True)
class _Asked:
    """A request, who sent it, what counts it, and what keeps its reply, if that is wanted."""

    request: Request
    gateway: Gateway
    caller: Caller
    meter: Meter
    keeper: Keeping | None = None

    async def answer(self, asked: Body, raw: bytes, reporting: Reporting | None = None) -> Response:
        """The reply: streamed where ``reporting`` says which chunks carry token counts."""
        target = await _find(self.gateway, self.caller, self.meter, asked.model)
        self.meter.reserve(raw)
        if reporting is not None:
            reply = await unless_gone(self.request, self.gateway.stream(target, asked))
            if reply is None:
                return _nobody()
            events = reply.events() if self.keeper is None else self.keeper.watch(reply.events())
            events = self.meter.watch(events, reporting)
            return EventStream(events, reply.close, _served_by(target))
        body = await unless_gone(self.request, self.gateway.complete(target, asked))
        if body is None:
            self.meter.asked()
            return _nobody()
        self.meter.counted(body.get("usage"))
        self.meter.settle(ended=True)
        if self.keeper is not None:
            body = await self.keeper.whole(body)
        return JSONResponse(body, headers=_served_by(target))


async def _find(gateway: Gateway, caller: Caller, meter: Meter, name: str) -> Target:
    """Who is to answer; what is not there goes by one name in the books."""
    meter.model = UNKNOWN
    target = await gateway.find(name, caller.project)
    meter.model = target.name
    return target


def _model(target: Target) -> dict[str, Any]:
    return {
        "id": target.name,
        "object": "model",
        "created": target.created,
        "owned_by": "tunewright",
    }


def _served_by(target: Target) -> dict[str, str]:
    # Header values are latin-1; a base's folder may be named in any script.
    return {"x-tunewright-served-by": target.id.encode("ascii", "backslashreplace").decode()}


def _nobody() -> Response:
    """For a client that has gone; 499 is nginx's word for it and is seen in logs only."""
    return Response(status_code=499)
