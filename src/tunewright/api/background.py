"""What the server does beside answering: batches, evals, and the upkeep of what is stored."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from fastapi import FastAPI

from tunewright.api.asking import ServerAsker
from tunewright.api.comparing import ComparingHost
from tunewright.api.stored_completions import completions_of
from tunewright.config.serving import ServeConfig
from tunewright.core.queue import Entry
from tunewright.core.store import Store
from tunewright.deployment.parity import PARITY
from tunewright.deployment.routing import Routes
from tunewright.jobs.background import Background, Task
from tunewright.jobs.batches import BATCH, BatchTask
from tunewright.jobs.comparing import ComparisonTask
from tunewright.jobs.evals import EVAL, EvalTask
from tunewright.jobs.exporting import EXPORT, ExportTask
from tunewright.jobs.pace import Pacer

_ONE_AT_A_TIME = {PARITY: 1, EXPORT: 1}
"""What loads a model of its own."""


@asynccontextmanager
async def working(app: FastAPI) -> AsyncIterator[None]:
    """Work in the background while the block runs; the gateway must outlive it."""
    store: Store = app.state.store
    config: ServeConfig = app.state.config
    gateway = app.state.gateway
    routes = Routes(gateway, app.state.deployments)
    state = app.state
    asker = state.asker = ServerAsker(
        store, config, routes, state.access, state.deployment_limits, state.books
    )
    pacer = Pacer(config.batches.at_once, max(1, config.queue // 2), gateway.held)

    def batch(entry: Entry) -> Task:
        seconds, workers = config.jobs.lease, config.batches.at_once
        return BatchTask(store, entry, seconds, asker, pacer, workers)

    def eval_run(entry: Entry) -> Task:
        seconds, workers = config.jobs.lease, config.batches.at_once
        return EvalTask(store, entry, seconds, asker, pacer, workers)

    def export(entry: Entry) -> Task:
        return ExportTask(store, entry, config.jobs)

    kinds: dict[str, Callable[[Entry], Task]] = {BATCH: batch, EVAL: eval_run, EXPORT: export}
    url: str | None = getattr(app.state, "url", None)
    if url is not None:
        host = ComparingHost(f"{url}/v1", state.access, state.books, gateway)
        kinds[PARITY] = lambda entry: ComparisonTask(store, entry, config.jobs, host, config.device)
    upkeep = completions_of(store, config).sweep
    background = state.background = Background(store, config.jobs, kinds, upkeep, _ONE_AT_A_TIME)
    background.start()
    try:
        yield
    finally:
        await background.stop()
