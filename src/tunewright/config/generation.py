"""Knobs of ``generate``: making rows from documents, attributes or questions."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from tunewright.config.base import StageConfig
from tunewright.config.endpoint import EndpointConfig, RequestConfig
from tunewright.core.messages import Split


class PriceConfig(StageConfig):
    """What the endpoint charges; nothing is assumed when nothing is given."""

    input: float | None = Field(default=None, ge=0)
    """Price of a million prompt tokens, in any currency."""
    output: float | None = Field(default=None, ge=0)
    """Price of a million completion tokens, in the same currency."""


class LimitsConfig(RequestConfig):
    """How hard the endpoint is asked, and where to stop."""

    calls: int | None = Field(default=None, ge=1, json_schema_extra={"flag": "--max-calls"})
    """Stop after so many answered requests, those of earlier runs of the same output included."""
    budget: float | None = Field(default=None, gt=0, json_schema_extra={"flag": "--budget"})
    """Never spend more than this, earlier runs included; needs both prices."""


class GenerateConfig(EndpointConfig):
    """What every kind of generation shares."""

    output: str | None = None
    """File to write; named after the source when not given. A journal lies beside it."""
    n: int = Field(default=3, ge=1, le=100)
    """Results for each passage, combination of attributes, or question."""
    per_reply: int | None = Field(default=None, ge=1, le=100)
    """Results asked for in one reply; chosen by the kind when not given."""
    limit: int | None = Field(default=None, ge=1)
    """Ask about at most so many passages, combinations or questions, drawn by the seed."""
    seed: int = Field(default=0, ge=0)
    """Changes which ones the limit draws."""
    prompts: Literal["auto", "en", "zh"] = "auto"
    """Language of the prompts; auto follows each source."""
    base: str | None = None
    """Base whose tokenizer estimates tokens; by characters when not given."""
    price: PriceConfig = PriceConfig()
    limits: LimitsConfig = LimitsConfig()


class QuestionsConfig(GenerateConfig):
    """Documents → questions and answers that quote their source."""

    files: tuple[str, ...] = Field(min_length=1)
    """Documents or folders of them: Markdown and plain text."""
    characters: int = Field(default=1200, ge=100, le=20000)
    """Longest passage shown to the model, in characters."""


class TextsConfig(GenerateConfig):
    """Attributes → texts."""

    table: str | None = None
    """Table with one column per attribute; each row is a combination."""
    attribute: dict[str, str] = Field(default_factory=dict)
    """Attribute and its values, e.g. style=formal,casual; all combinations are asked for."""
    template: str | None = None
    """Instruction with {attribute} in braces; a list of the attributes when not given."""


class ParaphrasesConfig(GenerateConfig):
    """Questions → the same questions in other words."""

    source: str
    """Dataset (id, name or 'latest') or data file whose questions are put in other words."""
    split: Split = "train"
    """Split of a dataset whose questions are taken."""
