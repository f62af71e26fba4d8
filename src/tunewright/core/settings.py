"""The one place that reads the environment."""

from __future__ import annotations

import os
from pathlib import Path

from pydantic import BaseModel, ConfigDict

_TRUE = {"1", "true", "yes", "on"}


class Settings(BaseModel):
    """What the surroundings decide: the home folder, offline mode, hub endpoints and tokens."""

    model_config = ConfigDict(frozen=True)

    home: Path
    offline: bool = False
    huggingface_endpoint: str = "https://huggingface.co"
    huggingface_token: str | None = None
    modelscope_endpoint: str = "https://www.modelscope.cn"
    organization: str = "local"
    language: str = "en"


def read_settings(home: Path | None = None) -> Settings:
    """Settings from the environment; ``home`` given by the caller wins over TUNEWRIGHT_HOME."""
    env = os.environ
    chosen = home or Path(env.get("TUNEWRIGHT_HOME") or Path.home() / ".tunewright")
    locale = env.get("LC_ALL") or env.get("LC_MESSAGES") or env.get("LANG") or ""
    return Settings(
        home=chosen.expanduser().absolute(),
        offline=env.get("HF_HUB_OFFLINE", "").lower() in _TRUE,
        huggingface_endpoint=env.get("HF_ENDPOINT") or "https://huggingface.co",
        huggingface_token=env.get("HF_TOKEN") or None,
        modelscope_endpoint=env.get("MODELSCOPE_ENDPOINT") or "https://www.modelscope.cn",
        organization=env.get("TUNEWRIGHT_ORGANIZATION") or "local",
        language="zh" if locale.lower().startswith("zh") else "en",
    )
