"""Graders as data: what makes an answer good. In OpenAI's JSON where OpenAI has a form for it.

Texts hold ``{{ sample.output_text }}``, ``{{ sample.output_json.name }}`` and ``{{ item.name }}``:
the answer, a field of an answer that is JSON, and a field of the question's row.
"""

from __future__ import annotations

import difflib
import json
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import (
    BeforeValidator,
    Field,
    TypeAdapter,
    ValidationError,
    field_validator,
    model_validator,
)

from tunewright.config.base import StageConfig
from tunewright.config.endpoint import RequestConfig
from tunewright.core.errors import ConfigError

ANSWER = "{{ sample.output_text }}"
REFERENCE = "{{ item.reference_answer }}"
_MOST_BYTES = 1 << 20


class NamedGrader(StageConfig):
    """What every grader has."""

    name: str = Field(default="", max_length=200)
    """What its score is called."""

    @property
    def label(self) -> str:
        """The name, or the type where it has none."""
        return self.name or str(getattr(self, "type", ""))


class StringCheckGrader(NamedGrader):
    """1 where a comparison of two texts holds, else 0."""

    type: Literal["string_check"]
    input: str = ANSWER
    """The text to judge."""
    reference: str = REFERENCE
    """What it is compared with."""
    operation: Literal["eq", "ne", "like", "ilike"] = "eq"
    """eq: the same; ne: not the same; like: holds the reference; ilike: in any case of letters."""


class TextSimilarityGrader(NamedGrader):
    """How alike two texts are, 0..1."""

    type: Literal["text_similarity"]
    input: str = ANSWER
    """The text to judge."""
    reference: str = REFERENCE
    """What it should be like."""
    evaluation_metric: Literal[
        "fuzzy_match", "bleu", "gleu", "cosine", "meteor",
        "rouge_1", "rouge_2", "rouge_3", "rouge_4", "rouge_5", "rouge_l",
    ] = "fuzzy_match"  # fmt: skip
    """fuzzy_match: by edits; bleu, gleu, rouge: by shared words; cosine: by embeddings."""
    pass_threshold: float | None = None
    """Score from which an evaluation counts the answer as passed."""
    endpoint: str | None = None
    """Base URL of an OpenAI-compatible API that makes embeddings (cosine only)."""
    model: str | None = None
    """Embedding model, by the endpoint's name for it (cosine only)."""
    key_file: str | None = None
    """File that holds the endpoint's key; otherwise the variable TUNEWRIGHT_ENDPOINT_KEY."""
    limits: RequestConfig = RequestConfig()

    @model_validator(mode="after")
    def _can_be_computed(self) -> Self:
        if self.evaluation_metric == "meteor":
            raise ValueError(
                "meteor needs WordNet's synonyms, which are not shipped; take rouge_l, gleu or, "
                "with an embedding endpoint, cosine"
            )
        if self.evaluation_metric == "cosine" and not (self.endpoint and self.model):
            raise ValueError("cosine needs an embedding model: give endpoint and model")
        return self


class RegexGrader(NamedGrader):
    """1 where a regular expression matches, else 0."""

    type: Literal["regex"]
    input: str = ANSWER
    """The text to judge."""
    pattern: str = Field(min_length=1, max_length=4096)
    """Regular expression, as Python's regex package reads it; taken as it stands."""
    match: Literal["search", "full"] = "search"
    """search: somewhere in the text; full: the whole text."""


class NumberMatchGrader(NamedGrader):
    """1 where a text's number is the expected one, else 0."""

    type: Literal["number_match"]
    input: str = ANSWER
    """The text to judge."""
    reference: str = REFERENCE
    """The number expected, or a text that ends with it."""
    pick: Literal["last", "first"] = "last"
    """Which number of the text counts."""
    tolerance: float = Field(default=0.0, ge=0)
    """Largest difference that still matches."""
    relative_tolerance: float = Field(default=0.0, ge=0, le=1)
    """The same as a share of the expected number; the larger of both counts."""


class JsonSchemaGrader(NamedGrader):
    """1 where a text is JSON that a schema accepts."""

    type: Literal["json_schema"]
    input: str = ANSWER
    """The text to judge; a code fence around it is passed over."""
    json_schema: dict[str, Any]
    """The JSON schema; references to other documents are refused."""
    partial: bool = False
    """Otherwise the share of required fields that are there and valid."""


