"""Records of what is asked of models in the background: batches, evals and their runs."""

from __future__ import annotations

import time
from typing import Any, ClassVar

from pydantic import Field

from tunewright.core.records import Record


class Batch(Record):
    """Many requests in one file, answered when there is time, by OpenAI's API.

    Its times say where it stands; the folder holds ``input.jsonl`` until it has ended.
    """

    kind: ClassVar[str] = "batch"
    prefix: ClassVar[str] = "batch"
    folder: ClassVar[str] = "batches"
    timed: ClassVar[bool] = True

    endpoint: str
    input_file: str
    expires: float
    """Unix time after which no more requests are begun."""
    file_seconds: int | None = None
    """How long its output files live, or None."""
    api_key: str = ""
    """Id of the API key that pays; empty where none was asked for."""
    metadata: dict[str, str] | None = None
    model: str | None = None
    """Public name, the same in every request; once the file was looked at."""
    errors: tuple[dict[str, Any], ...] = ()
    """``{code, message, param, line}`` of what is wrong with the file."""
    total: int = 0
    completed: int = 0
    failed: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    output_file: str | None = None
    error_file: str | None = None
    in_progress_at: float | None = None
    finalizing_at: float | None = None
    completed_at: float | None = None
    failed_at: float | None = None
    expired_at: float | None = None
    cancelling_at: float | None = None
    cancelled_at: float | None = None


class Eval(Record):
    """What answers are tested for, by OpenAI's API: criteria, and what the data look like."""

    kind: ClassVar[str] = "eval"
    prefix: ClassVar[str] = "eval"
    folder: ClassVar[str] = "evals"
    timed: ClassVar[bool] = True

    name: str
    source: dict[str, Any]
    """OpenAI's ``data_source_config``, as it was given."""
    criteria: tuple[dict[str, Any], ...]
    """OpenAI's ``testing_criteria``, as they were given."""
    metadata: dict[str, str] = Field(default_factory=dict)
    updated: float = Field(default_factory=time.time)


class EvalRun(Record):
    """One run of an eval; its times say where it stands.

    The folder holds ``items.jsonl``, a row per answer; the answers' results are a table.
    """

    kind: ClassVar[str] = "eval run"
    prefix: ClassVar[str] = "evalrun"
    folder: ClassVar[str] = "eval_runs"
    timed: ClassVar[bool] = True

    eval: str
    name: str
    source: dict[str, Any]
    """OpenAI's ``data_source``, as it was given."""
    model: str | None = None
    """Public name of whose answers are tested; None where the rows hold them."""
    api_key: str = ""
    """Id of the API key that pays; empty where none was asked for."""
    metadata: dict[str, str] = Field(default_factory=dict)
    total: int = 0
    counts: dict[str, int] = Field(default_factory=dict)
    """``{pass, fail, error: rows}``."""
    by_criterion: dict[str, dict[str, int]] = Field(default_factory=dict)
    """``{criterion: {passed, failed: rows}}``."""
    usage: dict[str, dict[str, int]] = Field(default_factory=dict)
    """``{model: {invocation_count, prompt_tokens, completion_tokens, cached_tokens}}``."""
    error: dict[str, Any] | None = None
    """``{code, message}`` of a run that failed."""
    in_progress_at: float | None = None
    completed_at: float | None = None
    failed_at: float | None = None
    canceling_at: float | None = None
    canceled_at: float | None = None

    def parents(self) -> tuple[str, ...]:
        return (self.eval,)


ASKED_RECORDS: tuple[type[Record], ...] = (Batch, Eval, EvalRun)
