"""Knobs of ``deploy``: what answers under a public name, and what happens when it cannot."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from tunewright.config.base import StageConfig
from tunewright.config.serving import LimitsConfig

UPSTREAM = "upstream:"
"""How a reference to a configured server begins; its name follows, and maybe ``/MODEL``."""


class AnswerConfig(StageConfig):
    """A fixed answer, by the language of the question; one of the two stands for both."""

    zh: str | None = Field(default=None, min_length=1, max_length=4000)
    """To questions that hold Chinese characters."""
    en: str | None = Field(default=None, min_length=1, max_length=4000)
    """To all others."""

    def text(self, chinese: bool) -> str | None:
        """The answer in this language, or in the other where only that is given."""
        return (self.zh or self.en) if chinese else (self.en or self.zh)


class HealthConfig(StageConfig):
    """When a deployment is switched off by itself, and on again."""

    error_share: float | None = Field(default=None, gt=0, le=1)
    """Share of requests that no model could answer, from which on it is switched off."""
    p95_seconds: float | None = Field(default=None, gt=0)
    """Seconds until the first text of a stream, or a whole answer, that 95 % must keep to."""
    window: float = Field(default=60.0, ge=1, le=3600)
    """Seconds that are looked back over."""
    least: int = Field(default=20, ge=1, le=100_000)
    """Requests within the window below which nothing is decided."""
    probe_seconds: float = Field(default=10.0, ge=0.1, le=3600)
    """While it is off by this rule: seconds between two questions of our own."""
    probes: int = Field(default=2, ge=1, le=100)
    """Answers to those, one after the other, that switch it on again."""

    @property
    def watches(self) -> bool:
        """Whether there is a rule at all."""
        return self.error_share is not None or self.p95_seconds is not None


class CanaryConfig(StageConfig):
    """A second model for some of the requests."""

    model: str | None = None
    """The model; none is tried where none is named."""
    percent: float = Field(default=10.0, gt=0, lt=100)
    """Share of the requests that it gets, in percent."""
    level: float = Field(default=0.05, gt=0, lt=1)
    """Chance of taking back a canary that fails no more often than the model."""
    least: int = Field(default=20, ge=1, le=100_000)
    """Requests to the canary before it is judged for the first time."""


class DeployConfig(StageConfig):
    """One deployment."""

    model: str = Field(min_length=1, max_length=512)
    """Who answers: a base, a tuned model, or upstream:NAME (also upstream:NAME/MODEL)."""
    fallback: tuple[str, ...] = Field(default=(), max_length=8, json_schema_extra={"split": True})
    """Who answers when that cannot, in this order; named like the model, with commas between."""
    system: str | None = Field(default=None, min_length=1, max_length=32_000)
    """System prompt, before the one that a request brings."""
    temperature: float | None = Field(default=None, ge=0, le=2)
    """For requests that name none."""
    top_p: float | None = Field(default=None, gt=0, le=1)
    """For requests that name none."""
    max_tokens: int | None = Field(default=None, ge=1, le=32768)
    """For requests that name none."""
    when_off: Literal["answer", "error"] = "answer"
    """While switched off: the fixed answer, where there is one, or an error (503)."""
    first_token_seconds: float = Field(default=30.0, gt=0, le=3600)
    """How long a stream's first text is waited for before the next in the chain is asked."""
    answer_seconds: float = Field(default=60.0, gt=0, le=3600)
    """How long a whole answer is waited for before the next in the chain is asked."""
    parity: Literal["check", "require", "off"] = "check"
    """Compare tuned models, as served, with what was trained; require: before they answer."""
    project: str | None = Field(default=None, min_length=1, max_length=64)
    """Who may ask it; everybody where no project is named."""
    answer: AnswerConfig = AnswerConfig()
    """A text that ends the chain, and that stands for the model while it is off."""
    limits: LimitsConfig = LimitsConfig()
    """What all its clients together may ask for."""
    health: HealthConfig = HealthConfig()
    """When it switches itself off and on."""
    canary: CanaryConfig = CanaryConfig()
    """A model that is tried on some of the requests."""

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        chain = [self.model, *self.fallback]
        if twice := {one for one in chain if chain.count(one) > 1}:
            raise ValueError(f"{min(twice)!r} is in the chain twice")
        if self.canary.model == self.model:
            raise ValueError(f"{self.model!r} cannot be its own canary")
        return self

    def references(self) -> tuple[str, ...]:
        """Everything that may answer."""
        canary = [self.canary.model] if self.canary.model else []
        return tuple(dict.fromkeys((self.model, *canary, *self.fallback)))
