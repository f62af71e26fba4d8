"""One base's engine kept alive: started on first use, and again, ever later, after a death."""

from __future__ import annotations

import asyncio
import logging
import math
from collections import Counter, OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal, Protocol

from tunewright.core.errors import ServingError
from tunewright.deployment.catalog import Target
from tunewright.deployment.channel import Channel, ChannelError
from tunewright.deployment.replies import RequestError

MAX_ADAPTERS = 64
_LONGEST_PAUSE = 60.0
_STEADY_SECONDS = 60.0
# What kept an engine from starting is not gone at once, as what killed a running one may be.
_PAUSE_AFTER_START = 5.0
_log = logging.getLogger(__name__)

Readiness = Literal["ready", "starting", "failing"]
"""Whether an engine can be asked now, soon, or nobody knows when."""


def pause_after(failures: int) -> float:
    """Seconds to wait before the next start: 0, 1, 3, 7, … up to a minute."""
    return min(_LONGEST_PAUSE, 2.0 ** min(failures - 1, 10) - 1)


@dataclass
class _Life:
    """One engine from its start to its death, with the adapters it has been given."""

    engine: Engine
    since: float
    adapters: OrderedDict[str, None] = field(default_factory=OrderedDict)


@dataclass(frozen=True)
class EngineState:
    """How an engine stands.

    Attributes:
        base: as it is called in public.
        up: whether its process runs.
        failing: it did not start, or died, and is not to be tried again yet.
        held: requests that wait or run.
        starts: how often it was started.
        kv_blocks: blocks of its key-value cache by their state, when it was last looked at.
    """

    base: str
    up: bool
    failing: bool
    held: int
    starts: int
    kv_blocks: Mapping[str, int] = field(default_factory=dict)


class Engine(Protocol):
    """Whatever answers for a base: a process of ours, or a server of somebody else's."""

    @property
    def channel(self) -> Channel:
        """To where it listens."""
        ...

    @property
    def counts_on_the_way(self) -> bool:
        """Whether its streams can carry token counts with every chunk."""
        ...

    @property
    def holds_adapters(self) -> bool:
        """Whether it takes adapters while it runs."""
        ...

    @property
    def base_digest(self) -> str | None:
        """Of the base that it holds, if it tells."""
        ...

    @property
    def renderer_hash(self) -> str | None:
        """Of the base's renderer, if it tells."""
        ...

    @property
    def alive(self) -> bool:
        """Whether it still runs, as far as is known."""
        ...

    @property
    def ending(self) -> str:
        """How it ended, for logs."""
        ...

    async def dead(self, seconds: float = 1.0) -> bool:
        """Whether it is gone; a connection breaks a moment before that is known."""
        ...

    async def kv_blocks(self) -> dict[str, int]:
        """Blocks of its key-value cache by their state, if it tells."""
        ...

    async def stop(self) -> None:
        """Let it go."""
        ...


class Order(Protocol):
    """How an engine is come by."""

    @property
    def name(self) -> str:
        """How its base is called in public."""
        ...

    @property
    def base(self) -> str:
        """How its base is called in logs."""
        ...

    async def start(self) -> Engine:
        """A running engine.

        Raises:
            ServingError: there is none.
        """
        ...


