"""Telling a repeated request from a new one."""

from __future__ import annotations

import time
from typing import Annotated, Any

from fastapi import Depends, Header, Request

from tunewright.api.access import authenticate
from tunewright.api.caller import Caller
from tunewright.core.files import digest
from tunewright.core.requests import Attempt


class Attempts:
    """Makes the ``Attempt`` of a request, once it is known what it is to make."""

    def __init__(self, request: Request, caller: Caller, number: int) -> None:
        self._who = [caller.project, caller.key, request.method, request.scope["path"]]
        self._number = number
        self._arrived = time.time()

    def at(self, what: Any) -> Attempt:
        """The attempt at something that a JSON value says all about."""
        return Attempt(digest([*self._who, what]), self._number, self._arrived)


async def attempts(
    request: Request,
    caller: Annotated[Caller, Depends(authenticate)],
    x_stainless_retry_count: Annotated[str, Header()] = "0",
) -> Attempts:
    """The dependency; a count that is none is that of a first attempt."""
    count = x_stainless_retry_count
    number = int(count) if count.isascii() and count.isdigit() and len(count) < 4 else 0
    return Attempts(request, caller, number)


AttemptsOf = Annotated[Attempts, Depends(attempts)]
