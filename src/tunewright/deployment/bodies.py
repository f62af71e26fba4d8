"""What all request bodies have in common: strictness, clear refusals, and how answers are drawn.

Wire format: https://platform.openai.com/docs/api-reference.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal, Self

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
from tunewright.deployment.replies import RequestError

BASE_NAME = "base"
"""What an engine calls the base itself; adapters go by their model's id."""
MAX_BODY_BYTES = 2 * 1024 * 1024
MAX_TOKENS = 32768
MAX_ANSWERS = 128
MAX_BIASES = 1024
_MAX_KEYS = 64
_SEEDS = 2**63

Reporting = Literal["never", "last", "always"]
"""Which chunks of a stream carry token counts."""

Neutral = Mapping[str, tuple[Any, ...]]
"""Fields of OpenAI's that are not implemented, with the values that ask for nothing.

null always asks for nothing. Any other value is refused rather than silently ignored.
"""


def _stops(value: Any) -> Any:
    return [value] if isinstance(value, str) else value or []


def _biases(value: Any) -> Any:
    """Token ids come as text, for JSON has no other keys."""
    if not isinstance(value, dict):
        return value
    if len(value) > MAX_BIASES:
        raise PydanticCustomError("bias", f"at most {MAX_BIASES} tokens are allowed")
    for key in value:
        if not (isinstance(key, str) and key.isascii() and key.isdigit() and len(key) < 10):
            raise PydanticCustomError("bias", "the keys must be token ids")
    return {int(key): bias for key, bias in value.items()}


_STOP_SCHEMA = {
    "anyOf": [
        {"type": "string", "minLength": 1, "maxLength": 256},
        {"type": "array", "items": {"type": "string", "minLength": 1}, "maxItems": 4},
        {"type": "null"},
    ]
}
_BIAS_SCHEMA = {
    "anyOf": [
        {
            "type": "object",
            "additionalProperties": {"type": "number", "minimum": -100, "maximum": 100},
            "maxProperties": MAX_BIASES,
        },
        {"type": "null"},
    ]
}
StopText = Annotated[str, StringConstraints(min_length=1, max_length=256)]
Stops = Annotated[list[StopText], BeforeValidator(_stops), WithJsonSchema(_STOP_SCHEMA)]
ShortText = Annotated[str, StringConstraints(max_length=512)]
Label = Annotated[str, StringConstraints(max_length=64)]
_Bias = Annotated[float, Field(ge=-100, le=100)]
Biases = Annotated[dict[int, _Bias] | None, BeforeValidator(_biases), WithJsonSchema(_BIAS_SCHEMA)]


class Strict(BaseModel):
    """A JSON object without unknown keys and without conversions."""

    model_config = ConfigDict(
        extra="forbid", strict=True, allow_inf_nan=False, use_attribute_docstrings=True
    )


class StreamOptions(Strict):
    """Options of a streamed reply."""

    include_usage: bool | None = None
    """Send token counts in a last chunk without choices."""
    continuous_usage_stats: bool | None = None
    """Send the token counts so far with every chunk too; vLLM's name."""
    include_obfuscation: bool | None = None
    """Accepted; nothing is padded."""


class Body(Strict):
    """A request body that names a model."""

    path: ClassVar[str]
    """Where it goes, behind the API's own path."""
    at_root: ClassVar[bool] = False
    """Whether the path is beside the API's own."""
    neutral: ClassVar[Neutral] = {}
    unused: ClassVar[frozenset[str]] = frozenset()

    model: Annotated[str, StringConstraints(min_length=1, max_length=512)]
    """A name or id from ``GET /v1/models``."""

    @classmethod
    def parse(cls, body: bytes) -> Self:
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
            request = cls.model_validate(cls.without_neutral(values))
        except ValidationError as error:
            raise refusal(error) from None
        request.check()
        return request

    @classmethod
    def without_neutral(cls, values: dict[str, Any]) -> dict[str, Any]:
        """The request without fields that ask for nothing; refuses what asks for something."""
        return keep_known(values, cls.neutral, list(cls.model_fields), "")

    def check(self) -> None:
        """What no single field shows.

        Raises:
            RequestError: 400.
        """

    def wire(self, model: str) -> dict[str, Any]:
        """The request as JSON values for an engine that knows the model as ``model``."""
        values: dict[str, Any] = self.model_dump(
            by_alias=True, exclude_none=True, exclude_defaults=True, exclude=set(self.unused)
        )
        return {**values, "model": model}


