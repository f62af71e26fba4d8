"""OpenAI's routes: models and chat completions."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import JSONResponse, Response

from tunewright.api.access import authenticate, gateway_of
from tunewright.api.body import read_body
from tunewright.deployment.catalog import Target
from tunewright.deployment.gateway import Gateway
from tunewright.deployment.protocol import ChatRequest
from tunewright.deployment.streaming import EventStream, unless_gone

router = APIRouter(prefix="/v1", dependencies=[Depends(authenticate)])
GatewayOf = Annotated[Gateway, Depends(gateway_of)]

_CHAT_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {"schema": {"$ref": "#/components/schemas/ChatRequest"}},
        },
    }
}


@router.get("/models", summary="List the models that are served")
async def list_models(gateway: GatewayOf) -> dict[str, Any]:
    """Tuned models, newest first, then bases."""
    targets = await gateway.targets()
    return {"object": "list", "data": [_model(target) for target in targets]}


@router.get("/models/{model:path}", summary="One model")
async def retrieve_model(model: str, gateway: GatewayOf) -> dict[str, Any]:
    """By public name or by id; names may hold slashes."""
    return _model(await gateway.find(model))


@router.post(
    "/chat/completions",
    summary="Answer a conversation",
    response_model=None,
    openapi_extra=_CHAT_BODY,
)
async def create_chat_completion(request: Request, gateway: GatewayOf) -> Response:
    """Whole, or with ``stream: true`` as server-sent events."""
    chat = ChatRequest.parse(await read_body(request))
    if chat.stream:
        reply = await unless_gone(request, gateway.stream(chat))
        if reply is None:
            return _nobody()
        return EventStream(reply.events(), reply.close, _served_by(reply.target))
    answer = await unless_gone(request, gateway.complete(chat))
    if answer is None:
        return _nobody()
    target, body = answer
    return JSONResponse(body, headers=_served_by(target))


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
