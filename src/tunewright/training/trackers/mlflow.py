"""MLflow (https://mlflow.org/docs/latest), by its own package and the user's tracking URI."""

from __future__ import annotations

import importlib
from typing import Any

from tunewright.core.nested import flat
from tunewright.training.trackers.base import Ending, Tracked

_STATUS: dict[Ending, str] = {"succeeded": "FINISHED", "stopped": "KILLED", "failed": "FAILED"}
_TAG = "tunewright.run"
_MOST_PARAMETERS = 100  # of one request, a limit of its REST API


class MlflowRun:
    """One run there, found again by a tag when the run is resumed."""

    def __init__(self, tracked: Tracked) -> None:
        mlflow = importlib.import_module("mlflow")
        self._entities: Any = importlib.import_module("mlflow.entities")
        self._client: Any = mlflow.MlflowClient(tracking_uri=_address(mlflow, tracked))
        experiment = self._experiment(tracked.project)
        found = self._client.search_runs([experiment], f"tags.`{_TAG}` = '{tracked.run}'")
        if found:
            self._id = found[0].info.run_id
            self._client.update_run(self._id, status="RUNNING")
        else:
            tags = {_TAG: tracked.run}
            run = self._client.create_run(experiment, tags=tags, run_name=tracked.name)
            self._id = run.info.run_id
            self._parameters(tracked.config)

    def log(self, step: int, values: dict[str, float], time: float) -> None:
        """Append the numbers of a step."""
        milliseconds = int(1000 * time)
        metrics = [
            self._entities.Metric(name, value, milliseconds, step) for name, value in values.items()
        ]
        self._client.log_batch(self._id, metrics=metrics)

    def close(self, ending: Ending) -> None:
        """End the run there."""
        self._client.set_terminated(self._id, _STATUS[ending])

    def _experiment(self, name: str) -> str:
        known = self._client.get_experiment_by_name(name)
        identity = known.experiment_id if known else self._client.create_experiment(name)
        return str(identity)

    def _parameters(self, config: dict[str, Any]) -> None:
        parameters = [
            self._entities.Param(name, str(value)) for name, value in flat(config).items()
        ]
        for first in range(0, len(parameters), _MOST_PARAMETERS):
            batch = parameters[first : first + _MOST_PARAMETERS]
            self._client.log_batch(self._id, params=batch)


def _address(mlflow: Any, tracked: Tracked) -> str | None:
    """The user's tracking URI; a database in our folder when none is set or when offline."""
    if mlflow.tracking.is_tracking_uri_set() and not tracked.offline:
        return None
    tracked.folder.mkdir(parents=True, exist_ok=True)
    return f"sqlite:///{tracked.folder / 'mlflow.db'}"


def open_tracker(tracked: Tracked) -> MlflowRun:
    """A run in the experiment of the project."""
    return MlflowRun(tracked)
