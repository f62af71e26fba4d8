"""Tools in OpenAI's chat request: functions offered, calls made, and what they gave back.

Wire format: https://platform.openai.com/docs/guides/function-calling.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    StringConstraints,
    WithJsonSchema,
)
from pydantic_core import PydanticCustomError

from tunewright.core.messages import ToolCall
from tunewright.deployment.bodies import Strict

MAX_TOOLS = 128
_NAME_LENGTH = 256
_FUNCTION_KEYS = {"name", "description", "parameters", "strict"}


def _function(value: Any) -> dict[str, Any]:
    """A function as offered, its keys in the order given, for a template may write it as it is."""
    function = value.get("function") if isinstance(value, dict) else None
    if not isinstance(function, dict) or value.get("type") != "function" or len(value) > 2:
        raise PydanticCustomError("tool", "expected {'type': 'function', 'function': {…}}")
    name = function.get("name")
    if not isinstance(name, str) or not 0 < len(name) <= _NAME_LENGTH:
        raise PydanticCustomError("tool", "a function needs a name")
    unknown = sorted(set(function) - _FUNCTION_KEYS)
    if unknown:
        problem = "unknown key {key} of a function"
        raise PydanticCustomError("tool", problem, {"key": repr(unknown[0][:64])})
    given = {key: inner for key, inner in function.items() if inner is not None}
    return {"type": "function", "function": given}


def _arguments(text: str) -> str:
    try:
        ToolCall.model_construct(name="this function", arguments=text or "{}").parsed()
    except ValueError as error:
        raise PydanticCustomError("tool", "{problem}", {"problem": str(error)}) from None
    return text or "{}"


_TOOL_SCHEMA = {
    "type": "object",
    "properties": {
        "type": {"const": "function"},
        "function": {
            "type": "object",
            "properties": {
                "name": {"type": "string", "minLength": 1, "maxLength": _NAME_LENGTH},
                "description": {"type": "string"},
                "parameters": {"type": "object", "description": "JSON schema of the arguments."},
                "strict": {"type": "boolean"},
            },
            "required": ["name"],
        },
    },
    "required": ["type", "function"],
}
Tool = Annotated[dict[str, Any], BeforeValidator(_function), WithJsonSchema(_TOOL_SCHEMA)]
Tools = Annotated[list[Tool], Field(max_length=MAX_TOOLS)]


def _tool_choice(value: Any) -> str | dict[str, Any]:
    """A word, or ``{"type": "function", "function": {"name": …}}``."""
    if isinstance(value, str) and value in _CHOICES:
        return value
    named = isinstance(value, dict) and value.get("type") == "function" and len(value) == 2
    function = value.get("function") if named else None
    if not (
        isinstance(function, dict)
        and set(function) == {"name"}
        and isinstance(function["name"], str)
    ):
        problem = "expected {words} or {{'type': 'function', 'function': {{'name': …}}}}"
        raise PydanticCustomError("tool", problem.format(words=", ".join(_CHOICES)))
    return {"type": "function", "function": {"name": function["name"]}}


_CHOICES = ("none", "auto", "required")
_CHOICE_SCHEMA = {
    "anyOf": [
        {"enum": list(_CHOICES)},
        {
            "type": "object",
            "properties": {
                "type": {"const": "function"},
                "function": {
                    "type": "object",
                    "properties": {"name": {"type": "string"}},
                    "required": ["name"],
                    "additionalProperties": False,
                },
            },
            "required": ["type", "function"],
            "additionalProperties": False,
        },
    ]
}
ToolChoice = Annotated[
    str | dict[str, Any], BeforeValidator(_tool_choice), WithJsonSchema(_CHOICE_SCHEMA)
]


class CalledFunction(Strict):
    """A function and the arguments that it is called with."""

    name: Annotated[str, StringConstraints(min_length=1, max_length=_NAME_LENGTH)]
    arguments: Annotated[str, AfterValidator(_arguments)]
    """A JSON object as text."""


class RequestedCall(Strict):
    """A call that an assistant's message makes."""

    id: Annotated[str, StringConstraints(min_length=1, max_length=_NAME_LENGTH)]
    type: Literal["function"] = "function"
    function: CalledFunction

    def call(self) -> ToolCall:
        """The call as conversations hold it."""
        return ToolCall(name=self.function.name, arguments=self.function.arguments, id=self.id)


Calls = Annotated[list[RequestedCall], Field(max_length=MAX_TOOLS)]
