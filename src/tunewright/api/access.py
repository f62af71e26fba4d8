"""What routes depend on: who asks, and the gateway."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Annotated

from fastapi import Header, Request

from tunewright.api.caller import Caller
from tunewright.api.keys import KeyRing, bearer
from tunewright.api.limits import Limits
from tunewright.api.metering import meter_of
from tunewright.api.scopes import opens, scope_of
from tunewright.core.api_keys import digest_of, state_of
from tunewright.core.records import ApiKey
from tunewright.core.scopes import DEFAULT_PROJECT
from tunewright.deployment.gateway import Gateway
from tunewright.deployment.replies import RequestError


class Access:
    """Who may ask, and how much.

    Args:
        ring: the keys.
        limits: of each of them.
        always: ask for a key from the beginning.
        never: ask for none.

    With neither, keys are asked for as soon as one has ever been made.
    """

    def __init__(self, ring: KeyRing, limits: Limits, *, always: bool, never: bool) -> None:
        self._ring = ring
        self._always = always
        self._never = never
        self._lent: dict[str, Caller] = {}
        self.limits = limits

    async def keyed(self) -> bool:
        """Whether requests need a key now."""
        return not self._never and (self._always or await self._ring.exist())

    async def identify(self, authorization: str | None) -> Caller:
        """Who sent this Authorization header.

        Raises:
            RequestError: 401.
        """
        secret = bearer(authorization)
        if self._lent and secret is not None and (lent := self._lent.get(digest_of(secret))):
            return lent
        if not await self.keyed():
            return Caller()
        if secret is None:
            raise _unknown("this is no API key" if authorization else "an API key is needed")
        key = await self._ring.find(secret)
        if key is None:
            raise _unknown("this API key is not valid")
        state = state_of(key, time.time())
        if state != "valid":
            raise _unknown(f"this API key is {state}")
        return _caller(key)

    @contextmanager
    def lend(self, caller: Caller) -> Iterator[str]:
        """A key that stands for a caller while the block runs; it is kept in memory alone."""
        secret = secrets.token_urlsafe(32)
        digest = digest_of(secret.encode())
        self._lent[digest] = caller
        try:
            yield secret
        finally:
            del self._lent[digest]

    async def holder(self, key: str, project: str) -> Caller:
        """Whose key has this id: for what is asked in its name later, whatever its state then.

        Args:
            project: whose all that is asked is; it is the key's own, or was.
        """
        found = await self._ring.by_id(key) if key else None
        caller = Caller(key=key or None) if found is None else _caller(found)
        return replace(caller, project=project)


def _caller(key: ApiKey) -> Caller:
    project = key.project or DEFAULT_PROJECT
    return Caller(project, key.id, frozenset(key.scopes), key.limits, key.models)


def _unknown(message: str) -> RequestError:
    return RequestError(
        401, f"{message}; send 'Authorization: Bearer <key>'", code="invalid_api_key"
    )


async def authenticate(
    request: Request, authorization: Annotated[str | None, Header()] = None
) -> Caller:
    """The caller, let in; a request that is not is refused before its body is read.

    What a key must open is told by the route that was matched, never by the request's URL.

    Raises:
        RequestError: 401 without a valid key, 403 when the key does not open this route, 429 when
            its limits are reached.
    """
    access: Access = request.app.state.access
    meter = meter_of(request)
    caller = await access.identify(authorization)
    meter.caller = caller
    scope = scope_of(request.method, request.scope["route"].path)
    if not opens(caller.scopes, scope):
        raise RequestError(
            403,
            f"this API key does not open this route; it would need the scope {scope}"
            if scope
            else "no API key opens this route",
            code="missing_scope",
        )
    if not caller.own:
        meter.enter(caller, access.limits.of(caller.key or "", caller.limits))
    return caller


async def gateway_of(request: Request) -> Gateway:
    """The application's gateway."""
    # Asynchronous, as all that every request depends on: others go through a thread each.
    gateway: Gateway = request.app.state.gateway
    return gateway
