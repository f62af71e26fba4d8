"""Bodies of OpenAI's evals surface."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from tunewright.api.resources import Metadata

MOST_CRITERIA = 32
MOST_STORED = 10_000


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class CustomSource(_Body):
    """Rows of one's own."""

    type: Literal["custom"]
    item_schema: dict[str, Any]
    """JSON schema of each row's item."""
    include_sample_schema: bool = False
    """Whether rows get, or hold, an answer."""


class StoredSource(_Body):
    """Stored completions; logs means the same."""

    type: Literal["stored_completions", "logs"]
    metadata: Metadata | None = None
    """Labels of those wanted."""


class CreateEvalRequest(_Body):
    """The body of POST /v1/evals."""

    name: str = Field(default="", max_length=256)
    metadata: Metadata | None = None
    data_source_config: Annotated[CustomSource | StoredSource, Field(discriminator="type")]
    testing_criteria: list[dict[str, Any]] = Field(min_length=1, max_length=MOST_CRITERIA)
    """string_check, text_similarity, label_model or score_model."""


class UpdateEvalRequest(_Body):
    """The body of POST /v1/evals/{eval_id}."""

    name: str | None = Field(default=None, max_length=256)
    metadata: Metadata | None = None


class RowContent(_Body):
    """One row in a request."""

    item: dict[str, Any]
    sample: dict[str, Any] | None = None


class FileContent(_Body):
    """Rows in the request."""

    type: Literal["file_content"]
    content: list[RowContent] = Field(min_length=1, max_length=50_000)


class FileId(_Body):
    """Rows in a file: one {"item": …} per line."""

    type: Literal["file_id"]
    id: str = Field(min_length=1, max_length=128)


class StoredRows(_Body):
    """Stored completions as rows."""

    type: Literal["stored_completions"]
    metadata: Metadata | None = None
    model: str | None = Field(default=None, max_length=512)
    created_after: int | None = None
    created_before: int | None = None
    limit: int | None = Field(default=None, ge=1, le=MOST_STORED)


class TemplateMessages(_Body):
    """Messages with blanks such as {{item.question}}."""

    type: Literal["template"]
    template: list[dict[str, Any]] = Field(min_length=1, max_length=1024)


class ReferredMessages(_Body):
    """Messages that stand in the row."""

    type: Literal["item_reference"]
    item_reference: str = Field(pattern=r"^item(\.[\w-]+)+$", max_length=256)


class JsonlRun(_Body):
    """Answers that the rows hold are tested."""

    type: Literal["jsonl"]
    source: Annotated[FileContent | FileId, Field(discriminator="type")]


class CompletionsRun(_Body):
    """A model answers every row; of stored completions without a model, what was answered then."""

    type: Literal["completions"]
    source: Annotated[FileContent | FileId | StoredRows, Field(discriminator="type")]
    input_messages: (
        Annotated[TemplateMessages | ReferredMessages, Field(discriminator="type")] | None
    ) = None
    model: str | None = Field(default=None, min_length=1, max_length=512)
    sampling_params: dict[str, Any] | None = None


class CreateRunRequest(_Body):
    """The body of POST /v1/evals/{eval_id}/runs."""

    name: str = Field(default="", max_length=256)
    metadata: Metadata | None = None
    data_source: Annotated[JsonlRun | CompletionsRun, Field(discriminator="type")]
