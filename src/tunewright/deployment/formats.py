"""``response_format``: the form that an answer is held to.

Wire format: https://platform.openai.com/docs/guides/structured-outputs.
"""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, StringConstraints, WithJsonSchema, model_validator
from pydantic_core import PydanticCustomError

from tunewright.deployment.bodies import Strict

MAX_SCHEMA_CHARACTERS = 64 * 1024
MAX_PROPERTIES = 500
_DEEPEST = 64


def _schema(value: Any) -> dict[str, Any]:
    """A JSON schema of bounded size, without references to elsewhere."""
    if not isinstance(value, dict):
        raise PydanticCustomError("format", "a schema must be a JSON object")
    if len(json.dumps(value, ensure_ascii=False)) > MAX_SCHEMA_CHARACTERS:
        problem = f"a schema may have at most {MAX_SCHEMA_CHARACTERS} characters"
        raise PydanticCustomError("format", problem)
    if _check(value, 0) > MAX_PROPERTIES:
        problem = f"a schema may have at most {MAX_PROPERTIES} properties altogether"
        raise PydanticCustomError("format", problem)
    return value


def _check(value: Any, depth: int) -> int:
    """Refuse depth and references to elsewhere; how many properties there are."""
    if depth > _DEEPEST:
        raise PydanticCustomError("format", f"a schema may be at most {_DEEPEST} levels deep")
    if isinstance(value, list):
        return sum(_check(inner, depth + 1) for inner in value)
    if not isinstance(value, dict):
        return 0
    reference = value.get("$ref")
    if isinstance(reference, str) and not reference.startswith("#"):
        raise PydanticCustomError("format", "$ref may only point into the schema itself (#…)")
    own = value.get("properties")
    count = len(own) if isinstance(own, dict) else 0
    return count + sum(_check(inner, depth + 1) for inner in value.values())


Schema = Annotated[dict[str, Any], BeforeValidator(_schema), WithJsonSchema({"type": "object"})]


class JsonSchema(Strict):
    """A named schema."""

    name: Annotated[str, StringConstraints(min_length=1, max_length=64)]
    """Accepted; the model does not see it."""
    description: Annotated[str, StringConstraints(max_length=4096)] | None = None
    """Accepted; the model does not see it."""
    schema_: Schema | None = Field(default=None, alias="schema")
    """What the answer must match; any JSON value without it."""
    strict: bool | None = None
    """Accepted; a schema is always kept to."""


class ResponseFormat(Strict):
    """Text, any JSON object, or JSON that matches a schema."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchema | None = None
    """Needed with type json_schema, and only there."""

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if (self.type == "json_schema") != (self.json_schema is not None):
            raise PydanticCustomError(
                "format", "json_schema is for type json_schema, which needs it"
            )
        return self

    @property
    def schema_(self) -> dict[str, Any] | None:
        """What the answer must match; None for plain text."""
        if self.type == "text":
            return None
        if self.type == "json_object":
            return {"type": "object"}
        return (self.json_schema.schema_ if self.json_schema else None) or {}
