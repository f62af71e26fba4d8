"""The HTTP application; importing it loads no torch."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from fastapi import Depends, FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from tunewright import __version__
from tunewright.api import errors, files, fine_tuning, graders, openai, permissions, uploads
from tunewright.api.access import authenticate
from tunewright.api.boundary import Boundary
from tunewright.api.job_requests import CreateJobRequest
from tunewright.api.keys import read_keys
from tunewright.config.serving import ServeConfig
from tunewright.core.store import Store
from tunewright.deployment.gateway import Gateway
from tunewright.deployment.protocol import ChatRequest
from tunewright.jobs.dispatcher import Dispatcher


def create_app(store: Store, config: ServeConfig) -> FastAPI:
    """The application for a store; engines start with the first request that needs them.

    Raises:
        ConfigError: when the file of API keys cannot be used.
    """
    keys = read_keys(Path(config.api_key_file)) if config.api_key_file else None

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.gateway = Gateway(store, config)
        app.state.dispatcher.start()
        try:
            yield
        finally:
            await asyncio.to_thread(app.state.dispatcher.stop)
            await app.state.gateway.close()

    # The built-in pages load scripts from elsewhere and their routes know no key.
    app = FastAPI(
        title="Tunewright",
        version=__version__,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
    )
    app.state.keys = keys
    app.state.store, app.state.config = store, config
    app.state.dispatcher = Dispatcher(store, config.jobs)
    app.add_middleware(Boundary, local_only=keys is None)
    errors.install(app)
    for part in (openai, files, uploads, fine_tuning, graders, permissions):
        app.include_router(part.router)
    app.add_api_route("/health", _health, methods=["GET"], summary="Whether the server runs")

    async def schema() -> JSONResponse:
        """This document."""
        return JSONResponse(openapi_document(app))

    app.add_api_route(
        "/openapi.json",
        schema,
        methods=["GET"],
        dependencies=[Depends(authenticate)],
        summary="The API as an OpenAPI document",
    )
    return app


# Bodies that routes parse themselves, once the key is checked.
_BODIES: tuple[type[BaseModel], ...] = (
    ChatRequest,
    CreateJobRequest,
    graders.RunGraderRequest,
    graders.ValidateGraderRequest,
    permissions.CreatePermissionRequest,
    uploads.CreateUploadRequest,
    uploads.CompleteUploadRequest,
)


async def _health() -> dict[str, str]:
    """Needs no key and tells nothing."""
    return {"status": "ok"}


def openapi_document(app: FastAPI) -> dict[str, Any]:
    """OpenAPI 3.1, with the schemas of bodies that are parsed after the key is checked."""
    document = get_openapi(title=app.title, version=app.version, routes=app.routes)
    _, schemas = models_json_schema(
        [(body, "validation") for body in _BODIES], ref_template="#/components/schemas/{model}"
    )
    components = document.setdefault("components", {}).setdefault("schemas", {})
    components.update(schemas.get("$defs", {}))
    return document