class LengthGrader(NamedGrader):
    """1 inside bounds of length; outside the share of the bound that is met."""

    type: Literal["length"]
    input: str = ANSWER
    """The text to judge."""
    minimum: int = Field(default=0, ge=0)
    """Shortest good text."""
    maximum: int | None = Field(default=None, ge=1)
    """Longest good text."""
    unit: Literal["characters", "words"] = "characters"
    """What is counted; a Chinese character is a word of its own."""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.maximum is not None and self.maximum < self.minimum:
            raise ValueError("maximum is less than minimum")
        if self.maximum is None and not self.minimum:
            raise ValueError("give minimum, maximum or both")
        return self


class RewardModelGrader(NamedGrader):
    """The score that a tuned reward model gives the answer to its question."""

    type: Literal["reward_model"]
    model: str = Field(min_length=1)
    """A model of method reward, as ft:… or by its id."""
    scale: Literal["raw", "sigmoid"] = "raw"
    """raw: as the model gives it, of any size; sigmoid: squeezed into 0..1."""


class JudgeMessage(StageConfig):
    """One message of a judge's prompt."""

    role: Literal["system", "developer", "user", "assistant"]
    """Who speaks."""
    content: str
    """What is said, a template."""
    type: Literal["message"] = "message"
    """OpenAI's tag."""

    @field_validator("content", mode="before")
    @classmethod
    def _text(cls, value: Any) -> Any:
        """OpenAI also writes texts as ``{type: input_text, text}``, alone or in a list."""
        parts = value if isinstance(value, list) else [value]
        if all(
            isinstance(part, dict)
            and set(part) == {"type", "text"}
            and isinstance(part["text"], str)
            for part in parts
        ):
            return "\n".join(part["text"] for part in parts)
        return value


class JudgeSampling(StageConfig):
    """How the judge draws, in OpenAI's names."""

    temperature: float | None = Field(default=0.0, ge=0, le=2)
    """Spread of the draw; null leaves it to the endpoint."""
    top_p: float | None = Field(default=None, gt=0, le=1)
    """Nucleus sampling."""
    seed: int | None = None
    """For endpoints that can repeat a draw."""
    max_completions_tokens: int | None = Field(default=None, ge=16)
    """Longest reply, in tokens; 1024 when not given."""
    reasoning_effort: str | None = Field(default=None, max_length=20)
    """For models that reason."""


class ScoreModelGrader(NamedGrader):
    """The score that a judge behind an OpenAI-compatible API gives."""

    type: Literal["score_model"]
    model: str = Field(min_length=1)
    """The judge, by the endpoint's name for it."""
    input: tuple[JudgeMessage, ...] = Field(min_length=1)
    """Its prompt; what to reply with is added to the last message."""
    range: tuple[float, float] = (0.0, 1.0)
    """Lowest and highest score."""
    sampling_params: JudgeSampling = JudgeSampling()
    pass_threshold: float | None = None
    """Score from which an evaluation counts the answer as passed."""
    endpoint: str | None = None
    """Base URL of the API, e.g. http://127.0.0.1:8000/v1."""
    key_file: str | None = None
    """File that holds the endpoint's key; otherwise the variable TUNEWRIGHT_ENDPOINT_KEY."""
    limits: RequestConfig = RequestConfig()

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if not self.range[0] < self.range[1]:
            raise ValueError("range must be [lowest, highest]")
        return self


_REFUSED = {
    "python": "graders run no code of others; say it with regex, number_match, json_schema, "
    "string_check or a formula (multi), or ask a judge (score_model)",
    "endpoint": "a reward server of one's own form is not asked; score_model asks a judge",
    "label_model": "judges give scores here: score_model, with the labels' meanings as numbers",
}


def _known(value: Any) -> Any:
    kind = value.get("type") if isinstance(value, dict) else None
    if isinstance(kind, str) and kind in _REFUSED:
        raise ValueError(f"type {kind}: {_REFUSED[kind]}")
    return value


SingleGrader = Annotated[
    StringCheckGrader
    | TextSimilarityGrader
    | RegexGrader
    | NumberMatchGrader
    | JsonSchemaGrader
    | LengthGrader
    | RewardModelGrader
    | ScoreModelGrader,
    Field(discriminator="type"),
]


