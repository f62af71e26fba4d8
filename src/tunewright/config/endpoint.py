"""Knobs of whatever asks a model behind an OpenAI-compatible API."""

from __future__ import annotations

from pydantic import Field

from tunewright.config.base import StageConfig


class SamplingConfig(StageConfig):
    """How the endpoint draws its replies."""

    temperature: float | None = Field(
        default=0.8, ge=0, le=2, json_schema_extra={"flag": "--temperature"}
    )
    """Spread of the draw; null leaves it to the endpoint."""
    max_tokens: int = Field(default=1024, ge=16, json_schema_extra={"flag": "--max-tokens"})
    """Longest reply, in tokens."""


class RequestConfig(StageConfig):
    """How hard the endpoint is asked."""

    concurrency: int = Field(default=4, ge=1, le=64, json_schema_extra={"flag": "--concurrency"})
    """Requests under way at once."""
    timeout: float = Field(default=120.0, gt=0, json_schema_extra={"flag": "--timeout"})
    """Seconds one request may take."""
    retries: int = Field(default=5, ge=0, le=20, json_schema_extra={"flag": "--retries"})
    """Repeats of a request that met 429, 5xx, a timeout or a broken connection."""


class EndpointConfig(StageConfig):
    """One model behind an OpenAI-compatible API."""

    endpoint: str
    """Base URL of an OpenAI-compatible API, e.g. http://127.0.0.1:8000/v1."""
    model: str = Field(min_length=1)
    """Model to ask, by the endpoint's name for it."""
    key_file: str | None = None
    """File that holds the API key; otherwise the variable TUNEWRIGHT_ENDPOINT_KEY."""
    sampling: SamplingConfig = SamplingConfig()
    limits: RequestConfig = RequestConfig()
