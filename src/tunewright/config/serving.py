"""Knobs of ``serve`` and of generation."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from tunewright.config.base import StageConfig
from tunewright.config.jobs import BatchesConfig, JobsConfig
from tunewright.core.durations import parse_duration
from tunewright.core.scopes import ANY_MODEL, CLIENT_SCOPES, DEFAULT_PROJECT, SCOPES

MOST_CHOICES = 1000
"""Choices that an answer can be held to."""
_LONGEST_NAME = 512


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


class LimitsConfig(StageConfig):
    """How much one API key may ask for."""

    requests_per_minute: int | None = Field(default=None, ge=1)
    """Requests in any minute."""
    tokens_per_minute: int | None = Field(default=None, ge=1)
    """Tokens of questions and answers in any minute."""
    concurrency: int | None = Field(default=None, ge=1)
    """Requests at the same time."""


class KeyModelsConfig(StageConfig):
    """What an API key may ask."""

    models: tuple[str, ...] = Field(
        default=(ANY_MODEL,), min_length=1, max_length=256, json_schema_extra={"split": True}
    )
    """What it may ask: deployments, models, bases, as in clerk,ft:nano:*; * alone is everything."""

    @field_validator("models")
    @classmethod
    def _are_patterns(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for pattern in value:
            if not 0 < len(pattern) <= _LONGEST_NAME or not pattern.isprintable():
                raise ValueError(f"{pattern[:64]!r} is no name of 1 to {_LONGEST_NAME} characters")
            if ANY_MODEL in pattern[:-1]:
                raise ValueError(f"{pattern!r}: a * may stand at the end only")
        return tuple(dict.fromkeys(value))


class KeyConfig(KeyModelsConfig, LimitsConfig):
    """A new API key; limits that it does not name are the server's."""

    name: str = Field(min_length=1, max_length=64)
    """What the key is for; keys that hold have different names."""
    project: str = Field(default=DEFAULT_PROJECT, min_length=1, max_length=64)
    """Whose files, jobs and tuned models it sees."""
    scopes: tuple[str, ...] = Field(
        default=CLIENT_SCOPES,
        min_length=1,
        json_schema_extra={"split": True, "flag": "--scope"},
    )
    """What it opens: models.read, inference, files, fine_tuning, metrics or admin (all of it)."""
    expires: str | None = None
    """How long it holds, such as 30d or 12h; for ever when not given."""

    @field_validator("name", "project")
    @classmethod
    def _printable(cls, value: str) -> str:
        if not value.isprintable() or value != value.strip():
            raise ValueError("no line breaks, control characters, or spaces around it")
        return value

    @field_validator("scopes")
    @classmethod
    def _known_scopes(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if unknown := [scope for scope in value if scope not in SCOPES]:
            raise ValueError(f"no scope {unknown[0]!r}; there are {', '.join(SCOPES)}")
        return tuple(dict.fromkeys(value))

    @field_validator("expires")
    @classmethod
    def _is_duration(cls, value: str | None) -> str | None:
        if value is not None:
            parse_duration(value)
        return value


class StoredConfig(StageConfig):
    """Completions that clients ask to keep with `store: true`; nothing else is kept."""

    keep: str = "30d"
    """How long each is kept, such as 12h or 30d."""
    most: int = Field(default=10_000, ge=0, le=1_000_000)
    """How many each project has; the oldest make room. With 0 nothing is ever stored."""

    @field_validator("keep")
    @classmethod
    def _is_duration(cls, value: str) -> str:
        parse_duration(value)
        return value

    @property
    def seconds(self) -> int:
        """How long each is kept."""
        return parse_duration(self.keep)


class UpstreamConfig(StageConfig):
    """A server that answers in an engine's place, over OpenAI's protocol."""

    url: str = Field(pattern=r"^https?://[^/\s?#]+(/[^\s?#]*)?$")
    """Where its API begins, such as http://127.0.0.1:8001/v1."""
    kind: Literal["openai", "vllm"] = "openai"
    """vllm: it takes LoRA adapters while it runs, from folders that it can read too."""
    models: tuple[str, ...] = Field(min_length=1)
    """Its models, under the names that it knows them by; the first is its base."""
    base: str | None = None
    """Which base of ours its first model is; tuned models of that base go there too."""
    key_env: str | None = None
    """Environment variable that holds its key."""
    key_file: str | None = None
    """File that holds its key."""


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
    drain: float = Field(default=25.0, ge=0)
    """Seconds that answers under way are given once the server is told to stop."""
    device: str = Field(default="auto", pattern="^(auto|cpu|cuda)$")
    """Where engines run."""
    kv_tokens: int | None = Field(default=None, ge=256)
    """Tokens that each engine keeps for the answers under way; chosen from the free memory."""
    bases: tuple[str, ...] = ()
    """More bases to serve as they are, besides nano and those of tuned models."""
    at_once: int = Field(default=256, ge=1)
    """Requests in hand at the same time, over all engines, before new ones get 429."""
    require_keys: bool = False
    """Ask for API keys on this machine too; where there is none, a first one is made and shown."""
    open: bool = False
    """Ask for no API key although there are some; for this machine only."""
    api_key_file: str | None = None
    """File with one API key per line, besides those of `tunewright keys`."""
    limits: LimitsConfig = LimitsConfig()
    """What a key may ask for where it has no limits of its own."""
    stored: StoredConfig = StoredConfig()
    """What is kept of completions that clients ask to keep."""
    jobs: JobsConfig = JobsConfig()
    """How fine-tuning jobs are run."""
    batches: BatchesConfig = BatchesConfig()
    """How the requests of batches are answered."""
    upstreams: dict[str, UpstreamConfig] = Field(default_factory=dict)
    """Servers in the place of engines, by any name; set in a recipe file."""
    log_format: Literal["text", "json", "off"] = "text"
    """How requests are noted on stderr, one line each: never a key, and no text of theirs."""
    log_prompts: bool = False
    """Note the messages of requests too; they may hold what nobody else should read."""

    @model_validator(mode="after")
    def _open_or_closed(self) -> Self:
        if self.open and (self.require_keys or self.api_key_file):
            raise ValueError("open asks for no key; leave out require_keys and api_key_file")
        if self.log_prompts and self.log_format == "off":
            raise ValueError("log_prompts notes nothing while log_format is off")
        return self
