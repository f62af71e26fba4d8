"""Routes for whoever runs the server: probes, metrics, usage."""

from __future__ import annotations

import asyncio
from importlib.util import find_spec
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import JSONResponse, Response

from tunewright.api.access import authenticate, gateway_of
from tunewright.api.books import Books
from tunewright.api.metrics import CONTENT_TYPE
from tunewright.core.api_keys import any_key
from tunewright.core.durations import parse_duration
from tunewright.core.errors import StorageError
from tunewright.core.store import Store
from tunewright.core.usage import read_usage
from tunewright.deployment.gateway import Gateway
from tunewright.deployment.replies import RequestError

router = APIRouter()
# Told, not checked, by the pattern: what is said of a wrong one is more helpful.
Since = Annotated[str, Query(json_schema_extra={"pattern": "^[1-9][0-9]{0,5}[smhdw]$"})]
GatewayOf = Annotated[Gateway, Depends(gateway_of)]


@router.get("/health", summary="Whether the server runs")
async def health() -> dict[str, str]:
    """Needs no key and tells nothing."""
    return {"status": "ok"}


@router.get("/ready", summary="Whether engines can be started", response_model=None)
async def ready(request: Request, gateway: GatewayOf) -> Response:
    """Needs no key; 503 while the database cannot be read or no engine that was asked for runs
    or can be started."""
    store: Store = request.app.state.books.store
    engines = gateway.engines()
    able = find_spec("torch") is not None and not (
        engines and all(engine.failing for engine in engines)
    )
    if able and await asyncio.to_thread(_readable, store):
        return JSONResponse({"status": "ready"})
    return JSONResponse({"status": "not ready"}, 503, {"Retry-After": "5"})


def _readable(store: Store) -> bool:
    try:
        any_key(store)
    except StorageError:
        return False
    return True


@router.get(
    "/metrics",
    summary="Metrics in Prometheus' text format",
    dependencies=[Depends(authenticate)],
    response_model=None,
)
async def metrics(request: Request, gateway: GatewayOf) -> Response:
    """Counters and times since the server started, and how its engines stand."""
    books: Books = request.app.state.books
    await gateway.look()
    return Response(books.metrics.text(), media_type=CONTENT_TYPE)


@router.get(
    "/tunewright/v1/usage",
    summary="Requests and tokens by key or model",
    dependencies=[Depends(authenticate)],
)
async def usage(
    request: Request, by: Literal["key", "model"] = "key", since: Since = "7d"
) -> dict[str, Any]:
    """Of all keys; ``by`` key or model, ``since`` 24h, 7d, …: whole hours."""
    books: Books = request.app.state.books
    try:
        seconds = parse_duration(since)
    except ValueError as error:
        raise RequestError(400, f"since: {error}", param="since") from None
    await books.flush()
    data = await asyncio.to_thread(read_usage, books.store, by, seconds)
    return {"object": "list", "by": by, "seconds": seconds, "data": list(data)}
