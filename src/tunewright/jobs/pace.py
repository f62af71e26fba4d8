"""How fast work in the background may ask models: it leaves the way to those who wait."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

_LOOK = 0.05


class Pacer:
    """Lets so many questions go at once, in the order in which they come.

    When others ask too, background work makes room for each of them, down to one question at a
    time, and when they are many it stands back altogether. What has begun is not broken off.

    Args:
        most: questions at once while nobody else asks.
        crowd: from so many other requests on, no question is begun.
        held: requests that all engines hold, ours among them.
    """

    def __init__(self, most: int, crowd: int, held: Callable[[], int]) -> None:
        self._most, self._crowd, self._held = most, crowd, held
        self._asking = 0
        self._first = asyncio.Lock()
        self._freed = asyncio.Event()

    @property
    def room(self) -> int:
        """Questions that may be under way now."""
        others = max(0, self._held() - self._asking)
        if others >= self._crowd:
            return 0
        return max(1, self._most - others)

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """A question's time, once it has come."""
        async with self._first:
            while self._asking >= self.room:
                self._freed.clear()
                # Others come and go without a word to us.
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._freed.wait(), _LOOK)
            self._asking += 1
        try:
            yield
        finally:
            self._asking -= 1
            self._freed.set()
