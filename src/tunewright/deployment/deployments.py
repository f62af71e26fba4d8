"""The deployments that a server runs: kept in step with the store, looked after, switched.

Requests meet what is in memory. Twice a second the store is asked for one number, and for more
only when that has changed; so what another process changes holds here within a second or so.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from typing import Any

from tunewright.config.deployment import DeployConfig
from tunewright.config.serving import ServeConfig
from tunewright.core.deployments import (
    Signed,
    deployments_of,
    keep_experience,
    last_change,
    switch,
)
from tunewright.core.errors import ConfigError, NotFoundError, TunewrightError
from tunewright.core.records import Deployment
from tunewright.core.store import Store
from tunewright.deployment.audience import EVERYBODY, Audience
from tunewright.deployment.catalog import reference_target
from tunewright.deployment.deploy import end_canary
from tunewright.deployment.experience import Experience, experiences
from tunewright.deployment.fallbacks import Step
from tunewright.deployment.gateway import Gateway
from tunewright.deployment.live import Live, Observer
from tunewright.deployment.parity import conditions, proof_of, seek

LOOK_SECONDS = 0.5
_KEEP_EVERY = 2  # looks
HEALTH_RULE = "health rule"
CANARY_RULE = "canary rule"
_log = logging.getLogger(__name__)


class Deployments:
    """All deployments of a store. Made, used and closed inside one event loop.

    Args:
        store: where they are.
        config: of the server.
        gateway: to its models.
        observer: counts what happens.
    """

    def __init__(
        self, store: Store, config: ServeConfig, gateway: Gateway, observer: Observer
    ) -> None:
        self._store = store
        self._config = config
        self._gateway = gateway
        self._observer = observer
        self._conditions = conditions(config)
        self._live: dict[str, Live] = {}
        self._kept: dict[str, Experience] = {}
        self._marks: dict[str, tuple[int, ...]] = {}
        self._seen = -1
        self._refreshing = asyncio.Lock()
        self._probes: dict[str, _Probing] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._watch: asyncio.Task[None] | None = None
        self._failing = False

    def get(self, name: str, audience: Audience = EVERYBODY) -> Live | None:
        """The deployment of this name, if it is there for the audience."""
        live = self._live.get(name)
        return live if live is not None and live.seen_by(audience) else None

    def all(self, audience: Audience = EVERYBODY) -> Sequence[Live]:
        """Those that an audience may ask, newest first."""
        return [live for live in self._live.values() if live.seen_by(audience)]

    async def start(self) -> None:
        """Read the store, and look at it from now on."""
        self._kept = await asyncio.to_thread(experiences, self._store)
        await self.refresh()
        self._watch = asyncio.create_task(self._look())

    async def close(self) -> None:
        """Look no more, and keep what was lived through."""
        tasks = [*self._tasks, *([self._watch] if self._watch else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        try:
            await self._keep()
        except TunewrightError as error:
            _log.error("what deployments have lived through cannot be kept: %s", error)

    async def refresh(self) -> None:
        """Take over what has changed in the store.

        Raises:
            StorageError: when it cannot be read; what is known stays.
        """
        async with self._refreshing:
            seen = await asyncio.to_thread(last_change, self._store)
            if seen == self._seen:
                return
            found = await asyncio.to_thread(self._read)
            self._live = {
                record.name: self._revived(record, config, steps) for record, config, steps in found
            }
            self._seen = seen

    def _read(self) -> list[tuple[Deployment, DeployConfig, dict[str, Step]]]:
        known = {step.reference: step for live in self._live.values() for step in live.known}
        found = []
        for record in deployments_of(self._store):
            try:
                config = DeployConfig.build(record.settings)
            except ConfigError as error:
                _log.error("deployment %s cannot be read and is left out: %s", record.name, error)
                continue
            steps = {name: self._step(name, known) for name in config.references()}
            found.append((record, config, steps))
        return found

    def _step(self, reference: str, known: dict[str, Step]) -> Step:
        before = known.get(reference)
        if before is not None and before.target is not None:
            return before
        try:
            target = reference_target(self._store, self._config, reference)
        except NotFoundError as error:
            _log.warning("a deployment names %s: %s", reference, error)
            known[reference] = Step(reference, None, error.message)
        else:
            known[reference] = Step(reference, target)
        return known[reference]

    def _revived(self, record: Deployment, config: DeployConfig, steps: dict[str, Step]) -> Live:
        chain = tuple(steps[name] for name in (config.model, *config.fallback))
        canary = steps[config.canary.model] if config.canary.model else None
        live = self._live.get(record.name)
        before = self._kept.pop(record.id, None)
        if live is not None and live.record.id == record.id:
            before = live.experience
        targets = {name: step.target for name, step in steps.items()}
        proof = proof_of(record, config, targets, self._conditions)
        return Live(record, config, chain, canary, self._gateway, self._observer, before, proof)

    # Looking after them -----------------------------------------------------------------------

    async def _look(self) -> None:
        for number in itertools.count(1):
            await asyncio.sleep(LOOK_SECONDS)
            try:
                await self.refresh()
                await self._tend()
                if number % _KEEP_EVERY == 0:
                    await self._keep()
                self._failing = False
            except TunewrightError as error:
                if not self._failing:
                    _log.error("deployments cannot be looked after, and stay as known: %s", error)
                self._failing = True
            except Exception:  # noqa: BLE001 - it is told; a watch that ended would not be
                # Whatever one round meets, the next is looked at all the same.
                _log.exception("looking after deployments failed")

    async def _tend(self) -> None:
        """Engines for whoever may be asked; and what the rules say."""
        for live in list(self._live.values()):
            if live.record.on or live.record.off_by == "health":
                for step in live.steps:
                    if step.target is not None:
                        await self._gateway.readiness(step.target)
            if live.record.on:
                await self._compare(live)
                await self._judge(live)
            elif live.record.off_by == "health":
                self._probing(live)
        self._probes = {
            name: probing
            for name, probing in self._probes.items()
            if name in self._live and not self._live[name].record.on
        }

    async def _keep(self) -> None:
        """Write how those stand that were asked since the last time, in the place of how they
        stood: whenever the server is killed, nothing counts twice."""
        marks = {live.record.id: live.experience.mark for live in self._live.values()}
        new = [one for one in self._live.values() if self._news(one, marks[one.record.id])]
        if new:
            states = {live.record.id: live.experience.state() for live in new}
            await asyncio.to_thread(keep_experience, self._store, states)
        self._marks = marks

    def _news(self, live: Live, mark: tuple[int, ...]) -> bool:
        return any(mark) and self._marks.get(live.record.id) != mark

    async def _judge(self, live: Live) -> None:
        seen = live.record.revision
        if live.trial is not None and live.trial.verdict is not None:
            signed = Signed(CANARY_RULE, "canary taken back", live.trial.verdict)
            await self._write(end_canary, live.record.id, signed, seen)
            return
        complaint = live.health.complaint()
        if complaint is not None:
            live.health.forget()
            await self._flip(live, False, Signed(HEALTH_RULE, "off", complaint))

    async def _compare(self, live: Live) -> None:
        """See to it that each tuned model is compared with what was trained."""
        for reference, wanted in live.proof.open.items():
            try:
                told = await asyncio.to_thread(seek, self._store, live.record.id, reference, wanted)
            except NotFoundError:
                return  # it was deleted a moment ago
            live.proof.told[reference] = told
            if told["state"] == "failed":
                _log.error("deployment %s: %s: %s", live.name, reference, told["reason"])

    async def _flip(self, live: Live, on: bool, signed: Signed) -> None:
        _log.warning("deployment %s is switched %s: %s", live.name, signed.change, signed.reason)

        def act(store: Store, reference: str, signed: Signed, revision: int) -> None:
            switch(store, reference, on, signed, revision=revision)

        await self._write(act, live.record.id, signed, live.record.revision)

    async def _write(self, act: Any, reference: str, signed: Signed, revision: int) -> None:
        """Change a deployment, unless somebody else was quicker."""

        def change() -> None:
            with suppress(NotFoundError):
                act(self._store, reference, signed, revision=revision)

        await asyncio.to_thread(change)
        await self.refresh()

    def _probing(self, live: Live) -> None:
        """Ask a question of our own, when it is time to."""
        probing = self._probes.setdefault(live.name, _Probing())
        now = asyncio.get_running_loop().time()
        if probing.running or now < probing.next_at:
            return
        probing.running = True
        probing.next_at = now + live.config.health.probe_seconds
        self._spawn(self._probe(live, probing))

    async def _probe(self, live: Live, probing: _Probing) -> None:
        try:
            probing.answered = probing.answered + 1 if await live.probe() else 0
            if probing.answered >= live.config.health.probes:
                probing.answered = 0
                reason = f"{live.config.health.probes} questions of our own were answered"
                await self._flip(live, True, Signed(HEALTH_RULE, "on", reason))
        except TunewrightError as error:
            _log.error("deployment %s could not be switched on: %s", live.name, error)
        finally:
            probing.running = False

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


class _Probing:
    """How the questions to one deployment that is off stand."""

    def __init__(self) -> None:
        self.running = False
        self.answered = 0
        self.next_at = 0.0
