"""OpenAI's chat request as this server accepts it.

Wire format: https://platform.openai.com/docs/api-reference/chat. The API, the gateway and the
engines share this module, so a request means the same to all three.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema
from pydantic_core import PydanticCustomError

from tunewright.config.serving import GenerationConfig
from tunewright.core.messages import Conversation, Message, Role
from tunewright.deployment.bodies import BASE_NAME as BASE_NAME
from tunewright.deployment.bodies import MAX_BODY_BYTES as MAX_BODY_BYTES
from tunewright.deployment.bodies import (
    MAX_TOKENS,
    GenerationBody,
    Label,
    Neutral,
    ShortText,
    Strict,
    keep_known,
    short,
)
from tunewright.deployment.formats import ResponseFormat
from tunewright.deployment.replies import RequestError
from tunewright.deployment.tool_protocol import Calls, ToolChoice, Tools

MAX_MESSAGES = 1024
MAX_PARTS = 256
_NEUTRAL: Neutral = {
    "modalities": (["text"],),
    "service_tier": ("auto", "default"),
    "verbosity": ("medium",),
    "reasoning_effort": ("none",),
    "functions": ([],),
    "function_call": ("none", "auto"),
    "audio": (),
    "moderation": (),
    "prediction": (),
    "web_search_options": (),
}
# What clients send back when they append a reply of ours to the conversation.
_NEUTRAL_IN_MESSAGE: Neutral = {
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
            shown = short(kind if isinstance(part, dict) else part)
            raise PydanticCustomError(
                "content", f"part {number} is of type {shown}; this model reads only 'text' parts"
            )
        if not isinstance(part.get("text"), str) or set(part) - {"type", "text"}:
            raise PydanticCustomError(
                "content", f"part {number} must be {{'type': 'text', 'text': …}}"
            )
    return "".join(part["text"] for part in content)


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
Content = Annotated[str, BeforeValidator(_text), WithJsonSchema(_CONTENT_SCHEMA)]


class ChatMessage(Strict):
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


class ChatRequest(GenerationBody):
    """``POST /v1/chat/completions``."""

    path: ClassVar[str] = "/chat/completions"
    neutral: ClassVar[Neutral] = _NEUTRAL
    unused: ClassVar[frozenset[str]] = frozenset(
        {"user", "safety_identifier", "prompt_cache_key", "store", "metadata"}
    )

    messages: list[ChatMessage] = Field(min_length=1, max_length=MAX_MESSAGES)
    max_tokens: int | None = Field(default=None, ge=1, le=MAX_TOKENS)
    """Longest answer, in tokens; what is left of the model's context when not given."""
    max_completion_tokens: int | None = Field(default=None, ge=1, le=MAX_TOKENS)
    """The newer name of max_tokens; wins over it."""
    guided_choice: Annotated[list[ShortText], Field(min_length=1, max_length=256)] | None = None
    """The answer is one of these texts; vLLM's name, which clients put into extra_body."""
    response_format: ResponseFormat | None = None
    """Hold the answer to JSON, or to a JSON schema."""
    logprobs: bool | None = None
    """Report the log-probability of every token, by the model's own account: before
    temperature, bias and penalties."""
    top_logprobs: int | None = Field(default=None, ge=0, le=20)
    """Report so many of the likeliest tokens beside each; needs logprobs."""
    tools: Tools | None = None
    """Functions offered to the model, for bases whose chat template knows tools."""
    tool_choice: ToolChoice | None = None
    """auto: as the model likes; none: do not offer them; required: the answer is a call; or the
    function that it must call."""
    parallel_tool_calls: bool | None = None
    """false: at most one call."""
    user: ShortText | None = None
    """Accepted; not used."""
    safety_identifier: ShortText | None = None
    """Accepted; not used."""
    prompt_cache_key: ShortText | None = None
    """Accepted; not used: prompts that begin alike share their reading anyway."""
    store: bool | None = None
    """Keep the request and its reply, for `GET /v1/chat/completions`."""
    metadata: dict[Label, ShortText] | None = Field(default=None, max_length=16)
    """Labels of what is stored; not used otherwise."""

    @classmethod
    def without_neutral(cls, values: dict[str, Any]) -> dict[str, Any]:
        """Also looks into the messages."""
        kept = super().without_neutral(values)
        messages = values.get("messages")
        if isinstance(messages, list):
            if len(messages) > MAX_MESSAGES:
                raise RequestError(
                    400, f"messages: at most {MAX_MESSAGES} are allowed", param="messages"
                )
            kept["messages"] = [
                _known(message, number) if isinstance(message, dict) else message
                for number, message in enumerate(messages)
            ]
        return kept

    def check(self) -> None:
        """What excludes or needs what."""
        super().check()
        for param, problem in self._problems():
            raise RequestError(400, problem, param=param, code="invalid_value")
        self.conversation()

    def _problems(self) -> list[tuple[str, str]]:
        choices = self.guided_choice or []
        formed = self.response_format is not None and self.response_format.type != "text"
        names = {tool["function"]["name"] for tool in self.tools or ()}
        named, forced = self.named_tool, self.must_call
        table = {
            "guided_choice": (
                (choices and self.stop, "guided_choice and stop exclude each other"),
                (not all(map(str.strip, choices)), "guided_choice: a choice cannot be empty"),
                (len(set(choices)) < len(choices), "guided_choice names a choice twice"),
                (choices and (formed or forced), "guided_choice leaves no room for another form"),
            ),
            "top_logprobs": (
                (self.top_logprobs and not self.logprobs, "top_logprobs needs logprobs=true"),
            ),
            "tool_choice": (
                (forced and not names, "tool_choice asks for a call, but tools is empty"),
                (
                    named is not None and named not in names,
                    f"tool_choice names {short(named)}, which is not among the tools",
                ),
                (forced and formed, "tool_choice and response_format exclude each other"),
            ),
        }
        return [
            (param, problem)
            for param, rules in table.items()
            for broken, problem in rules
            if broken
        ]

    def conversation(self) -> Conversation:
        """The messages as the model sees them; leading system messages become one.

        Raises:
            RequestError: 400 for an order of messages that no model is trained on.
        """
        roles = _roles(self.messages)
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
        return self.drawn(min(wanted, room), self.guided_choice or ())

    @property
    def named_tool(self) -> str | None:
        """The function that must be called."""
        chosen = self.tool_choice
        return chosen["function"]["name"] if isinstance(chosen, dict) else None

    @property
    def must_call(self) -> bool:
        """Whether the answer has to be a call."""
        return self.tool_choice == "required" or self.named_tool is not None

    @property
    def alternatives(self) -> int | None:
        """How many likely tokens to report beside each drawn one; None reports nothing."""
        return (self.top_logprobs or 0) if self.logprobs else None


def _roles(messages: Sequence[ChatMessage]) -> list[Role]:
    """Instructions alone ask for something too: the last of them stands where chat templates want
    the user's words."""
    roles: list[Role] = ["system" if m.role == "developer" else m.role for m in messages]
    return [*roles[:-1], "user"] if set(roles) == {"system"} else roles


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


def _known(message: dict[str, Any], number: int) -> dict[str, Any]:
    kept = keep_known(
        message, _NEUTRAL_IN_MESSAGE, list(ChatMessage.model_fields), f"messages[{number}]."
    )
    # Beside calls of tools OpenAI's messages may say nothing; models see an empty text.
    silent = bool(kept.get("tool_calls")) and kept.get("content") is None
    return {**kept, "content": ""} if silent else kept
