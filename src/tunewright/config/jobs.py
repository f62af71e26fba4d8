"""Knobs of the jobs and batches that ``serve`` runs."""

from __future__ import annotations

from pydantic import Field

from tunewright.config.base import StageConfig


class JobsConfig(StageConfig):
    """Fine-tuning jobs: how many at once, and how they outlive what goes wrong."""

    slots: int = Field(default=1, ge=0, le=64, json_schema_extra={"flag": "--job-slots"})
    """Jobs that train at once on this machine, over all servers of its home; 0 starts none."""
    lease: float = Field(default=30.0, ge=0.5, le=3600)
    """Seconds of silence after which a job is taken from its worker and given to another."""
    attempts: int = Field(default=3, ge=1, le=1000)
    """Times a job may break off without getting further before it is given up."""
    pause: float = Field(default=5.0, ge=0, le=300)
    """Seconds before a job that broke off is tried again; doubled for each time more."""


class BatchesConfig(StageConfig):
    """Batches: requests in a file that are answered when there is time."""

    at_once: int = Field(default=8, ge=1, le=256)
    """Their requests under way at once while nobody else asks; fewer when somebody does."""
