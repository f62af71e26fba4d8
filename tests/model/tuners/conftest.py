"""Tiny loaded models and what tests of tuners do with them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tunewright.config.training import TrainConfig
from tunewright.core.settings import Settings
from tunewright.model.catalog import Base, resolve_base
from tunewright.model.loading import load_model

Load = Callable[..., Any]
"""Loads the tiny base, or another folder, in float32 or another type."""
Recipe = Callable[..., TrainConfig]


@pytest.fixture
def base(tiny_base: Path, tmp_path: Path) -> Base:
    """The tiny base."""
    return resolve_base(str(tiny_base), Settings(home=tmp_path / "none", offline=True))


@pytest.fixture
def load(base: Base, tmp_path: Path) -> Load:
    """Loads a tiny model afresh."""

    def loaded(folder: Path | None = None, dtype: torch.dtype = torch.float32) -> Any:
        settings = Settings(home=tmp_path / "none", offline=True)
        chosen = base if folder is None else resolve_base(str(folder), settings)
        return load_model(chosen, torch.device("cpu"), dtype)

    return loaded


@pytest.fixture
def recipe() -> Recipe:
    """A recipe of which only the tuner's part counts."""

    def build(**values: Any) -> TrainConfig:
        return TrainConfig.build({"dataset": "none", "lora": {"rank": 4}, **values})

    return build
