"""Knobs of ``serve`` and of generation."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from tunewright.config.base import StageConfig
from tunewright.config.jobs import JobsConfig

MOST_CHOICES = 1000
"""Choices that an answer can be held to."""


class GenerationConfig(StageConfig):
    """How an answer is drawn; temperature 0 takes the likeliest token every time."""

    max_new_tokens: int = Field(default=256, ge=1, le=32768)
    """Longest answer, in tokens."""
    temperature: float = Field(default=0.0, ge=0, le=2)
    """Spread of the draw; 0 is greedy."""
    top_p: float = Field(default=1.0, gt=0, le=1)
    """Nucleus sampling: draw from the likeliest tokens that hold this share."""
    seed: int | None = Field(default=None, ge=0)
    """Makes a draw repeatable."""
    stop: tuple[str, ...] = Field(default=(), max_length=4)
    """Texts that end the answer; they are not part of it."""
    choices: tuple[str, ...] = Field(
        default=(), max_length=MOST_CHOICES, json_schema_extra={"split": True}
    )
    """The answer is one of these texts, whole whatever max_new_tokens says: a,b,c."""

    @model_validator(mode="after")
    def _choices_stand(self) -> Self:
        if self.choices and self.stop:
            raise ValueError("choices and stop exclude each other; give one of them")
        if not all(text.strip() for text in self.choices):
            raise ValueError("a choice cannot be empty")
        if twice := {text for text in self.choices if self.choices.count(text) > 1}:
            raise ValueError(f"choices: {min(twice)!r} is named twice")
        return self


class ServeConfig(StageConfig):
    """The HTTP server."""

    host: str = "127.0.0.1"
    """Address to listen on; the default is reachable from this machine only."""
    port: int = Field(default=8000, ge=0, le=65535)
    """Port; 0 picks a free one."""
    queue: int = Field(default=64, ge=1)
    """Requests one engine may hold, waiting or running, before new ones get 429."""
    timeout: float = Field(default=120.0, gt=0)
    """Seconds one request may take."""
    device: str = Field(default="auto", pattern="^(auto|cpu|cuda)$")
    """Where engines run."""
    bases: tuple[str, ...] = ()
    """More bases to serve as they are, besides nano and those of tuned models."""
    jobs: JobsConfig = JobsConfig()
    api_key_file: str | None = None
    """File with one API key per line; needed to listen beyond this machine."""