class Upstream:
    """The gateway's view of one base.

    Args:
        order: how its engine is started.
        limit: requests it may hold, waiting or running.
    """

    def __init__(self, order: Order, limit: int) -> None:
        self._order = order
        self._limit = limit
        self._life: _Life | None = None
        self._starting: asyncio.Task[_Life | None] | None = None
        self._suspect = False
        self._reason = ""
        self._failures = 0
        self._starts = 0
        self._kv_blocks: Mapping[str, int] = {}
        self._not_before = 0.0
        self._in_use: Counter[str] = Counter()
        self._loading = asyncio.Lock()

    @contextmanager
    def slot(self, target: Target) -> Iterator[None]:
        """Hold one of the limited places while a request waits or runs.

        Raises:
            RequestError: 429 when all are taken.
        """
        if self._in_use.total() >= self._limit:
            raise RequestError(
                429,
                f"{target.name!r} already has {self._limit} requests waiting or running",
                code="queue_full",
                retry_after=1,
            )
        self._in_use[target.id] += 1
        try:
            yield
        except Exception as error:
            self.note(error)
            raise
        finally:
            self._in_use[target.id] -= 1

    def note(self, error: Exception) -> None:
        """Remember a broken connection: its engine is to be looked at before it is used again."""
        self._suspect = self._suspect or isinstance(error, ChannelError)

    @property
    def held(self) -> int:
        """Requests that wait or run."""
        return self._in_use.total()

    @property
    def state(self) -> EngineState:
        """How its engine stands."""
        up = self._life is not None and self._life.engine.alive
        failing = not up and self._not_before > _now()
        blocks = self._kv_blocks if up else {}
        return EngineState(self._order.name, up, failing, self.held, self._starts, blocks)

    async def look(self) -> None:
        """See how full the engine's cache is, for its state."""
        if self._life is not None and self._life.engine.alive:
            self._kv_blocks = await self._life.engine.kv_blocks()

    async def readiness(self) -> Readiness:
        """How the engine stands; where none runs, one is started, once that may be tried."""
        if await self._lives() is not None:
            return "ready"
        if self._starting is None:
            self._bury()
            if self._not_before > _now():
                return "failing"
            self._starting = asyncio.create_task(self._start())
            # A server that runs already is there at once.
            await asyncio.sleep(0)
            if self._life is not None:
                return "ready"
        return "failing" if self._failures else "starting"

    async def prepare(self, target: Target) -> Engine:
        """A live engine that knows ``target``; starts and loads what is missing.

        Raises:
            RequestError: 503 when the engine cannot be started or will not take the adapter.
        """
        life = await self._alive()
        _check_match(life.engine, target)
        if target.adapter is not None:
            if not life.engine.holds_adapters:
                raise RequestError(
                    503,
                    f"{target.name!r} is an adapter, and the server of its base takes none",
                    code="adapter_unavailable",
                )
            async with self._loading:
                await self._load(life, target)
        return life.engine

    async def close(self) -> None:
        """Stop the engine."""
        if self._starting is not None:
            self._starting.cancel()
            await asyncio.gather(self._starting, return_exceptions=True)
        if self._life is not None:
            await self._life.engine.stop()

    # Life and death --------------------------------------------------------------------------

    async def _lives(self) -> _Life | None:
        if self._life is not None and self._suspect:
            self._suspect = False
            await self._life.engine.dead()
        return self._life if self._life is not None and self._life.engine.alive else None

    async def _alive(self) -> _Life:
        living = await self._lives()
        if living is not None:
            return living
        if self._starting is None:
            self._bury()
            wait = self._not_before - _now()
            if wait > 0:
                raise self._unavailable(math.ceil(wait))
            self._starting = asyncio.create_task(self._start())
        # Shielded: a client that gives up must not stop the start that others wait for.
        life = await asyncio.shield(self._starting)
        if life is None:
            raise self._unavailable(max(1, math.ceil(self._not_before - _now())))
        return life

    async def _start(self) -> _Life | None:
        try:
            self._starts += 1
            self._life = _Life(await self._order.start(), _now())
        except ServingError as error:
            self._fail("could not start", str(error), least=_PAUSE_AFTER_START)
            return None
        finally:
            self._starting = None
        return self._life

    def _bury(self) -> None:
        """Note an engine's death, once."""
        if self._life is None:
            return
        life, self._life = self._life, None
        if _now() - life.since > _STEADY_SECONDS:
            self._failures = 0
        self._fail("stopped", life.engine.ending)

    def _fail(self, what: str, why: str, least: float = 0.0) -> None:
        """Clients are told what happened; why may name folders, so it is for the log only."""
        self._reason = f"the engine of {self._order.name!r} {what}; the server's log says why"
        _log.error("the engine of base %s %s: %s", self._order.base, what, why)
        self._failures += 1
        self._not_before = _now() + max(least, pause_after(self._failures))

    def _unavailable(self, seconds: int) -> RequestError:
        return RequestError(503, self._reason, code="engine_unavailable", retry_after=seconds)

    # Adapters --------------------------------------------------------------------------------

    async def _load(self, life: _Life, target: Target) -> None:
        if target.id in life.adapters:
            life.adapters.move_to_end(target.id)
            return
        idle = [name for name in life.adapters if not self._in_use[name]]
        if len(life.adapters) >= MAX_ADAPTERS and idle:
            await self._tell(life.engine, "unload_lora_adapter", {"lora_name": idle[0]})
            del life.adapters[idle[0]]
        order = {"lora_name": target.id, "lora_path": str(target.adapter)}
        await self._tell(life.engine, "load_lora_adapter", order)
        life.adapters[target.id] = None

    async def _tell(self, engine: Engine, what: str, order: dict[str, str]) -> None:
        async with await engine.channel.post(f"/{what}", order) as reply:
            told = await reply.whole()
        # Who runs longer than we do may know the adapter already.
        if reply.status != 200 and b"already been loaded" not in told:
            why = told[:500].decode("utf-8", "replace")
            _log.error("the engine of base %s refused %s: %s", self._order.base, order, why)
            raise RequestError(
                503,
                f"the adapter {order['lora_name']} could not be loaded; the server's log says why",
                code="adapter_unavailable",
            )


def _check_match(engine: Engine, target: Target) -> None:
    """Refuse a tuned model on a base, or behind a renderer, that it was not trained with."""
    model = target.model
    if model is None:
        return
    for what, trained, found in (
        ("base", model.base_digest, engine.base_digest),
        ("renderer", model.renderer_hash, engine.renderer_hash),
    ):
        if found is not None and trained != found:
            raise RequestError(
                503,
                f"{target.name!r} was trained with another {what} than its base has now"
                f" ({trained[:12]} then, {found[:12]} now); it would answer wrongly",
                code="model_mismatch",
            )


def _now() -> float:
    return asyncio.get_running_loop().time()
