"""OpenAI's routes: models, chat, completions, embeddings; and vLLM's for tokens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import JSONResponse, Response

from tunewright.api.access import authenticate, gateway_of
from tunewright.api.body import read_body
from tunewright.api.caller import Caller
from tunewright.api.limits import DeploymentLimits
from tunewright.api.metering import UNKNOWN, Meter, meter_of
from tunewright.api.resources import ConfigOf, StoreOf
from tunewright.api.stored_completions import Keeping, keeping
from tunewright.deployment.bodies import Body, Reporting
from tunewright.deployment.catalog import Target
from tunewright.deployment.deployments import Deployments
from tunewright.deployment.gateway import Gateway
from tunewright.deployment.live import SERVED_BY, Live
from tunewright.deployment.protocol import ChatRequest
from tunewright.deployment.routing import Route, Routes
from tunewright.deployment.streaming import EventStream, unless_gone
from tunewright.deployment.text_protocol import (
    CompletionRequest,
    DetokenizeRequest,
    EmbeddingRequest,
    TokenizeRequest,
)

router = APIRouter(prefix="/v1", dependencies=[Depends(authenticate)])
tokens = APIRouter(dependencies=[Depends(authenticate)])
GatewayOf = Annotated[Gateway, Depends(gateway_of)]
CallerOf = Annotated[Caller, Depends(authenticate)]


async def _meter(request: Request) -> Meter:
    return meter_of(request)


MeterOf = Annotated[Meter, Depends(_meter)]


def _body(schema: type[Body]) -> dict[str, Any]:
    """How a body that a route parses itself stands in the OpenAPI document."""
    reference = {"$ref": f"#/components/schemas/{schema.__name__}"}
    content = {"application/json": {"schema": reference}}
    return {"requestBody": {"required": True, "content": content}}


async def deployments_of(request: Request) -> Deployments:
    """The application's deployments."""
    deployments: Deployments = request.app.state.deployments
    return deployments


DeploymentsOf = Annotated[Deployments, Depends(deployments_of)]


@router.get("/models", summary="List the models that are served")
async def list_models(
    gateway: GatewayOf, deployments: DeploymentsOf, caller: CallerOf
) -> dict[str, Any]:
    """Deployments and tuned models, newest first, then bases."""
    models = {live.name: _deployed(live) for live in deployments.all(caller.audience)}
    for target in await gateway.targets(caller.audience):
        models.setdefault(target.name, _model(target))
    return {"object": "list", "data": list(models.values())}


@router.get("/models/{model:path}", summary="One model")
async def retrieve_model(
    model: str, gateway: GatewayOf, deployments: DeploymentsOf, caller: CallerOf
) -> dict[str, Any]:
    """By public name or by id; names may hold slashes. A deployment's tells whether it is on."""
    live = deployments.get(model, caller.audience)
    if live is not None:
        return _deployed(live)
    return _model(await gateway.find(model, caller.audience))


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


def _about_tokens(schema: type[Body], summary: str) -> None:
    """Add a route of vLLM's."""

    async def answer(
        request: Request, gateway: GatewayOf, caller: CallerOf, meter: MeterOf
    ) -> Response:
        """As vLLM answers it."""
        raw = await read_body(request)
        return await _Asked(request, gateway, caller, meter).answer(schema.parse(raw), raw)

    tokens.add_api_route(
        schema.path,
        answer,
        methods=["POST"],
        summary=summary,
        response_model=None,
        openapi_extra=_body(schema),
    )


_about_tokens(TokenizeRequest, "Turn a text or a conversation into token ids")
_about_tokens(DetokenizeRequest, "Turn token ids into the text that they spell")


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
        route = await self._find(asked.model)
        identity = _identity(asked, self.caller)
        self.meter.reserve(raw)
        if reporting is not None:
            reply = await unless_gone(self.request, route.stream(asked, identity))
            if reply is None:
                return _nobody()
            self.meter.served_by = reply.headers[SERVED_BY]
            events = reply.events() if self.keeper is None else self.keeper.watch(reply.events())
            events = self.meter.watch(events, reporting)
            return EventStream(events, reply.close, reply.headers)
        whole = await unless_gone(self.request, route.complete(asked, identity))
        if whole is None:
            self.meter.asked()
            return _nobody()
        self.meter.served_by = whole.headers[SERVED_BY]
        self.meter.counted(whole.body.get("usage"))
        self.meter.settle(ended=True)
        body = whole.body if self.keeper is None else await self.keeper.whole(whole.body)
        return JSONResponse(body, headers=dict(whole.headers))

    async def _find(self, name: str) -> Route:
        """Who is to answer; what is not there goes by one name in the books."""
        self.meter.model = UNKNOWN
        state = self.request.app.state
        route = await Routes(self.gateway, state.deployments).find(name, self.caller.audience)
        self.meter.model = route.name
        if route.live is not None:
            limits: DeploymentLimits = state.deployment_limits
            for allowance in limits.of(route.live):
                self.meter.join(allowance)
        return route


def _identity(asked: Body, caller: Caller) -> str | None:
    """Who asks, as closely as the request tells."""
    for field in ("safety_identifier", "user"):
        value = getattr(asked, field, None)
        if value:
            return f"{caller.project}\0{field}\0{value}"
    return caller.key


def _deployed(live: Live) -> dict[str, Any]:
    return {
        "id": live.name,
        "object": "model",
        "created": int(live.record.created),
        "owned_by": "tunewright",
        "deployment": {"id": live.record.id, "on": live.record.on},
    }


def _model(target: Target) -> dict[str, Any]:
    return {
        "id": target.name,
        "object": "model",
        "created": target.created,
        "owned_by": "tunewright",
    }


def _nobody() -> Response:
    """For a client that has gone; 499 is nginx's word for it and is seen in logs only."""
    return Response(status_code=499)
