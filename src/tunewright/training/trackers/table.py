"""The trackers by name; a new one is one entry here and one file beside it."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Iterable

from tunewright.core.errors import ConfigError
from tunewright.training.trackers.base import Tracked, Tracker

PACKAGES: dict[str, str | None] = {
    "tensorboard": None,
    "wandb": "wandb",
    "mlflow": "mlflow",
    "swanlab": "swanlab",
    "trackio": "trackio",
}
"""Tracker → the package it needs; None needs none. Its module here bears the tracker's name."""


def require_packages(names: Iterable[str]) -> None:
    """Refuse trackers whose packages are missing, before anything is loaded.

    Raises:
        ConfigError: naming the package and how to install it.
    """
    for name in names:
        package = PACKAGES[name]
        if package is not None and importlib.util.find_spec(package) is None:
            raise ConfigError(
                f"option 'trackers': {name} needs the package {package}, which is not installed",
                f"Install it with: python -m pip install {package}",
            )


def open_tracker(name: str, tracked: Tracked) -> Tracker:
    """Open a tracker; its package is imported now, so it may raise whatever that raises."""
    module = importlib.import_module(f"tunewright.training.trackers.{name}")
    tracker: Tracker = module.open_tracker(tracked)
    return tracker
