"""Knobs of the methods that learn from the model's own graded answers."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from tunewright.config.base import StageConfig
from tunewright.config.grading import GraderSource


class RlConfig(StageConfig):
    """How answers are drawn, graded and learnt from; shared by grpo and rloo."""

    grader: GraderSource = Field(default=None, json_schema_extra={"flag": "--grader"})
    """What an answer is worth: a JSON or YAML file, or the grader itself (reinforcement.md)."""
    prompts: int = Field(default=8, ge=1, le=4096)
    """Questions per step."""
    group: int = Field(default=8, ge=2, le=256)
    """Answers drawn to each of them, which are compared with each other."""
    max_new_tokens: int = Field(default=256, ge=1, le=32768)
    """Longest answer drawn, in tokens."""
    temperature: float = Field(default=1.0, gt=0, le=2)
    """Spread of the draw; answers that are all the same teach nothing."""
    top_p: float = Field(default=1.0, gt=0, le=1)
    """Nucleus sampling; below 1 the answers are no longer drawn from what is learnt."""
    beta: float = Field(default=0.04, ge=0, le=10)
    """How firmly the model is held to what it was; 0 saves a forward pass."""
    iterations: int = Field(default=1, ge=1, le=64)
    """Updates from the same answers; more than one needs the clipping."""
    clip: float = Field(default=0.2, gt=0, lt=1)
    """How far an update may move an answer's probability ratio below 1, and above."""
    clip_high: float | None = Field(default=None, gt=0, le=10)
    """The same above 1, where it is to differ (arXiv 2503.14476 takes 0.28)."""
    eval_prompts: int = Field(default=32, ge=1, le=4096)
    """Validation questions answered greedily and graded at every validation, at most."""


class GrpoConfig(StageConfig):
    """Group relative policy optimization (Shao et al. 2024, arXiv 2402.03300)."""

    loss: Literal["dapo", "grpo", "dr_grpo"] = "dapo"
    """Mean over: all tokens (dapo, 2503.14476), each answer (grpo), max_new_tokens (dr_grpo)."""
    scale: Literal["group", "batch", "none"] = "group"
    """Rewards are divided by their standard deviation in the group, the step, or not at all."""


class RlooConfig(StageConfig):
    """REINFORCE leave-one-out (Ahmadian et al. 2024, arXiv 2402.14740)."""

    normalize: bool = False
    """Shift and scale the step's advantages to mean 0 and standard deviation 1."""