class GenerationBody(Body):
    """A request for answers that are drawn token by token."""

    temperature: float | None = Field(default=None, ge=0, le=2)
    """Spread of the draw. Not given means 0: the likeliest answer, as evaluations measure it."""
    top_p: float | None = Field(default=None, ge=0, le=1)
    """Draw from the likeliest tokens that hold this share."""
    n: int | None = Field(default=None, ge=1, le=MAX_ANSWERS)
    """How many answers to draw; they share the reading of the prompt."""
    seed: int | None = Field(default=None, ge=-_SEEDS, lt=_SEEDS)
    """Makes a draw repeatable."""
    stop: Stops = Field(default=[], max_length=4)
    """Texts that end the answer; they are not part of it."""
    presence_penalty: float | None = Field(default=None, ge=-2, le=2)
    """Taken once from the logit of every token that the answer already holds."""
    frequency_penalty: float | None = Field(default=None, ge=-2, le=2)
    """Taken from a token's logit as often as the answer already holds it."""
    logit_bias: Biases = None
    """Added to the logits of tokens, by id: -100 bans a token, 100 makes it all but certain."""
    stream: bool | None = None
    """Send the answer as server-sent events while it is made."""
    stream_options: StreamOptions | None = None

    @property
    def answers(self) -> int:
        """How many answers each prompt gets."""
        return self.n or 1

    @property
    def reports_usage(self) -> Reporting:
        """Which chunks of a stream carry token counts."""
        if self.stream_options is None or not self.stream_options.include_usage:
            return "never"
        return "always" if self.stream_options.continuous_usage_stats else "last"

    def check(self) -> None:
        """Options of a stream are for streams."""
        if self.stream_options is not None and not self.stream:
            raise RequestError(
                400, "stream_options is only allowed with stream=true", param="stream_options"
            )

    def drawn(self, limit: int, choices: Sequence[str] = ()) -> GenerationConfig:
        """How to draw an answer of at most ``limit`` tokens."""
        top_p = 1.0 if self.top_p is None else self.top_p
        # A share of nothing still holds the likeliest token: OpenAI's top_p=0 is greedy.
        temperature = (self.temperature or 0.0) if top_p > 0 else 0.0
        return GenerationConfig(
            choices=tuple(choices),
            max_new_tokens=max(1, limit),
            temperature=temperature,
            top_p=top_p or 1.0,
            seed=None if self.seed is None else self.seed % _SEEDS,
            stop=tuple(self.stop),
        )


# Refusals ------------------------------------------------------------------------------------


def keep_known(
    values: dict[str, Any], neutral: Neutral, known: Sequence[str], where: str
) -> dict[str, Any]:
    """The values of known keys; ``where`` stands before a key in a refusal.

    Raises:
        RequestError: 400 for an unknown key, or one that asks for what is not implemented.
    """
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
            raise unsupported(where + key, value)
    return kept


def unsupported(param: str, value: Any) -> RequestError:
    """The refusal of a value that no part of this server acts on."""
    return RequestError(
        400,
        f"{param}={short(value)} is not supported by this server; leave it out",
        param=param,
        code="unsupported_parameter",
    )


def _same(value: Any, nothing: Any) -> bool:
    return value == nothing and isinstance(value, bool) == isinstance(nothing, bool)


_SPEAKING = ("content", "tool", "bias", "format", "prompt")
"""Our own kinds of errors, whose messages say all; the others show what was given."""


def refusal(error: ValidationError) -> RequestError:
    """The first problem that pydantic found, in OpenAI's shape."""
    problem = error.errors(include_url=False)[0]
    param = ""
    for part in problem["loc"]:
        param += f"[{part}]" if isinstance(part, int) else f"{'.' if param else ''}{part}"
    if problem["type"] == "missing":
        return RequestError(
            400, f"{param} is required", param=param, code="missing_required_parameter"
        )
    given = "" if problem["type"] in _SPEAKING else f" (given: {short(problem['input'])})"
    return RequestError(400, f"{param}: {problem['msg']}{given}", param=param, code="invalid_value")


def short(value: Any) -> str:
    """A value in a few characters, for a message."""
    if isinstance(value, dict | list):
        return f"{type(value).__name__} of {len(value)}"
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "…"