class MultiGrader(NamedGrader):
    """Several graders, joined by a formula over their names."""

    type: Literal["multi"]
    graders: dict[str, Annotated[SingleGrader, BeforeValidator(_known)]] = Field(
        min_length=1, max_length=32
    )
    """Name → grader; a list is named by its graders' names."""
    calculate_output: str = Field(min_length=1, max_length=1000)
    """Arithmetic over the names: + - * / **, min, max, abs, floor, ceil, exp, sqrt, log."""

    @field_validator("graders", mode="before")
    @classmethod
    def _by_name(cls, value: Any) -> Any:
        """A list of graders, or a single one, becomes a mapping by name."""
        if isinstance(value, dict) and isinstance(value.get("type"), str):
            value = [value]
        if not isinstance(value, list):
            return value
        named = [(one.get("name") if isinstance(one, dict) else None, one) for one in value]
        if any(not name for name, _ in named) or len(dict(named)) < len(named):
            raise ValueError("graders in a list need a name each, and no two the same")
        return dict(named)

    @field_validator("graders")
    @classmethod
    def _names_can_be_used(cls, value: dict[str, Any]) -> dict[str, Any]:
        for name in value:
            if not name.isidentifier():
                raise ValueError(f"a formula cannot hold the name {name!r}; use letters and _")
        return value


AnyGrader = (
    StringCheckGrader
    | TextSimilarityGrader
    | RegexGrader
    | NumberMatchGrader
    | JsonSchemaGrader
    | LengthGrader
    | RewardModelGrader
    | ScoreModelGrader
    | MultiGrader
)
_ADAPTER: TypeAdapter[AnyGrader] = TypeAdapter(
    Annotated[AnyGrader, Field(discriminator="type"), BeforeValidator(_known)]
)


def parse_grader(values: Any) -> AnyGrader:
    """A grader from plain values.

    Raises:
        ConfigError: naming each field that is unknown, missing or out of bounds.
    """
    try:
        return _ADAPTER.validate_python(values)
    except ValidationError as error:
        lines = [_explain(problem) for problem in error.errors()]
        raise ConfigError("\n".join(lines)) from None


def read_grader(path: Path) -> AnyGrader:
    """A grader from a JSON or YAML file.

    Raises:
        ConfigError: it cannot be read, or holds no grader.
    """
    try:
        with open(path, encoding="utf-8-sig") as file:
            text = file.read(_MOST_BYTES)
        values = json.loads(text) if path.suffix == ".json" else yaml.safe_load(text)
    except (OSError, UnicodeDecodeError, yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConfigError(f"grader file {path}: {error}", "It is JSON or YAML.") from None
    try:
        return parse_grader(values)
    except ConfigError as error:
        raise ConfigError(f"grader file {path}: {error.message}", error.hint) from None


def _from_anything(value: Any) -> Any:
    """A path becomes the grader in that file, so that a recipe keeps what it began with."""
    if value is None or isinstance(value, NamedGrader):
        return value
    try:
        return read_grader(Path(value)) if isinstance(value, str) else parse_grader(value)
    except ConfigError as error:
        raise ValueError(error.message) from None


GraderSource = Annotated[AnyGrader | None, BeforeValidator(_from_anything)]
"""A knob that takes a grader, or the path of a file with one."""


def _explain(problem: Any) -> str:
    loc, kind = problem["loc"], problem["type"]
    where = ".".join(("grader", *(str(part) for part in loc)))
    if kind in ("union_tag_invalid", "union_tag_not_found"):
        return f"{where}: type must be one of {', '.join(_TYPES)}"
    if kind == "extra_forbidden":
        known = sorted(name for cls in _TYPES.values() for name in cls.model_fields)
        for part in loc:
            known = list(_TYPES[part].model_fields) if part in _TYPES else known
        close = difflib.get_close_matches(str(loc[-1]), known, n=1)
        return f"unknown {where}" + (f"; did you mean {close[0]!r}?" if close else "")
    message = problem["msg"].removeprefix("Value error, ")
    return f"{where}: {message}"


_TYPES: dict[str, type[NamedGrader]] = {
    "string_check": StringCheckGrader,
    "text_similarity": TextSimilarityGrader,
    "regex": RegexGrader,
    "number_match": NumberMatchGrader,
    "json_schema": JsonSchemaGrader,
    "length": LengthGrader,
    "reward_model": RewardModelGrader,
    "score_model": ScoreModelGrader,
    "multi": MultiGrader,
}
