"""Knobs of those who say which of two answers is better: judging models, and people."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from tunewright.config.base import StageConfig
from tunewright.config.endpoint import RequestConfig
from tunewright.config.generation import PriceConfig


class JudgeConfig(StageConfig):
    """A model that says, question by question, which of two answers is better."""

    models: tuple[str, ...] = Field(default=(), json_schema_extra={"flag": "--judge"})
    """Judge: MODEL@URL of an OpenAI-compatible endpoint, or a model here; several are compared."""
    rubric: str | None = None
    """Text file that says what makes an answer better, in place of the bundled rubric."""
    language: Literal["en", "zh"] | None = None
    """Language to talk to the judge in; that of the reference answers where nothing is said."""
    reference: bool = True
    """Show the judge the reference answer."""
    max_tokens: int = Field(default=1024, ge=16, le=32768)
    """Longest reply of a judge, in tokens; one that thinks first needs room for it."""
    key_file: str | None = None
    """File with the key of judges' endpoints; otherwise the variable TUNEWRIGHT_ENDPOINT_KEY."""
    limits: RequestConfig = RequestConfig()
    price: PriceConfig = PriceConfig()

    @model_validator(mode="after")
    def _named_once(self) -> Self:
        if len(set(self.models)) < len(self.models):
            raise ValueError("a judge is named twice")
        return self


class BlindConfig(StageConfig):
    """An evaluation's answers → a session in which people vote without knowing whose they are."""

    evaluation: str = "latest"
    """Evaluation whose answers are compared, by id or 'latest'."""
    questions: int = Field(default=50, ge=1, le=2000)
    """Questions to vote on, drawn at random from those whose two answers differ."""
    models: tuple[str, ...] = ()
    """The two to compare, the baseline first; the evaluation's first and last if not named."""
    reference: bool = True
    """Let voters look at the reference answer."""

    @model_validator(mode="after")
    def _two(self) -> Self:
        if self.models and (len(self.models) != 2 or self.models[0] == self.models[1]):
            raise ValueError("name two different models, the baseline first")
        return self
