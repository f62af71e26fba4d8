"""What routes depend on: a key when keys are set, and the gateway."""

from __future__ import annotations

from typing import Annotated

from fastapi import Header, Request

from tunewright.api.keys import Keys
from tunewright.deployment.gateway import Gateway
from tunewright.deployment.replies import RequestError


async def authenticate(
    request: Request, authorization: Annotated[str | None, Header()] = None
) -> None:
    """Refuse a request without a valid key, before its body is read.

    Raises:
        RequestError: 401.
    """
    keys: Keys | None = request.app.state.keys
    if keys is None or keys.accept(authorization):
        return
    message = "this API key is not valid" if authorization else "an API key is needed"
    raise RequestError(
        401, f"{message}; send 'Authorization: Bearer <key>'", code="invalid_api_key"
    )


def gateway_of(request: Request) -> Gateway:
    """The application's gateway."""
    gateway: Gateway = request.app.state.gateway
    return gateway
