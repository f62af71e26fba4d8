"""Every failure leaves in OpenAI's error shape, whoever raised it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.routing import Match

from tunewright.api.metering import meter_of
from tunewright.core.errors import InputError, TunewrightError
from tunewright.core.logs import masked
from tunewright.deployment.replies import RequestError

_log = logging.getLogger(__name__)
_METHODS = ("DELETE", "GET", "HEAD", "PATCH", "POST", "PUT")


def error_response(error: RequestError) -> JSONResponse:
    """The response to a refused or failed request."""
    headers: dict[str, str] = {}
    if error.retry_after is not None:
        headers["Retry-After"] = str(error.retry_after)
    if error.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    if error.status in (409, 504) or error.should_retry is False:
        # OpenAI's client would ask twice more: in vain, or waiting as long each time.
        headers["x-should-retry"] = "false"
    body = error.body()
    # A key that was put where a name belongs must not end up in a client's log.
    body["error"]["message"] = masked(body["error"]["message"])
    return JSONResponse(body, error.status, headers)


def unexpected(error: Exception) -> JSONResponse:
    """The response to a fault of ours: the log has the details, the client does not."""
    _log.error("unexpected error while answering a request", exc_info=error)
    return error_response(RequestError(500, "the server failed; its log says why"))


def install(app: FastAPI) -> None:
    """Register the handlers."""
    app.add_exception_handler(TunewrightError, _expected)
    app.add_exception_handler(HTTPException, _routing)
    app.add_exception_handler(RequestValidationError, _invalid)


async def _expected(request: Request, error: Exception) -> JSONResponse:
    if isinstance(error, RequestError):
        meter_of(request).refuse(error)
        return error_response(error)
    if isinstance(error, InputError):
        return error_response(RequestError(400, str(error)))
    return unexpected(error)


async def _routing(request: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, HTTPException):
        return unexpected(error)
    messages = {
        404: f"there is no {request.scope['path']}; this server speaks OpenAI's API under /v1",
        405: f"{request.method} is not allowed on {request.scope['path']}",
    }
    message = messages.get(error.status_code, str(error.detail))
    response = error_response(RequestError(error.status_code, message))
    response.headers.update(_headers(error.headers))
    if error.status_code == 405:
        # The router stops at the first route of the path; there may be more, of other methods.
        response.headers["Allow"] = ", ".join(_methods(request))
    return response


def _headers(headers: Mapping[str, str] | None) -> dict[str, str]:
    return dict(headers or {})


def _methods(request: Request) -> list[str]:
    """What the path of a request can be asked with."""
    app: FastAPI = request.app
    asked = ({**request.scope, "method": method} for method in _METHODS)
    return [
        scope["method"]
        for scope in asked
        if any(route.matches(scope)[0] == Match.FULL for route in app.routes)
    ]


async def _invalid(request: Request, error: Exception) -> JSONResponse:
    problems: list[Any] = list(error.errors()) if isinstance(error, RequestValidationError) else []
    if not problems:
        return unexpected(error)
    param = str(problems[0]["loc"][-1])
    return error_response(RequestError(400, f"{param}: {problems[0]['msg']}", param=param))
