"""One small random ChatGLM3 for all of these tests."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.model.chatglm3.files import write_folder
from torch import Tensor

from tunewright.core.settings import Settings
from tunewright.model.catalog import Base, resolve_base


@dataclass(frozen=True)
class Original:
    """A folder in ChatGLM3's own form, its weights, and the base that it becomes."""

    folder: Path
    tensors: dict[str, Tensor]
    base: Base


@pytest.fixture(scope="session")
def chatglm3(tmp_path_factory: pytest.TempPathFactory) -> Original:
    """Safetensors on disk, resolved once."""
    root = tmp_path_factory.mktemp("chatglm3")
    tensors = write_folder(root / "chatglm3-tiny")
    settings = Settings(home=root / "home", offline=True)
    base = resolve_base(str(root / "chatglm3-tiny"), settings)
    return Original(root / "chatglm3-tiny", tensors, base)
