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
    topics: float = Field(default=0, ge=0, le=0.5)
    """Share of topics (values of the slice column) held back whole, as test questions."""
    named: Literal["test", "dev"] = "test"
    """Split that the rows of test files form; dev watches the run, as OpenAI's validation_file."""


class ChecksConfig(StageConfig):
    """What to do about what the checks find; the recommended action where nothing is said."""

    html: Literal["clean", "keep"] | None = None
    """HTML tags and entities in texts: take them out, or keep them."""
    garbled: Literal["repair", "drop", "keep"] | None = None
    """Garbled characters (wrong encoding, U+FFFD): restore what can be and drop the other rows."""
    trivial: Literal["drop", "keep"] | None = None
    """Rows whose answer says nothing: only punctuation, or the question again."""
    personal: Literal["mask", "drop", "keep"] | None = None
    """Personal data: identity cards, mobile numbers, bank cards, e-mail, plates, chat ids."""
    secrets: Literal["mask", "drop", "keep"] | None = None
    """Keys, tokens and passwords."""
    control: Literal["keep", "drop"] | None = None
    """Texts that spell a control token of the base; kept, they are learned as plain text."""
    affixes: Literal["separators", "keep", "all"] | None = None
    """What nearly all questions or answers begin or end with: strip separators of older formats."""
    case: Literal["keep", "lower"] | None = None
    """Questions or answers written mostly in capitals."""
    duplicates: Literal["drop", "keep"] | None = None
    """The same question with the same answer, but for spacing and width of characters."""
    near_duplicates: Literal["drop", "keep"] | None = None
    """Rows whose question and answer both nearly equal another row's."""
    contradictions: Literal["auto", "best", "newest", "longest", "all"] | None = None
    """Several answers to one question: which of them is kept."""
    boilerplate: Literal["cap", "keep", "drop"] | None = None
    """The same short answer to very many questions."""
    leakage: Literal["exact", "drop", "keep"] | None = None
    """Training rows that nearly repeat a question of a named test set."""
    near: float = Field(default=0.8, gt=0.3, le=1)
    """Jaccard similarity from which two questions count as near."""
    same: float = Field(default=0.9, gt=0.3, le=1)
    """Jaccard similarity from which two whole rows count as near-duplicates."""
    cap: int = Field(default=10, ge=1)
    """How many rows of one boilerplate answer are kept when they are capped."""


class PrepareConfig(StageConfig):
    """Source files → Dataset."""

    files: tuple[str, ...] = Field(min_length=1)
    """Data files, folders or patterns: tables, JSON, workbooks, Parquet, Arrow, text, archives."""
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
    format: str = "auto"
    """How rows are read; found automatically. `tunewright prepare --formats` lists them."""
    encoding: str | None = None
    """Text encoding, e.g. gb18030; found automatically."""
    delimiter: str | None = Field(default=None, min_length=1, max_length=1)
    """Column separator; found automatically."""
    system: str | None = None
    """A system message put before every conversation that has none."""
    max_tokens: int | None = Field(default=None, ge=8)
    """Longest conversation kept, in tokens; the base's context when not given."""
    sheet: str | None = None
    """Sheet of a workbook; the first one that holds a table when not given."""
    mix: dict[str, str] = Field(default_factory=dict)
    """Rows mixed into training, e.g. general=10%: a share of all training rows, or a number."""
    checks: ChecksConfig = ChecksConfig()
    split: SplitConfig = SplitConfig()
