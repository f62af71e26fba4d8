"""The HTTP application; importing it loads no torch."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from fastapi import Depends, FastAPI
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from tunewright import __version__
from tunewright.api import (
    background,
    batches,
    blind,
    deployments,
    errors,
    eval_requests,
    eval_runs,
    evals,
    exports,
    files,
    fine_tuning,
    graders,
    moderations,
    openai,
    operations,
    permissions,
    stored_completions,
    uploads,
)
from tunewright.api.access import Access, authenticate
from tunewright.api.books import Books
from tunewright.api.boundary import Boundary
from tunewright.api.job_requests import CreateJobRequest
from tunewright.api.keys import KeyRing, read_keys
from tunewright.api.limits import DeploymentLimits
from tunewright.config.serving import ServeConfig
from tunewright.core.store import Store
from tunewright.deployment.deployments import Deployments
from tunewright.deployment.gateway import Gateway
from tunewright.deployment.protocol import ChatRequest
from tunewright.deployment.text_protocol import (
    CompletionRequest,
    DetokenizeRequest,
    EmbeddingRequest,
    TokenizeRequest,
)
from tunewright.deployment.upstream import EngineState
from tunewright.jobs.dispatcher import Dispatcher


def create_app(store: Store, config: ServeConfig) -> FastAPI:
    """The application for a store; engines start with the first request that needs them.

    Raises:
        ConfigError: when the file of API keys cannot be used.
    """
    file_keys = read_keys(Path(config.api_key_file)) if config.api_key_file else None

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        gateway = app.state.gateway = Gateway(store, config)
        app.state.deployments = Deployments(store, config, gateway, books.metrics)
        await app.state.deployments.start()
        app.state.dispatcher.start()
        async with books.kept():
            try:
                async with background.working(app):
                    yield
            finally:
                await asyncio.to_thread(app.state.dispatcher.stop)
                await app.state.deployments.close()
                await gateway.close()

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
    app.state.store, app.state.config = store, config
    app.state.dispatcher = Dispatcher(store, config.jobs)
    books = app.state.books = Books(store, config, lambda: _engines(app))
    books.metrics.switches = lambda: _switches(app)
    app.state.deployment_limits = DeploymentLimits()
    access = app.state.access = Access(
        KeyRing(store, file_keys), books.limits, always=config.require_keys, never=config.open
    )
    app.add_middleware(Boundary, access=access, books=books, at_once=config.at_once)
    errors.install(app)
    for part in _PARTS:
        app.include_router(part.router)
    app.include_router(openai.tokens)
    app.include_router(blind.router)

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


_PARTS = (
    *(openai, stored_completions, batches, moderations, evals, eval_runs, deployments),
    *(files, uploads, fine_tuning, exports, graders, permissions, operations),
)
# Bodies that routes parse themselves, once the key is checked.
_BODIES: tuple[type[BaseModel], ...] = (
    ChatRequest,
    CompletionRequest,
    EmbeddingRequest,
    TokenizeRequest,
    DetokenizeRequest,
    CreateJobRequest,
    deployments.CreateDeploymentRequest,
    deployments.ChangeDeploymentRequest,
    deployments.SwitchDeploymentRequest,
    deployments.CanaryRequest,
    deployments.RollbackDeploymentRequest,
    exports.CreateExportRequest,
    graders.RunGraderRequest,
    graders.ValidateGraderRequest,
    permissions.CreatePermissionRequest,
    stored_completions.UpdateCompletionRequest,
    batches.CreateBatchRequest,
    eval_requests.CreateEvalRequest,
    eval_requests.UpdateEvalRequest,
    eval_requests.CreateRunRequest,
    uploads.CreateUploadRequest,
    uploads.CompleteUploadRequest,
)


def _engines(app: FastAPI) -> list[EngineState]:
    """How the engines stand; none before the server takes requests."""
    gateway: Gateway | None = getattr(app.state, "gateway", None)
    return [] if gateway is None else gateway.engines()


def _switches(app: FastAPI) -> dict[str, bool]:
    """Whether each deployment is on; none before the server takes requests."""
    running: Deployments | None = getattr(app.state, "deployments", None)
    return {} if running is None else {live.name: live.record.on for live in running.all()}


def openapi_document(app: FastAPI) -> dict[str, Any]:
    """OpenAPI 3.1, with the schemas of bodies that are parsed after the key is checked."""
    # A tenth of a second of classes that only this asks for: not at every start.
    from tunewright.api.document import build

    return build(app, _BODIES)
