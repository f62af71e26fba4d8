"""Knobs of ``evaluate``."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from tunewright.config.base import StageConfig
from tunewright.config.benchmarks import BenchmarksConfig
from tunewright.config.judging import JudgeConfig


class ScoringConfig(StageConfig):
    """What answers are scored by; chosen from what the rows are where nothing is said."""

    scorers: tuple[str, ...] = Field(
        default=(), json_schema_extra={"split": True, "flag": "--scorers"}
    )
    """Scorers by name, with commas between; `docs/evaluation.md` lists them."""
    metric: str | None = Field(default=None, json_schema_extra={"flag": "--metric"})
    """Scorer that the verdict rests on; exact answers, or overlap where nobody is exactly right."""
    scorer_file: str | None = Field(default=None, json_schema_extra={"flag": "--scorer-file"})
    """A scorer of your own, FILE.py:FUNCTION; the file is run as your own code."""
    json_schema: str | None = Field(default=None, json_schema_extra={"flag": "--json-schema"})
    """File with the JSON schema that answers must satisfy."""
    phrases: str | None = Field(default=None, json_schema_extra={"flag": "--phrases"})
    """YAML or JSON file of phrases that answers must say (required) or must not (forbidden)."""
    embedding: str | None = Field(default=None, json_schema_extra={"flag": "--embedding"})
    """Embedding model for likeness in meaning, MODEL@URL of an OpenAI-compatible endpoint."""
    key_file: str | None = Field(default=None, json_schema_extra={"flag": "--key-file"})
    """File with the key of endpoints; otherwise the variable TUNEWRIGHT_ENDPOINT_KEY."""


class ProbeConfig(StageConfig):
    """What is asked besides the test questions."""

    safety: bool = Field(default=True, json_schema_extra={"flag": "--safety/--no-safety"})
    """Also ask 40 questions, half of which should be refused, to see whether tuning undid that."""
    seen: int = Field(default=64, ge=0, le=10_000)
    """Training rows asked again, to tell learning from reciting."""
    safety_margin: float = Field(default=0.1, ge=0, le=1)
    """How much of the right behaviour on those 40 may be lost before the gate says no."""
    recited: float = Field(default=0.5, ge=0, le=1)
    """Share of what was gained on training wordings that must show on other wordings too."""


class EvaluateConfig(StageConfig):
    """Dataset's test split + models → Evaluation."""

    dataset: str
    """Dataset id or name whose locked test split is asked."""
    models: tuple[str, ...] = ()
    """Bases, tuned models, checkpoints (RUN@STEP), deployments, openai:MODEL@URL; also +5shot."""
    checkpoints: str | None = None
    """Run whose three best checkpoints by loss are asked the dev questions; the best is kept."""
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
    bootstrap: int = Field(default=10_000, ge=100, le=100_000)
    """Resamples behind each 95 % interval."""
    forgetting_margin: float = Field(default=0.1, ge=0, le=1)
    """Loss on the general probe that the forgetting gate must be able to rule out."""
    seed: int = Field(default=0, ge=0)
    """Of the resampling, of the training rows asked again and of few-shot examples."""
    beside: dict[str, str] = Field(default_factory=dict)
    """Other evaluations that the report shows for comparison: LABEL=ID, or LABEL=report.json."""
    scoring: ScoringConfig = ScoringConfig()
    probes: ProbeConfig = ProbeConfig()
    benchmarks: BenchmarksConfig = BenchmarksConfig()
    judge: JudgeConfig = JudgeConfig()

    @model_validator(mode="after")
    def _somebody_is_asked(self) -> Self:
        if bool(self.models) == (self.checkpoints is not None):
            raise ValueError("name models to compare, or a run whose checkpoints to choose from")
        return self
