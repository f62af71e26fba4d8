"""When a deployment is to be hidden: its recent failures and times against its rule."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable

from tunewright.config.deployment import HealthConfig

_MOST = 5_000


class Health:
    """The requests of the last while.

    Args:
        config: the rule.
        clock: seconds that never go back.
    """

    def __init__(self, config: HealthConfig, clock: Callable[[], float] = time.monotonic) -> None:
        self._config = config
        self._clock = clock
        # (when, seconds it took; None for a failure), oldest first.
        self._ended: deque[tuple[float, float | None]] = deque(maxlen=_MOST)

    def note(self, seconds: float | None) -> None:
        """A request has ended: after so long, or without an answer (None)."""
        if self._config.watches:
            self._ended.append((self._clock(), seconds))

    def forget(self) -> None:
        """Begin anew, as after a pause."""
        self._ended.clear()

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
