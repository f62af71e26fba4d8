"""The server's books: limits, usage, metrics and the log of requests, and how they are kept.

Requests only add up in memory; twice a second what has come together goes to the database in one
transaction, and once more when the server ends.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress

from tunewright.api.draining import UnderWay
from tunewright.api.limits import Limits
from tunewright.api.metering import Meter
from tunewright.api.metrics import LIMITS, OTHER, Metrics
from tunewright.config.serving import ServeConfig
from tunewright.core.api_keys import note_use
from tunewright.core.errors import TunewrightError
from tunewright.core.logs import note
from tunewright.core.store import Store
from tunewright.core.usage import (
    Account,
    Second,
    Sums,
    add_usage,
    load_minutes,
    save_minutes,
    this_hour,
)
from tunewright.deployment.upstream import EngineState

UNMATCHED = "unmatched"
"""In logs and metrics, in the place of a path that no route has."""

_FLUSH_SECONDS = 0.5
_LAST_USED_SECONDS = 60.0
_log = logging.getLogger(__name__)


class Books:
    """What the server remembers of requests.

    Args:
        store: where it is written.
        config: limits, and whether prompts may be logged.
        engines: tells how the engines stand.
    """

    def __init__(
        self, store: Store, config: ServeConfig, engines: Callable[[], Sequence[EngineState]]
    ) -> None:
        self.store = store
        self._prompts = config.log_prompts
        self.metrics = Metrics(engines)
        self.limits = Limits(config.limits, load_minutes(store))
        self.under_way = UnderWay()
        self._open: set[Meter] = set()
        self._pending: dict[Account, Sums] = {}
        self._uses: dict[str, float] = {}
        self._noted: dict[str, float] = {}
        self._changes: dict[str, int] = {}
        self._failing = False

    @property
    def in_hand(self) -> int:
        """Requests that have not ended."""
        return len(self._open)

    def begin(self) -> Meter:
        """A request has come."""
        meter = Meter(self.metrics, self._prompts)
        self._open.add(meter)
        self.metrics.in_flight.set(len(self._open))
        return meter

    def end(self, meter: Meter, method: str, route: str) -> None:
        """A request has ended, however it did."""
        self._open.discard(meter)
        meter.leave()
        self._bill(meter, Sums(requests=1, errors=int(meter.failed)))
        self._measure(meter, route)
        caller = meter.caller
        note(
            "request",
            {
                "id": meter.id,
                "key": caller.key if caller else None,
                "project": caller.project if caller else None,
                "method": method,
                "route": route,
                "model": meter.model or None,
                "served_by": meter.served_by,
                "status": meter.status,
                "code": meter.code,
                "seconds": round(time.perf_counter() - meter.started, 4),
                "first_token_seconds": meter.first_token and round(meter.first_token, 4),
                "prompt_tokens": meter.prompt_tokens or None,
                "completion_tokens": meter.completion_tokens or None,
                "prompt": meter.prompt,
            },
        )

    def _bill(self, meter: Meter, ended: Sums) -> None:
        if meter.caller is None or meter.caller.own:
            return
        key = meter.caller.key or ""
        sums = meter.unbilled()
        sums.add(ended)
        if sums != Sums():
            account = Account(this_hour(), key, meter.model)
            self._pending.setdefault(account, Sums()).add(sums)
        if key:
            self._uses[key] = time.time()

    def _measure(self, meter: Meter, route: str) -> None:
        metrics = self.metrics
        model = metrics.model(meter.model)
        metrics.in_flight.set(len(self._open))
        if meter.caller is not None and meter.caller.own:
            return
        metrics.requests.labels(route, str(meter.status), model).inc()
        metrics.seconds.labels(route).observe(time.perf_counter() - meter.started)
        if meter.failed:
            metrics.errors.labels(route, _kind(meter)).inc()
        if meter.exhausted is not None:
            limit = meter.exhausted if meter.exhausted in LIMITS else OTHER
            metrics.rate_limited.labels(limit).inc()
        if meter.prompt_tokens:
            metrics.tokens.labels("prompt", model).inc(meter.prompt_tokens)
            metrics.tokens.labels("completion", model).inc(meter.completion_tokens)
        if meter.first_token is not None:
            metrics.first_token.labels(model).observe(meter.first_token)

    # Writing ------------------------------------------------------------------------------------

    @asynccontextmanager
    async def kept(self) -> AsyncIterator[None]:
        """Write regularly while the block runs, and everything at its end."""
        over = asyncio.Event()
        writer = asyncio.create_task(self._write_until(over))
        try:
            yield
        finally:
            over.set()
            await writer

    async def _write_until(self, over: asyncio.Event) -> None:
        while not over.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(over.wait(), _FLUSH_SECONDS)
            await self.flush()

    async def flush(self) -> None:
        """Write what has come together; what cannot be written stays for the next time."""
        for meter in self._open:
            self._bill(meter, Sums())
        usage, self._pending = self._pending, {}
        uses = {k: at for k, at in self._uses.items() if at >= self._next_use(k)}
        changes = {k: n for k, n in self.limits.changes().items() if self._changes.get(k) != n}
        minutes = self.limits.minutes(changes)
        if not (usage or uses or minutes):
            return
        try:
            await asyncio.to_thread(self._write, usage, uses, minutes)
        except TunewrightError as error:
            for account, sums in usage.items():
                self._pending.setdefault(account, Sums()).add(sums)
            if not self._failing:
                _log.error("usage cannot be written, and is kept until it can: %s", error)
            self._failing = True
            return
        self._failing = False
        self._noted |= uses
        self._uses = {k: at for k, at in self._uses.items() if at > self._noted.get(k, 0.0)}
        self._changes |= changes

    def _next_use(self, key: str) -> float:
        """From when on a use of a key is worth writing down."""
        return self._noted.get(key, -_LAST_USED_SECONDS) + _LAST_USED_SECONDS

    def _write(
        self,
        usage: Mapping[Account, Sums],
        uses: Mapping[str, float],
        minutes: Mapping[str, Sequence[Second]],
    ) -> None:
        with self.store.transaction():
            add_usage(self.store, usage)
            note_use(self.store, uses)
            save_minutes(self.store, minutes)


def _kind(meter: Meter) -> str:
    if meter.broken:
        return "stream"
    return "server" if meter.status >= 500 else "client"
