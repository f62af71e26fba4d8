"""Requests under way, so that a server that may wait no longer ends each of them with a word."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tunewright.deployment.replies import RequestError


class UnderWay:
    """The requests that are being answered.

    Attributes:
        ended: whether those that were left have been ended.
    """

    def __init__(self) -> None:
        self.ended = False
        self._tasks: set[asyncio.Task[Any]] = set()

    @contextmanager
    def answering(self) -> Iterator[None]:
        """Hold a request while the block runs; ``end`` cancels the block."""
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("requests are answered in tasks")
        self._tasks.add(task)
        try:
            yield
        finally:
            self._tasks.discard(task)

    def end(self) -> None:
        """Cancel what is left."""
        self.ended = True
        for task in self._tasks:
            task.cancel()


def stopped() -> RequestError:
    """What a client is told whose answer took too long for a server that has to stop."""
    return RequestError(
        503,
        "the server was told to stop and could not wait for the rest of this answer",
        code="server_stopped",
        retry_after=5,
    )
