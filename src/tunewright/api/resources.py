"""What routes work on: the store, the server's options, its dispatcher of jobs; and JSON bodies."""

from __future__ import annotations

import json
from typing import Annotated, Any, TypeVar

from fastapi import Depends, Request
from pydantic import BaseModel, Field, StringConstraints, ValidationError

from tunewright.api.access import authenticate
from tunewright.api.body import read_body
from tunewright.api.caller import Caller
from tunewright.config.serving import ServeConfig
from tunewright.core.store import Store
from tunewright.deployment.replies import RequestError
from tunewright.jobs.background import Background
from tunewright.jobs.dispatcher import Dispatcher

M = TypeVar("M", bound=BaseModel)


async def _store(request: Request) -> Store:
    store: Store = request.app.state.store
    return store


async def _config(request: Request) -> ServeConfig:
    config: ServeConfig = request.app.state.config
    return config


async def _dispatcher(request: Request) -> Dispatcher:
    dispatcher: Dispatcher = request.app.state.dispatcher
    return dispatcher


async def _background(request: Request) -> Background:
    background: Background = request.app.state.background
    return background


CallerOf = Annotated[Caller, Depends(authenticate)]
StoreOf = Annotated[Store, Depends(_store)]
ConfigOf = Annotated[ServeConfig, Depends(_config)]
DispatcherOf = Annotated[Dispatcher, Depends(_dispatcher)]
BackgroundOf = Annotated[Background, Depends(_background)]
Metadata = Annotated[
    dict[
        Annotated[str, StringConstraints(max_length=64)],
        Annotated[str, StringConstraints(max_length=512)],
    ],
    Field(max_length=16),
]
"""A client's own labels for an object."""


def json_body(name: str) -> dict[str, Any]:
    """The OpenAPI part of a route that parses its body itself, of the schema of this name."""
    schema = {"schema": {"$ref": f"#/components/schemas/{name}"}}
    return {"requestBody": {"required": True, "content": {"application/json": schema}}}


def _no_number(name: str) -> float:
    raise ValueError(f"{name} is no number in JSON")


async def parse_body(request: Request, cls: type[M]) -> M:
    """The JSON body.

    Raises:
        RequestError: 400 for what is no such body, naming the field; others as ``read_body``.
    """
    body = await read_body(request)
    try:
        values = json.loads(body, parse_constant=_no_number)
        # Half of a character, escaped, is JSON but no text that could be kept.
        json.dumps(values, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        raise RequestError(400, "the body is not JSON, or holds what is no text") from None
    try:
        return cls.model_validate(values)
    except ValidationError as error:
        problem = error.errors()[0]
        where = ".".join(str(part) for part in problem["loc"])
        what = problem["msg"].removeprefix("Value error, ")
        raise RequestError(
            400, f"{where}: {what}" if where else what, param=where or None
        ) from None
