"""Knobs of ``prepare``."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from tunewright.config.base import StageConfig


class SplitConfig(StageConfig):
    """How rows are divided; a group of near-equal questions never stands in two splits."""

    dev: float = Field(default=0.05, ge=0, le=0.5)
    """Share of groups held back to watch the run and choose the checkpoint."""
    test: float = Field(default=0.1, ge=0, le=0.5)
    """Share of groups locked away for evaluation; 0 when test files are named."""
    seed: int = Field(default=0, ge=0)
    """Changes which groups go where; the same seed gives the same split."""


class PrepareConfig(StageConfig):
    """Source files → Dataset."""

    files: tuple[str, ...] = Field(min_length=1)
    """Data files: CSV, TSV, JSON or JSONL, optionally several."""
    test_files: tuple[str, ...] = ()
    """Files whose rows form the test split as they are; their questions never enter training."""
    base: str = "nano"
    """Base model whose tokenizer measures the rows and whose context they must fit."""
    name: str | None = None
    """A name for the dataset; the first file's stem when not given."""
    map: dict[str, str] = Field(default_factory=dict)
    """Field → column, e.g. question=title; fields: question, answer, system, title, best, slice."""
    where: dict[str, str] = Field(default_factory=dict)
    """Keep only rows whose column has this value, e.g. is_best=1."""
    format: Literal["auto", "columns", "messages", "conversations"] = "auto"
    """How rows are read; found automatically."""
    encoding: str | None = None
    """Text encoding, e.g. gb18030; found automatically."""
    delimiter: str | None = Field(default=None, min_length=1, max_length=1)
    """Column separator; found automatically."""
    system: str | None = None
    """A system message put before every conversation that has none."""
    max_tokens: int | None = Field(default=None, ge=8)
    """Longest conversation kept, in tokens; the base's context when not given."""
    general: float = Field(default=0.0, ge=0, le=10)
    """General rows mixed into training per own row, against forgetting; 1 means as many."""
    split: SplitConfig = SplitConfig()
