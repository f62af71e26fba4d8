"""Asking models in the name of clients that do not wait: as they would, and behind those who do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from fastapi import Depends, Request

from tunewright.api.limits import DeploymentLimits
from tunewright.api.metering import Meter
from tunewright.api.stored_completions import keeping
from tunewright.config.serving import ServeConfig
from tunewright.core.store import Store
from tunewright.deployment.bodies import Body
from tunewright.deployment.fixed import FIXED
from tunewright.deployment.live import SERVED_BY
from tunewright.deployment.protocol import ChatRequest
from tunewright.deployment.replies import RequestError
from tunewright.deployment.routing import Routes
from tunewright.deployment.text_protocol import CompletionRequest, EmbeddingRequest
from tunewright.jobs.asking import NotYetError, Question, Reply

if TYPE_CHECKING:
    from tunewright.api.access import Access
    from tunewright.api.books import Books

ENDPOINTS: dict[str, type[Body]] = {
    f"/v1{body.path}": body for body in (ChatRequest, CompletionRequest, EmbeddingRequest)
}
"""What can be asked in the background, by its path."""


class ServerAsker:
    """Implements ``jobs.asking.Asker``.

    What a question takes is told to the metrics and the log here; the job that asks enters it in
    the books together with the answer, so that a killed server neither forgets nor repeats it.

    Args:
        store, config: of the server.
        routes: to deployments and models.
        access: whose the questions are, and their limits.
        shared: the limits of deployments.
        books: of the server.
    """

    def __init__(
        self,
        store: Store,
        config: ServeConfig,
        routes: Routes,
        access: Access,
        shared: DeploymentLimits,
        books: Books,
    ) -> None:
        self._store, self._config = store, config
        self._routes, self._access = routes, access
        self._shared, self._books = shared, books

    async def find(self, model: str, project: str, api_key: str) -> None:
        """As declared by ``Asker``."""
        caller = await self._access.holder(api_key, project)
        await self._routes.find(model, caller.audience)

    async def ask(self, question: Question) -> Reply:
        """As declared by ``Asker``."""
        meter = Meter(self._books.metrics)
        try:
            reply = await self._asked(question, meter)
        except NotYetError:
            raise
        except BaseException as error:
            if isinstance(error, RequestError):
                meter.status = error.status
                meter.refuse(error)
            self._books.end(meter, "POST", question.endpoint)
            raise
        self._books.end(meter, "POST", question.endpoint)
        return reply

    async def _asked(self, question: Question, meter: Meter) -> Reply:
        asked = ENDPOINTS[question.endpoint].parse(question.body)
        if getattr(asked, "stream", None):
            raise RequestError(
                400,
                "stream: nobody listens to a stream here; leave it out",
                param="stream",
                code="unsupported_parameter",
            )
        keeper = None
        if isinstance(asked, ChatRequest):
            keeper = keeping(self._store, self._config, question.project, asked, question.body)
        caller = await self._access.holder(question.api_key, question.project)
        route = await self._routes.find(asked.model, caller.audience)
        meter.model = route.name
        limits = [self._access.limits.of(question.api_key, caller.limits)]
        if route.live is not None:
            limits += self._shared.of(route.live)
        wait = meter.stand_behind(limits, question.body)
        if wait > 0:
            raise NotYetError(wait)
        reply = await route.complete(asked)
        body = reply.body
        if reply.headers[SERVED_BY] == FIXED:
            # Made for people who wait; who asks in the background can ask again.
            raise RequestError(503, "no model can answer now", code="engine_unavailable")
        meter.counted(body.get("usage"))
        meter.status = 200
        if keeper is not None:
            body = await keeper.whole(body)
        return Reply(meter.id, 200, body, route.name)


async def _asker(request: Request) -> ServerAsker:
    asker: ServerAsker = request.app.state.asker
    return asker


AskerOf = Annotated[ServerAsker, Depends(_asker)]
