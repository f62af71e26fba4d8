"""OpenAI's routes: models and chat completions."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import JSONResponse, Response

from tunewright.api.access import Caller, authenticate, gateway_of
from tunewright.api.body import read_body
from tunewright.api.metering import UNKNOWN, Meter, meter_of
from tunewright.deployment.catalog import Target
from tunewright.deployment.gateway import Gateway
from tunewright.deployment.protocol import ChatRequest
from tunewright.deployment.streaming import EventStream, unless_gone

router = APIRouter(prefix="/v1", dependencies=[Depends(authenticate)])
GatewayOf = Annotated[Gateway, Depends(gateway_of)]
CallerOf = Annotated[Caller, Depends(authenticate)]
MeterOf = Annotated[Meter, Depends(meter_of)]

_CHAT_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {"schema": {"$ref": "#/components/schemas/ChatRequest"}},
        },
    }
}


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
    openapi_extra=_CHAT_BODY,
)
async def create_chat_completion(
    request: Request, gateway: GatewayOf, caller: CallerOf, meter: MeterOf
) -> Response:
    """Whole, or with ``stream: true`` as server-sent events."""
    raw = await read_body(request)
    chat = ChatRequest.parse(raw)
    meter.note_prompt([message.model_dump(exclude_none=True) for message in chat.messages])
    target = await _find(gateway, caller, meter, chat.model)
    meter.reserve(raw)
    if chat.stream:
        reply = await unless_gone(request, gateway.stream(target, chat))
        if reply is None:
            return _nobody()
        events = meter.watch(reply.events(), chat.reports_usage)
        return EventStream(events, reply.close, _served_by(target))
    body = await unless_gone(request, gateway.complete(target, chat))
    if body is None:
        meter.asked()
        return _nobody()
    meter.counted(body.get("usage"))
    meter.settle(ended=True)
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
