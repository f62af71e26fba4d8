"""OpenAI's chat request as this server accepts it.

Wire format: https://platform.openai.com/docs/api-reference/chat. The API, the gateway and the
engines share this module, so a request means the same to all three.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import pydantic_core
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    WithJsonSchema,
)
from pydantic_core import PydanticCustomError

from tunewright.config.serving import GenerationConfig
from tunewright.core.messages import Conversation, Message, Role
from tunewright.deployment.replies import RequestError
from tunewright.deployment.tool_protocol import Calls, Tools

BASE_NAME = "base"
"""What an engine calls the base itself; adapters go by their model's id."""
MAX_BODY_BYTES = 2 * 1024 * 1024
MAX_MESSAGES = 1024
MAX_PARTS = 256
MAX_TOKENS = 32768
_MAX_KEYS = 64
_UNUSED = {"user", "safety_identifier", "prompt_cache_key", "metadata"}
_SEEDS = 2**63


# Fields of OpenAI's that this server does not implement, with the values that ask for nothing.
# null always asks for nothing. Any other value is refused rather than silently ignored.
_NEUTRAL: dict[str, tuple[Any, ...]] = {
    "n": (1,),
    "logprobs": (False,),
    "top_logprobs": (0,),
    "logit_bias": ({},),
    "presence_penalty": (0,),
    "frequency_penalty": (0,),
    "store": (False,),
    "response_format": ({"type": "text"},),
    "modalities": (["text"],),
    "service_tier": ("auto", "default"),
    "verbosity": ("medium",),
    "reasoning_effort": ("none",),
    "parallel_tool_calls": (True, False),
    "functions": ([],),
    "function_call": ("none", "auto"),
    "audio": (),
    "moderation": (),
    "prediction": (),
    "web_search_options": (),
}
# What clients send back when they append a reply of ours to the conversation.
_NEUTRAL_IN_MESSAGE: dict[str, tuple[Any, ...]] = {
    "refusal": (),
    "annotations": ([],),
    "audio": (),
    "function_call": (),
}


def _text(content: Any) -> str:
    """A message's content, a string or a list of text parts, as one string."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list) or not content:
        raise PydanticCustomError("content", "expected a string or a list of text parts")
    if len(content) > MAX_PARTS:
        raise PydanticCustomError("content", f"at most {MAX_PARTS} parts are allowed")
    for number, part in enumerate(content):
        kind = part.get("type") if isinstance(part, dict) else None
        if kind != "text":
            shown = _short(kind if isinstance(part, dict) else part)
            raise PydanticCustomError(
                "content", f"part {number} is of type {shown}; this model reads only 'text' parts"
            )
        if not isinstance(part.get("text"), str) or set(part) - {"type", "text"}:
            raise PydanticCustomError(
                "content", f"part {number} must be {{'type': 'text', 'text': …}}"
            )
    return "".join(part["text"] for part in content)


def _stops(value: Any) -> Any:
    return [value] if isinstance(value, str) else value or []


_CONTENT_SCHEMA = {
    "anyOf": [
        {"type": "string"},
        {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"type": {"const": "text"}, "text": {"type": "string"}},
                "required": ["type", "text"],
            },
            "minItems": 1,
            "maxItems": MAX_PARTS,
        },
    ]
}
_STOP_SCHEMA = {
    "anyOf": [
        {"type": "string", "minLength": 1, "maxLength": 256},
        {"type": "array", "items": {"type": "string", "minLength": 1}, "maxItems": 4},
        {"type": "null"},
    ]
}
Content = Annotated[str, BeforeValidator(_text), WithJsonSchema(_CONTENT_SCHEMA)]
StopText = Annotated[str, StringConstraints(min_length=1, max_length=256)]
Stops = Annotated[list[StopText], BeforeValidator(_stops), WithJsonSchema(_STOP_SCHEMA)]
ShortText = Annotated[str, StringConstraints(max_length=512)]


class _Strict(BaseModel):
    model_config = ConfigDict(
        extra="forbid", strict=True, allow_inf_nan=False, use_attribute_docstrings=True
    )


class ChatMessage(_Strict):
    """One message of a request."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    """developer means system."""
    content: Content
    """May be null or missing beside tool_calls."""
    name: ShortText | None = None
    """Accepted; the model sees it in tool messages only."""
    tool_calls: Calls | None = None
    """What an assistant's message called."""
    tool_call_id: ShortText | None = None
    """The call that a tool message answers."""


class StreamOptions(_Strict):
    """Options of a streamed reply."""

    include_usage: bool | None = None
    """Send token counts in a last chunk without choices."""
    include_obfuscation: bool | None = None
    """Accepted; nothing is padded."""


