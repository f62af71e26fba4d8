"""The one place that reads or sets the environment."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

_TRUE = {"1", "true", "yes", "on"}


@dataclass(frozen=True)
class Settings:
    """What the surroundings decide: the home folder, offline mode, hub endpoints and tokens.

    A plain dataclass: the command line imports this module before it knows what to run.
    """

    home: Path
    offline: bool = False
    huggingface_endpoint: str = "https://huggingface.co"
    huggingface_token: str | None = None
    modelscope_endpoint: str = "https://www.modelscope.cn"
    endpoint_key: str | None = field(default=None, repr=False)
    openai_key: str | None = field(default=None, repr=False)
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
        endpoint_key=env.get("TUNEWRIGHT_ENDPOINT_KEY") or None,
        openai_key=env.get("OPENAI_API_KEY") or None,
        organization=env.get("TUNEWRIGHT_ORGANIZATION") or "local",
        language="zh" if locale.lower().startswith("zh") else "en",
    )


def answering_precision() -> str:
    """Arithmetic in which models answer: ``auto``, or what TUNEWRIGHT_PRECISION says.

    In bfloat16, which ``auto`` takes where the machine has it, the last bits of a logit depend on
    what else is in the batch, so a drawn answer may differ; float32 makes draws repeatable.
    """
    return os.environ.get("TUNEWRIGHT_PRECISION") or "auto"


def secret_from_environment(name: str) -> str | None:
    """What an environment variable that a config names holds; None for nothing."""
    return os.environ.get(name, "").strip() or None


def set_process_defaults() -> None:
    """Defaults that libraries read from the environment when they are first imported.

    Call before torch is imported; what the user has set stays.
    """
    # Waiting OpenMP threads spin briefly, then sleep: never sleeping starves a shared machine
    # (steps five times slower), sleeping at once halves the speed of small models on a free one.
    os.environ.setdefault("GOMP_SPINCOUNT", "20000")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
