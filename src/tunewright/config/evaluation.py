"""Knobs of ``evaluate``."""

from __future__ import annotations

from pydantic import Field

from tunewright.config.base import StageConfig


class EvaluateConfig(StageConfig):
    """Dataset's test split + models → Evaluation."""

    dataset: str
    """Dataset id or name whose locked test split is asked."""
    models: tuple[str, ...] = Field(min_length=1)
    """Bases, tuned models or run checkpoints (RUN@STEP); the first is compared against."""
    general: bool = True
    """Also ask the general probe, to see what was forgotten."""
    limit: int | None = Field(default=None, ge=1)
    """Ask only the first n test rows (evenly over the slices)."""
    constrained: bool = True
    """Hold answers to the dataset's labels, where every row of it is a text with its label."""
    max_new_tokens: int = Field(default=128, ge=1, le=8192)
    """Longest answer, in tokens."""
    batch_size: int = Field(default=64, ge=1, le=4096)
    """Questions answered at once."""
    bootstrap: int = Field(default=2000, ge=100, le=100_000)
    """Resamples behind each 95 % interval."""
    forgetting_margin: float = Field(default=0.05, ge=0, le=1)
    """How much of the general probe may be lost before the gate says no."""
    seed: int = Field(default=0, ge=0)
    """Of the resampling."""
    beside: dict[str, str] = Field(default_factory=dict)
    """Other evaluations that the report shows for comparison: LABEL=ID, or LABEL=report.json."""
