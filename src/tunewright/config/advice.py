"""Knobs of ``advise``."""

from __future__ import annotations

from pydantic import Field

from tunewright.config.base import StageConfig
from tunewright.config.training import MethodName, TunerName


class AskConfig(StageConfig):
    """How the base is asked what it knows already."""

    questions: int = Field(default=40, ge=10, le=2000)
    """Training questions that are asked, drawn by the seed."""
    samples: int = Field(default=4, ge=1, le=32)
    """Times that each is asked at the temperature, besides once without."""
    temperature: float = Field(default=0.7, gt=0, le=2)
    """Spread of those draws."""
    examples: int = Field(default=3, ge=0, le=16)
    """Rows shown before each question to see whether a prompt alone would do; 0 leaves that out."""
    max_new_tokens: int = Field(default=128, ge=1, le=8192)
    """Longest answer, in tokens."""
    batch_size: int = Field(default=16, ge=1, le=4096)
    """Questions answered at once."""
    seed: int = Field(default=0, ge=0)
    """Of the questions, the examples and the draws."""


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
    probe: bool = False
    """Measure first: load the base and ask it some training questions, without showing answers."""
    ask: AskConfig = AskConfig()
