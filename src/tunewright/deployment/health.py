"""When a deployment is to be hidden: its recent failures and times against its rule."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Iterable

from tunewright.config.deployment import HealthConfig

_MOST = 5_000


class Health:
    """The requests of the last while.

    Args:
        config: the rule.
        clock, wall: seconds that never go back, and Unix time.

    Attributes:
        noted: grows whenever there is something new.
    """

    def __init__(
        self,
        config: HealthConfig,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._config = config
        self._clock, self._wall = clock, wall
        self.noted = 0
        # (when, seconds it took; None for a failure), oldest first.
        self._ended: deque[tuple[float, float | None]] = deque(maxlen=_MOST)

    def note(self, seconds: float | None) -> None:
        """A request has ended: after so long, or without an answer (None)."""
        if self._config.watches:
            self._ended.append((self._clock(), seconds))
            self.noted += 1

    def forget(self) -> None:
        """Begin anew, as after a pause."""
        self._ended.clear()
        self.noted += 1

    def state(self) -> Callable[[], list[tuple[float, float | None]]]:
        """As of now, for ``restore``: ``[(Unix time, seconds), …]``, spelled out when called."""
        ended, ahead = tuple(self._ended), self._wall() - self._clock()
        return lambda: [(round(at + ahead, 3), seconds) for at, seconds in ended]

    def restore(self, state: Iterable[tuple[float, float | None]]) -> None:
        """Go on from where ``state`` was told; on a clock that was set back it is late rather than
        early, and so forgotten last."""
        now, ahead = self._clock(), self._wall() - self._clock()
        self._ended.extend((min(now, at - ahead), seconds) for at, seconds in state)

    def complaint(self) -> str | None:
        """What is wrong by the rule, in words; None while nothing is, or too little is known."""
        config = self._config
        since = self._clock() - config.window
        while self._ended and self._ended[0][0] <= since:
            self._ended.popleft()
        count = len(self._ended)
        if count < config.least:
            return None
        times = sorted(seconds for _, seconds in self._ended if seconds is not None)
        failed = count - len(times)
        if config.error_share is not None and failed >= config.error_share * count:
            return f"{failed} of {count} requests in {config.window:g} s got no answer"
        if config.p95_seconds is not None and times:
            slowest = times[math.ceil(0.95 * len(times)) - 1]
            if slowest > config.p95_seconds:
                return (
                    f"95 % of {len(times)} answers in {config.window:g} s took up to"
                    f" {slowest:.2f} s, more than {config.p95_seconds:g} s"
                )
        return None