class ChatRequest(_Strict):
    """``POST /v1/chat/completions``."""

    model: Annotated[str, StringConstraints(min_length=1, max_length=512)]
    """A name or id from ``GET /v1/models``."""
    messages: list[ChatMessage] = Field(min_length=1, max_length=MAX_MESSAGES)
    max_tokens: int | None = Field(default=None, ge=1, le=MAX_TOKENS)
    """Longest answer, in tokens; what is left of the model's context when not given."""
    max_completion_tokens: int | None = Field(default=None, ge=1, le=MAX_TOKENS)
    """The newer name of max_tokens; wins over it."""
    temperature: float | None = Field(default=None, ge=0, le=2)
    """Spread of the draw. Not given means 0: the likeliest answer, as evaluations measure it."""
    top_p: float | None = Field(default=None, ge=0, le=1)
    """Draw from the likeliest tokens that hold this share."""
    seed: int | None = Field(default=None, ge=-_SEEDS, lt=_SEEDS)
    """Makes a draw repeatable."""
    stop: Stops = Field(default=[], max_length=4)
    """Texts that end the answer; they are not part of it."""
    guided_choice: Annotated[list[ShortText], Field(min_length=1, max_length=256)] | None = None
    """The answer is one of these texts; vLLM's name, which clients put into extra_body."""
    stream: bool | None = None
    """Send the answer as server-sent events while it is made."""
    stream_options: StreamOptions | None = None
    tools: Tools | None = None
    """Functions offered to the model, for bases whose chat template knows tools. A call comes
    back as the model writes it, in content."""
    tool_choice: Literal["none", "auto"] | None = None
    """none: do not offer the tools."""
    user: ShortText | None = None
    """Accepted; not used."""
    safety_identifier: ShortText | None = None
    """Accepted; not used."""
    prompt_cache_key: ShortText | None = None
    """Accepted; not used."""
    metadata: dict[str, ShortText] | None = Field(default=None, max_length=16)
    """Accepted; not stored."""

    @classmethod
    def parse(cls, body: bytes) -> ChatRequest:
        """Read a request body.

        Raises:
            RequestError: 400 naming the parameter that is wrong.
        """
        try:
            values = pydantic_core.from_json(body, allow_inf_nan=False)
        except ValueError as error:
            raise RequestError(400, f"the body is not valid JSON: {error}") from None
        if not isinstance(values, dict):
            raise RequestError(400, "the body must be a JSON object")
        try:
            request = cls.model_validate(_without_neutral(values))
        except ValidationError as error:
            raise _refusal(error) from None
        request._check_choices()
        if request.stream_options is not None and not request.stream:
            raise RequestError(
                400, "stream_options is only allowed with stream=true", param="stream_options"
            )
        return request

    def _check_choices(self) -> None:
        choices = self.guided_choice or []
        problem = None
        if choices and self.stop:
            problem = "guided_choice and stop exclude each other"
        elif not all(text.strip() for text in choices):
            problem = "guided_choice: a choice cannot be empty"
        elif len(set(choices)) < len(choices):
            problem = "guided_choice names a choice twice"
        if problem:
            raise RequestError(400, problem, param="guided_choice", code="invalid_value")

    def conversation(self) -> Conversation:
        """The messages as the model sees them; leading system messages become one.

        Raises:
            RequestError: 400 for an order of messages that no model is trained on.
        """
        roles = [_role(message) for message in self.messages]
        first = next((i for i, role in enumerate(roles) if role != "system"), len(roles))
        self._check_order(roles, first)
        system = "\n\n".join(message.content for message in self.messages[:first])
        turns = [Message(role="system", content=system)] if first else []
        for role, message in zip(roles[first:], self.messages[first:], strict=True):
            turns.append(_turn(role, message))
        tools = () if self.tool_choice == "none" else (self.tools or ())
        return Conversation(messages=tuple(turns), tools=tuple(tools))

    def _check_order(self, roles: Sequence[Role], first: int) -> None:
        if "system" in roles[first:]:
            where = first + roles[first:].index("system")
            raise _misplaced(where, "role", "system and developer messages must come first")
        if roles[-1] not in ("user", "tool"):
            where = len(roles) - 1
            raise _misplaced(where, "role", "the last message must be the user's or a tool's")
        if "user" not in roles:
            raise _misplaced(0, "role", "one message must be the user's")
        called: set[str] = set()
        for where, message in enumerate(self.messages):
            if message.tool_calls and message.role != "assistant":
                raise _misplaced(where, "tool_calls", "only an assistant's message calls tools")
            called.update(call.id for call in message.tool_calls or ())
            if message.role == "tool" and message.tool_call_id not in called:
                problem = "a tool message must answer a call before it, named by its id"
                raise _misplaced(where, "tool_call_id", problem)
            if message.role != "tool" and message.tool_call_id is not None:
                raise _misplaced(where, "tool_call_id", "only a tool message answers a call")

    def generation(self, room: int) -> GenerationConfig:
        """How to draw the answer, with at most ``room`` tokens left in the context."""
        wanted = self.max_completion_tokens or self.max_tokens or MAX_TOKENS
        top_p = 1.0 if self.top_p is None else self.top_p
        # A share of nothing still holds the likeliest token: OpenAI's top_p=0 is greedy.
        temperature = (self.temperature or 0.0) if top_p > 0 else 0.0
        return GenerationConfig(
            choices=tuple(self.guided_choice or ()),
            max_new_tokens=max(1, min(wanted, room)),
            temperature=temperature,
            top_p=top_p or 1.0,
            seed=None if self.seed is None else self.seed % _SEEDS,
            stop=tuple(self.stop),
        )

    def wire(self, model: str) -> dict[str, Any]:
        """The request as JSON values for an engine that knows the model as ``model``."""
        values: dict[str, Any] = self.model_dump(
            exclude_none=True, exclude_defaults=True, exclude=_UNUSED
        )
        return {**values, "model": model}


