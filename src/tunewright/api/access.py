"""What routes depend on: who asks, and the gateway."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import Header, Request

from tunewright.api.keys import Keys
from tunewright.deployment.gateway import Gateway
from tunewright.deployment.replies import RequestError

DEFAULT_PROJECT = "default"


@dataclass(frozen=True)
class Caller:
    """Who asks.

    Attributes:
        project: what the caller makes and sees belongs to it; another project's object is as
            though it did not exist.
        key: id of the API key; None where no keys are asked for.
    """

    project: str = DEFAULT_PROJECT
    key: str | None = None


async def authenticate(
    request: Request, authorization: Annotated[str | None, Header()] = None
) -> Caller:
    """The caller; a request without a valid key is refused before its body is read.

    Raises:
        RequestError: 401.
    """
    keys: Keys | None = request.app.state.keys
    if keys is None or keys.accept(authorization):
        return Caller()
    message = "this API key is not valid" if authorization else "an API key is needed"
    raise RequestError(
        401, f"{message}; send 'Authorization: Bearer <key>'", code="invalid_api_key"
    )


def gateway_of(request: Request) -> Gateway:
    """The application's gateway."""
    gateway: Gateway = request.app.state.gateway
    return gateway
