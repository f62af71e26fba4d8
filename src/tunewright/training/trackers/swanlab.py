"""SwanLab (https://docs.swanlab.cn), by its own package and the user's login."""

from __future__ import annotations

import importlib
import inspect
from typing import Any

from tunewright.core.nested import flat
from tunewright.training.trackers.base import Ending, Tracked

_STATE: dict[Ending, str] = {"succeeded": "success", "stopped": "aborted", "failed": "crashed"}


class SwanlabRun:
    """One experiment there. Offline it is kept in the folder, for ``swanlab sync``."""

    def __init__(self, tracked: Tracked) -> None:
        swanlab = importlib.import_module("swanlab")
        tracked.folder.mkdir(parents=True, exist_ok=True)
        options: dict[str, Any] = {
            "project": tracked.project,
            "id": tracked.run,
            "config": flat(tracked.config),
            "mode": "offline" if tracked.offline else None,
            "resume": None if tracked.offline else "allow",
            **_named(swanlab.init, tracked),
        }
        self._run: Any = swanlab.init(**options)
        self._finish = swanlab.finish

    def log(self, step: int, values: dict[str, float], time: float) -> None:
        """Append the numbers of a step."""
        self._run.log(values, step=step)

    def close(self, ending: Ending) -> None:
        """End the experiment there."""
        self._finish(state=_STATE[ending])


def _named(init: Any, tracked: Tracked) -> dict[str, str]:
    """Name and folder under the names of its version; releases before 0.8 had longer ones."""
    known = inspect.signature(init).parameters
    name = "name" if "name" in known else "experiment_name"
    folder = "log_dir" if "log_dir" in known else "logdir"
    return {name: tracked.name, folder: str(tracked.folder)}


def open_tracker(tracked: Tracked) -> SwanlabRun:
    """An experiment under the run's own id."""
    return SwanlabRun(tracked)