def _role(message: ChatMessage) -> Role:
    return "system" if message.role == "developer" else message.role


def _turn(role: Role, message: ChatMessage) -> Message:
    is_tool = role == "tool"
    return Message(
        role=role,
        content=message.content,
        tool_calls=tuple(call.call() for call in message.tool_calls or ()),
        tool_call_id=message.tool_call_id if is_tool else None,
        name=message.name if is_tool else None,
    )


def _misplaced(where: int, field: str, problem: str) -> RequestError:
    return RequestError(400, problem, param=f"messages[{where}].{field}")


def _without_neutral(values: dict[str, Any]) -> dict[str, Any]:
    """The request without fields that ask for nothing; refuses those that ask for something."""
    known = list(ChatRequest.model_fields)
    kept = _keep_known(values, _NEUTRAL, known, "")
    messages = values.get("messages")
    if isinstance(messages, list):
        if len(messages) > MAX_MESSAGES:
            raise RequestError(
                400, f"messages: at most {MAX_MESSAGES} are allowed", param="messages"
            )
        known = list(ChatMessage.model_fields)
        kept["messages"] = [
            _with_content(_keep_known(message, _NEUTRAL_IN_MESSAGE, known, f"messages[{number}]."))
            if isinstance(message, dict)
            else message
            for number, message in enumerate(messages)
        ]
    return kept


def _with_content(message: dict[str, Any]) -> dict[str, Any]:
    """Beside calls of tools OpenAI's messages may say nothing; models see an empty text."""
    silent = bool(message.get("tool_calls")) and message.get("content") is None
    return {**message, "content": ""} if silent else message


def _keep_known(
    values: dict[str, Any], neutral: dict[str, tuple[Any, ...]], known: list[str], where: str
) -> dict[str, Any]:
    if len(values) > _MAX_KEYS:
        raise RequestError(400, f"{where or 'the body '}has more than {_MAX_KEYS} fields")
    kept: dict[str, Any] = {}
    for key, value in values.items():
        if key in known:
            kept[key] = value
        elif key not in neutral:
            close = difflib.get_close_matches(key[:64], known, n=1, cutoff=0.6)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            param = where + key[:64]
            raise RequestError(
                400, f"unknown parameter {param!r}{hint}", param=param, code="unknown_parameter"
            )
        elif value is not None and not any(_same(value, nothing) for nothing in neutral[key]):
            raise RequestError(
                400,
                f"{where}{key}={_short(value)} is not supported by this server; leave it out",
                param=where + key,
                code="unsupported_parameter",
            )
    return kept


def _same(value: Any, nothing: Any) -> bool:
    return value == nothing and isinstance(value, bool) == isinstance(nothing, bool)


def _refusal(error: ValidationError) -> RequestError:
    problem = error.errors(include_url=False)[0]
    param = ""
    for part in problem["loc"]:
        param += f"[{part}]" if isinstance(part, int) else f"{'.' if param else ''}{part}"
    if problem["type"] == "missing":
        return RequestError(
            400, f"{param} is required", param=param, code="missing_required_parameter"
        )
    given = (
        "" if problem["type"] in ("content", "tool") else f" (given: {_short(problem['input'])})"
    )
    return RequestError(400, f"{param}: {problem['msg']}{given}", param=param, code="invalid_value")


def _short(value: Any) -> str:
    if isinstance(value, dict | list):
        return f"{type(value).__name__} of {len(value)}"
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "…"
