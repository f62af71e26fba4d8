"""Knobs of ``advise``."""

from __future__ import annotations

from pydantic import Field

from tunewright.config.base import StageConfig
from tunewright.config.training import MethodName, TunerName


class AdviseConfig(StageConfig):
    """Dataset + base → what to do, with which recipe, at what cost."""

    dataset: str = "latest"
    """Dataset id or name; 'latest' is the newest."""
    base: str = "nano"
    """Base: nano, a local folder, a Hugging Face id or modelscope:ID; only its config is read."""
    method: MethodName | None = None
    """Training method; the one that the rows are made for when not given."""
    tuner: TunerName | None = None
    """What would be trained; LoRA, or everything where that is better and fits, when not given."""
    memory: float | None = Field(default=None, gt=0, le=10_000)
    """Plan for a GPU with so many GB instead of for this machine."""
