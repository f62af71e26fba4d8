"""What replies are made of, for the OpenAPI document; that they are so is what its tests check.

Names and values are OpenAI's (https://platform.openai.com/docs/api-reference); times are Unix
seconds.
"""

from __future__ import annotations

from typing import Any, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict

T = TypeVar("T")


class Exact(BaseModel):
    """Nothing but these fields."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)


class Open(BaseModel):
    """These fields, and what else the server that answers in an engine's place may tell."""

    model_config = ConfigDict(extra="allow", use_attribute_docstrings=True)


class ErrorDetail(Exact):
    """What went wrong."""

    message: str
    type: str
    param: str | None
    """The field that is wrong, by its path."""
    code: str | None


class ErrorObject(Exact):
    """Every refusal and failure."""

    error: ErrorDetail


class Page(Exact, Generic[T]):
    """Part of a list; ``after=<last_id>`` goes on."""

    object: Literal["list"]
    data: list[T]
    first_id: str | None
    last_id: str | None
    has_more: bool


class Deleted(Exact):
    """What is not there any more."""

    id: str
    object: str
    deleted: Literal[True]


class ModelObject(Open):
    """A name that can be asked for."""

    id: str
    object: Literal["model"]
    created: int
    owned_by: str


class Models(Exact):
    """All of them; this list has no pages."""

    object: Literal["list"]
    data: list[ModelObject]


class FileObject(Exact):
    """A file, without its body."""

    id: str
    object: Literal["file"]
    bytes: int
    created_at: int
    filename: str
    purpose: str
    status: Literal["processed"]
    expires_at: int | None = None


class UploadObject(Exact):
    """A file on its way in parts."""

    id: str
    object: Literal["upload"]
    bytes: int
    created_at: int
    filename: str
    purpose: str
    status: Literal["pending", "completed", "cancelled", "expired"]
    expires_at: int
    file: FileObject | None


class PartObject(Exact):
    """One part of an upload."""

    id: str
    object: Literal["upload.part"]
    created_at: int
    upload_id: str


class JobError(Open):
    """Why a job failed."""

    code: str
    message: str
    param: str | None = None


class JobMethod(Open):
    """How is learnt; the hyperparameters stand under the method's own name."""

    type: Literal["supervised", "dpo", "reinforcement"]


class OursOfJob(Exact):
    """What OpenAI has no field for."""

    state: Literal["queued", "running", "paused", "succeeded", "failed", "cancelled"]
    """As the queue has it; ``status`` says queued of a paused job."""
    dataset: str | None
    run: str | None
    options: dict[str, Any] | None


class JobObject(Exact):
    """A fine-tuning job."""

    id: str
    object: Literal["fine_tuning.job"]
    created_at: int
    model: str
    status: Literal["validating_files", "queued", "running", "succeeded", "failed", "cancelled"]
    fine_tuned_model: str | None
    finished_at: int | None
    estimated_finish: int | None
    error: JobError | None
    training_file: str
    validation_file: str | None
    result_files: list[str]
    trained_tokens: int | None
    hyperparameters: dict[str, Literal["auto"] | float]
    method: JobMethod
    seed: int
    organization_id: str
    integrations: list[Any]
    metadata: dict[str, str] | None
    user_provided_suffix: str | None
    tunewright: OursOfJob


class EventObject(Exact):
    """What a job told."""

    id: str
    object: Literal["fine_tuning.job.event"]
    created_at: int
    level: Literal["info", "warn", "error"]
    message: str
    type: Literal["message", "metrics"]
    data: dict[str, Any]


class CheckpointObject(Exact):
    """A job's model after a step."""

    id: str
    object: Literal["fine_tuning.job.checkpoint"]
    created_at: int
    fine_tuning_job_id: str
    fine_tuned_model_checkpoint: str
    step_number: int
    metrics: dict[str, float]


class PermissionObject(Exact):
    """A project's leave to use a model."""

    id: str
    object: Literal["checkpoint.permission"]
    created_at: int
    project_id: str


class Grade(Exact):
    """What a grader gives an answer."""

    reward: float
    sub_rewards: dict[str, float]
    metadata: dict[str, Any]
    model_grader_token_usage_per_model: dict[str, Any]


class GraderObject(Exact):
    """A grader that is well made."""

    grader: dict[str, Any]


class Usage(Open):
    """Tokens of one reply."""

    prompt_tokens: int
    total_tokens: int


class Choice(Open):
    """One answer."""

    index: int
    finish_reason: str | None


class Answered(Open):
    """A completion, whole; streamed, it is a sequence of such objects with a piece each."""

    id: str
    object: Literal["chat.completion", "text_completion"]
    created: int
    model: str
    choices: list[Choice]
    usage: Usage | None = None


class StoredMessage(Open):
    """A message of a stored completion's request."""

    id: str
    role: str
    content: str | None


class Vector(Open):
    """One text's vector: numbers, or float32 in base64."""

    object: Literal["embedding"]
    index: int
    embedding: list[float] | str


class Vectors(Open):
    """In the order of the texts."""

    object: Literal["list"]
    data: list[Vector]
    model: str
    usage: Usage


class Tokens(Open):
    """A text, or a conversation with its generation prompt, as the model reads it."""

    count: int
    max_model_len: int
    tokens: list[int]
    token_strs: list[str] | None = None


class Text(Open):
    """What token ids spell, control tokens too."""

    prompt: str


class BatchObject(Open):
    """Many requests in one file."""

    id: str
    object: Literal["batch"]
    endpoint: str
    input_file_id: str
    completion_window: Literal["24h"]
    status: Literal[
        "validating", "failed", "in_progress", "finalizing", "completed", "expired",
        "cancelling", "cancelled",
    ]  # fmt: skip
    created_at: int
    expires_at: int


class EvalObject(Exact):
    """What answers are tested for."""

    id: str
    object: Literal["eval"]
    name: str
    created_at: int
    data_source_config: dict[str, Any]
    testing_criteria: list[dict[str, Any]]
    metadata: dict[str, str]


class EvalDeleted(Exact):
    """An eval that is not there any more."""

    object: Literal["eval.deleted"]
    deleted: Literal[True]
    eval_id: str


class RunObject(Open):
    """One run of an eval."""

    id: str
    object: Literal["eval.run"]
    eval_id: str
    name: str
    created_at: int
    status: Literal["queued", "in_progress", "completed", "canceled", "failed"]
    model: str
    data_source: dict[str, Any]
    result_counts: dict[str, int]
    metadata: dict[str, str]


class RunDeleted(Exact):
    """A run that is not there any more."""

    object: Literal["eval.run.deleted"]
    deleted: Literal[True]
    run_id: str


class ItemObject(Exact):
    """What a run found for one row."""

    id: str
    object: Literal["eval.run.output_item"]
    created_at: int
    run_id: str
    eval_id: str
    status: Literal["pass", "fail", "error"]
    datasource_item_id: int
    datasource_item: dict[str, Any]
    results: list[dict[str, Any]]
    sample: dict[str, Any]


class UsageObject(Exact):
    """What was used, by key or by model."""

    object: Literal["list"]
    by: Literal["key", "model"]
    seconds: int
    data: list[dict[str, Any]]


class Health(Exact):
    """How the server is."""

    status: str
