"""What a deployment has lived through: its health and its trial, across revisions and restarts."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

from tunewright.config.deployment import CanaryConfig, DeployConfig
from tunewright.core.deployments import history, kept_experience
from tunewright.core.errors import ConfigError, NotFoundError
from tunewright.core.records import Deployment
from tunewright.core.store import Store
from tunewright.deployment.canary import Trial
from tunewright.deployment.health import Health

_log = logging.getLogger(__name__)


class Experience:
    """How a deployment has fared, as far as that holds at one of its revisions.

    Args:
        record: the deployment at that revision.
        config: its settings.
        health, trial: what goes on from before; a fresh one where there is nothing.

    Attributes:
        health: its recent requests.
        trial: of its canary, where it has one.
    """

    def __init__(
        self,
        record: Deployment,
        config: DeployConfig,
        health: Health | None = None,
        trial: Trial | None = None,
    ) -> None:
        self._record, self._config = record, config
        self.health = health or Health(config.health)
        self.trial = trial or (Trial(config.canary) if config.canary.model else None)

    def at(self, record: Deployment, config: DeployConfig) -> Experience:
        """What of it holds at the next revision: a trial while model and canary stay, whatever the
        share; the recent requests while it stays on under the same rule."""
        on = self._record.on and record.on
        health = self.health if on and self._config.health == config.health else None
        same_trial = _tried(self._config) == _tried(config)
        return Experience(record, config, health, self.trial if same_trial else None)

    @property
    def mark(self) -> tuple[int, ...]:
        """Another one whenever there is something new to keep."""
        trial = self.trial
        tried = () if trial is None else (trial.model.requests, trial.canary.requests)
        return (self.health.noted, *tried)

    def state(self) -> Callable[[], dict[str, Any]]:
        """As of now, spelled out when it is called, on whatever thread."""
        ended = self.health.state()
        trial = None if self.trial is None else self.trial.state()
        revision = self._record.revision
        return lambda: {"revision": revision, "health": ended(), "trial": trial}

    @classmethod
    def of_state(
        cls, record: Deployment, config: DeployConfig, state: Mapping[str, Any]
    ) -> Experience:
        """As ``state`` told it of this revision."""
        found = cls(record, config)
        found.health.restore(state["health"])
        if found.trial is not None and state["trial"] is not None:
            found.trial.restore(state["trial"])
        return found


def _tried(config: DeployConfig) -> tuple[str, CanaryConfig]:
    whatever_share = CanaryConfig.model_fields["percent"].default
    return config.model, config.canary.model_copy(update={"percent": whatever_share})


def experiences(store: Store) -> dict[str, Experience]:
    """What is kept of each deployment, by its id, and holds at its latest revision still."""
    found: dict[str, Experience] = {}
    for deployment, state in kept_experience(store).items():
        try:
            since = [r for r in history(store, deployment) if r.revision >= state["revision"]]
            steps = [(record, DeployConfig.build(record.settings)) for record in since]
        except (NotFoundError, ConfigError) as error:
            _log.warning("what deployment %s has lived through is left out: %s", deployment, error)
            continue
        if not steps:
            continue
        experience = Experience.of_state(*steps[0], state)
        for record, config in steps[1:]:
            experience = experience.at(record, config)
        found[deployment] = experience
    return found
