"""Who answers for a public name: a deployment, a tuned model, or a base."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tunewright.deployment.audience import EVERYBODY, Audience
from tunewright.deployment.bodies import Body
from tunewright.deployment.catalog import Target
from tunewright.deployment.deployments import Deployments
from tunewright.deployment.gateway import Gateway
from tunewright.deployment.live import SERVED_BY, Live, Reply, Streamed, header_text


@dataclass(frozen=True)
class Route:
    """Where the requests for one name go.

    Attributes:
        name: the public name, for books and logs.
        live: the deployment, where it is one.
    """

    name: str
    live: Live | None
    _gateway: Gateway
    _target: Target | None

    async def complete(self, body: Body, identity: str | None = None) -> Reply:
        """The whole reply.

        Args:
            body: the request.
            identity: who asks, where that is known; a canary is tried on the same ones always.

        Raises:
            RequestError: for anything but a whole reply.
        """
        if self._target is None:
            return await self._deployment().complete(body, identity)
        return Reply(await self._gateway.complete(self._target, body), _headers(self._target))

    async def stream(self, body: Body, identity: str | None = None) -> Streamed:
        """The reply in pieces; the caller must close it. Arguments as for ``complete``.

        Raises:
            RequestError: when not even the first piece can be expected.
        """
        if self._target is None:
            return await self._deployment().stream(body, identity)
        stream = await self._gateway.stream(self._target, body)
        return Streamed(stream.events(), _headers(self._target), opened=stream)

    def _deployment(self) -> Live:
        if self.live is None:
            raise ValueError(f"{self.name!r} leads nowhere")
        return self.live


class Routes:
    """All public names: those of deployments come before those of models.

    Args:
        gateway: to the models.
        deployments: of this server.
    """

    def __init__(self, gateway: Gateway, deployments: Deployments) -> None:
        self._gateway = gateway
        self._deployments = deployments

    async def find(self, name: str, audience: Audience = EVERYBODY) -> Route:
        """The route of a name, for an audience.

        Raises:
            RequestError: 404.
        """
        live = self._deployments.get(name, audience)
        if live is not None:
            return Route(live.name, live, self._gateway, None)
        target = await self._gateway.find(name, audience)
        return Route(target.name, None, self._gateway, target)


def _headers(target: Target) -> Mapping[str, str]:
    return {SERVED_BY: header_text(target.id)}
