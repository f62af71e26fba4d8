"""Requests about plain text: completions, embeddings, tokens.

Wire format: https://platform.openai.com/docs/api-reference/completions and …/embeddings, and
vLLM's ``/tokenize`` and ``/detokenize``.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema
from pydantic_core import PydanticCustomError

from tunewright.config.serving import GenerationConfig
from tunewright.deployment.bodies import (
    MAX_TOKENS,
    Body,
    GenerationBody,
    Neutral,
    ShortText,
)
from tunewright.deployment.protocol import ChatMessage, ChatRequest
from tunewright.deployment.replies import RequestError

MAX_PROMPTS = 128
MAX_INPUTS = 2048
_LARGEST_ID = 2**31
_MOST_IDS = 1_000_000
_DEFAULT_TOKENS = 16

Prompt = str | list[int]
"""A text, or the token ids of one."""


def _prompts(value: Any, most: int) -> list[Prompt]:
    """One or many prompts, as texts or as token ids, always as a list."""
    if isinstance(value, str):
        return [value]
    if not isinstance(value, list) or not value:
        raise PydanticCustomError("prompt", "expected a text, token ids, or a list of either")
    if isinstance(value[0], int) and not isinstance(value[0], bool):
        return [_ids(value)]
    if len(value) > most:
        raise PydanticCustomError("prompt", f"at most {most} are allowed in one request")
    if all(isinstance(one, str) for one in value):
        return list(value)
    return [_ids(one) for one in value]


def _ids(value: Any) -> list[int]:
    if (
        not isinstance(value, list)
        or not value
        or not all(type(token) is int and 0 <= token < _LARGEST_ID for token in value)
    ):
        raise PydanticCustomError("prompt", "token ids must be a list of whole numbers from 0 on")
    return value


_PROMPT_SCHEMA = {
    "anyOf": [
        {"type": "string"},
        {"type": "array", "items": {"type": "string"}, "minItems": 1},
        {"type": "array", "items": {"type": "integer", "minimum": 0}, "minItems": 1},
        {
            "type": "array",
            "items": {
                "type": "array",
                "items": {"type": "integer", "minimum": 0},
                "minItems": 1,
            },
            "minItems": 1,
        },
    ]
}
Prompts = Annotated[
    list[Prompt],
    BeforeValidator(lambda value: _prompts(value, MAX_PROMPTS)),
    WithJsonSchema(_PROMPT_SCHEMA),
]
Inputs = Annotated[
    list[Prompt],
    BeforeValidator(lambda value: _prompts(value, MAX_INPUTS)),
    WithJsonSchema(_PROMPT_SCHEMA),
]


class CompletionRequest(GenerationBody):
    """``POST /v1/completions``: text as it goes on, without a chat template."""

    path: ClassVar[str] = "/completions"
    neutral: ClassVar[Neutral] = {"suffix": (), "best_of": (1,)}
    unused: ClassVar[frozenset[str]] = frozenset({"user"})

    prompt: Prompts
    """A text, token ids, or a list of either."""
    max_tokens: int | None = Field(default=None, ge=0, le=MAX_TOKENS)
    """Longest answer, in tokens; 16 when not given. 0 with echo only looks at the prompt."""
    echo: bool | None = None
    """Give the prompt back in front of the answer."""
    logprobs: int | None = Field(default=None, ge=0, le=5)
    """Report the log-probability of every token, and so many of the likeliest beside it."""
    user: ShortText | None = None
    """Accepted; not used."""

    def check(self) -> None:
        """Bounds that several fields share."""
        super().check()
        if len(self.prompt) * self.answers > MAX_PROMPTS:
            raise RequestError(
                400,
                f"at most {MAX_PROMPTS} answers in one request: prompts times n",
                param="n",
                code="invalid_value",
            )
        if self.max_tokens == 0 and not self.echo:
            raise RequestError(
                400, "max_tokens=0 asks for nothing without echo", param="max_tokens"
            )
        if self.stream and self.echo:
            raise RequestError(400, "echo cannot be streamed", param="echo")

    def generation(self, room: int) -> GenerationConfig:
        """How to draw the answers, with at most ``room`` tokens left in the context."""
        wanted = _DEFAULT_TOKENS if self.max_tokens is None else self.max_tokens
        return self.drawn(min(wanted, room))


class EmbeddingRequest(Body):
    """``POST /v1/embeddings``."""

    path: ClassVar[str] = "/embeddings"
    neutral: ClassVar[Neutral] = {"dimensions": ()}
    unused: ClassVar[frozenset[str]] = frozenset({"user"})

    input: Inputs
    """A text, token ids, or a list of either."""
    encoding_format: Literal["float", "base64"] | None = None
    """base64: float32 numbers, the least significant byte first."""
    user: ShortText | None = None
    """Accepted; not used."""


class TokenizeRequest(Body):
    """``POST /tokenize``: a text's or a conversation's token ids."""

    path: ClassVar[str] = "/tokenize"
    at_root: ClassVar[bool] = True

    prompt: str | None = None
    """A text; give this or messages."""
    add_special_tokens: bool = True
    """Whether what the base's tokenizer puts before every text is added."""
    messages: list[ChatMessage] | None = Field(default=None, max_length=1024)
    """A conversation, with the generation prompt."""

    def check(self) -> None:
        """One of the two."""
        if (self.prompt is None) == (self.messages is None):
            raise RequestError(400, "give either prompt or messages", param="prompt")

    def chat(self) -> ChatRequest:
        """The conversation as a chat request."""
        return ChatRequest(model=self.model, messages=self.messages or [])


class DetokenizeRequest(Body):
    """``POST /detokenize``: the text of token ids."""

    path: ClassVar[str] = "/detokenize"
    at_root: ClassVar[bool] = True

    tokens: list[Annotated[int, Field(strict=True, ge=0, lt=_LARGEST_ID)]] = Field(
        max_length=_MOST_IDS
    )
    """Token ids; those of control tokens are spelled."""
