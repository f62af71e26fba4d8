"""What a client asks for when it creates a fine-tuning job, and the recipe that it stands for.

Wire format: https://platform.openai.com/docs/api-reference/fine-tuning. Options of ours travel in a
``tunewright`` object of the body, which OpenAI's client sends with ``extra_body``.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictFloat, StrictInt, model_validator

from tunewright.config.base import merge
from tunewright.config.data import ChecksConfig
from tunewright.config.grading import MultiGrader, TextSimilarityGrader, parse_grader
from tunewright.config.training import TrainConfig
from tunewright.core.errors import ConfigError
from tunewright.deployment.replies import RequestError

Auto = Literal["auto"]
Count = Auto | Annotated[StrictInt, Field(ge=1)]
_NOT_BY_CLIENTS = {
    "dataset": "it is made of training_file",
    "base": "name it as 'model'",
    "suffix": "it is a field of the request itself",
    "seed": "it is a field of the request itself",
    "device": "the server decides it",
    "watch.tensorboard": "it is a folder of the server",
    "watch.trackers": "they are the server's accounts",
    "watch.preview": "the server shows no answers to anyone",
    "rl.grader": "it is a field of method.reinforcement",
}
"""Options of a run that no client sets, and why."""
_LONGEST_SUFFIX = 64


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Hyperparameters(_Body):
    """Of every method; ``auto`` leaves them to be chosen."""

    n_epochs: Auto | Annotated[StrictInt, Field(ge=1, le=50)] = "auto"
    batch_size: Auto | Annotated[StrictInt, Field(ge=1, le=256)] = "auto"
    learning_rate_multiplier: Auto | Annotated[StrictFloat | StrictInt, Field(gt=0, le=1000)] = (
        "auto"
    )


class DpoHyperparameters(Hyperparameters):
    """Of preferences."""

    beta: Auto | Annotated[StrictFloat | StrictInt, Field(gt=0, le=2)] = "auto"


class ReinforcementHyperparameters(Hyperparameters):
    """Of graded answers."""

    compute_multiplier: Auto | Annotated[StrictFloat | StrictInt, Field(gt=1e-5, le=10)] = "auto"
    eval_interval: Count = "auto"
    eval_samples: Count = "auto"
    reasoning_effort: Literal["default", "low", "medium", "high"] = "default"


class Supervised(_Body):
    """Learn the answers."""

    hyperparameters: Hyperparameters = Hyperparameters()


class Dpo(_Body):
    """Learn the better one of two answers."""

    hyperparameters: DpoHyperparameters = DpoHyperparameters()


class Reinforcement(_Body):
    """Learn what a grader rewards."""

    grader: dict[str, Any]
    hyperparameters: ReinforcementHyperparameters = ReinforcementHyperparameters()


class Method(_Body):
    """What is learnt, and how."""

    type: Literal["supervised", "dpo", "reinforcement"]
    supervised: Supervised | None = None
    dpo: Dpo | None = None
    reinforcement: Reinforcement | None = None

    @model_validator(mode="after")
    def _its_own_options(self) -> Method:
        for name in ("supervised", "dpo", "reinforcement"):
            if name != self.type and getattr(self, name) is not None:
                raise ValueError(f"type is {self.type!r}, but there are options of {name!r}")
        if self.type == "reinforcement" and self.reinforcement is None:
            raise ValueError("reinforcement needs a grader")
        return self


class CreateJobRequest(_Body):
    """The body of POST /v1/fine_tuning/jobs."""

    model: str = Field(min_length=1, max_length=256)
    training_file: str = Field(min_length=1, max_length=128)
    validation_file: str | None = Field(default=None, min_length=1, max_length=128)
    method: Method | None = None
    hyperparameters: Hyperparameters | None = None
    suffix: str | None = Field(default=None, min_length=1, max_length=_LONGEST_SUFFIX)
    seed: Annotated[StrictInt, Field(ge=0, le=2**31 - 1)] | None = None
    metadata: (
        dict[
            Annotated[str, Field(max_length=64)],
            Annotated[str, Field(max_length=512)],
        ]
        | None
    ) = Field(default=None, max_length=16)
    integrations: list[dict[str, Any]] | None = Field(default=None, max_length=5)
    tunewright: dict[str, Any] | None = None

    @model_validator(mode="after")
    def _one_place_for_hyperparameters(self) -> CreateJobRequest:
        if self.method is not None and self.hyperparameters is not None:
            raise ValueError("give hyperparameters in method, or alone, but not in both")
        return self

    @property
    def kind(self) -> str:
        """supervised, dpo or reinforcement."""
        return self.method.type if self.method else "supervised"

    def asked(self) -> dict[str, Any]:
        """The hyperparameters of the method, ``auto`` where nothing was said."""
        options = getattr(self.method, self.kind) if self.method else None
        chosen = options.hyperparameters if options else self.hyperparameters or _USUAL[self.kind]()
        values: dict[str, Any] = chosen.model_dump()
        return values


_USUAL: dict[str, type[Hyperparameters]] = {
    "supervised": Hyperparameters,
    "dpo": DpoHyperparameters,
    "reinforcement": ReinforcementHyperparameters,
}
_METHODS = {"supervised": "sft", "dpo": "dpo", "reinforcement": "grpo"}
# OpenAI's hyperparameter → our option. What is not named here has no counterpart.
_OPTIONS = {
    "n_epochs": "epochs",
    "batch_size": "batch_rows",
    "learning_rate_multiplier": "optimizer.multiplier",
    "beta": "dpo.beta",
    "eval_interval": "eval_steps",
    "eval_samples": "rl.eval_prompts",
}
_OPTIONS_OF_REINFORCEMENT = {"batch_size": "rl.prompts"}


def recipe_of(request: CreateJobRequest, device: str) -> dict[str, Any]:
    """The options of the run that a request stands for.

    Raises:
        RequestError: 400, naming the option that is wrong.
    """
    ours = {key: value for key, value in (request.tunewright or {}).items() if key != "checks"}
    _refuse_the_servers(ours)
    recipe: dict[str, Any] = {"method": _METHODS[request.kind], "device": device}
    names = {**_OPTIONS, **(_OPTIONS_OF_REINFORCEMENT if request.kind == "reinforcement" else {})}
    for key, value in request.asked().items():
        if value != "auto" and key in names:
            recipe = merge(recipe, _nested(names[key], value))
    if request.method and request.method.reinforcement:
        grader = checked_grader(request.method.reinforcement.grader)
        recipe = merge(recipe, {"rl": {"grader": grader}})
    recipe = merge(recipe, ours)
    if request.seed is not None:
        recipe["seed"] = request.seed
    if request.suffix is not None:
        recipe["suffix"] = _clean(request.suffix)
    _require_valid(recipe)
    return recipe


def checks_of(request: CreateJobRequest) -> dict[str, Any]:
    """What the data gate is to do about what it finds.

    Raises:
        RequestError: 400, naming the option that is wrong.
    """
    checks = (request.tunewright or {}).get("checks", {})
    try:
        if not isinstance(checks, dict):
            raise ConfigError("option 'checks': an object of checks and what to do about them")
        ChecksConfig.build(checks)
    except ConfigError as error:
        raise RequestError(400, f"tunewright.checks: {error.message}", param="tunewright") from None
    return checks


def checked_grader(values: dict[str, Any]) -> dict[str, Any]:
    """A grader that clients may have run here: by rules, or a reward model of this server.

    Raises:
        RequestError: 400; also for one that would have the server ask another one.
    """
    param = "grader"
    try:
        grader = parse_grader(values)
    except ConfigError as error:
        raise RequestError(400, error.message, param=param, code="invalid_grader") from None
    for one in grader.graders.values() if isinstance(grader, MultiGrader) else (grader,):
        cosine = isinstance(one, TextSimilarityGrader) and one.evaluation_metric == "cosine"
        if one.type == "score_model" or cosine or getattr(one, "key_file", None):
            raise RequestError(
                400,
                f"grader {one.label!r} asks another server, which clients cannot have this one do;"
                " graders by rules and reward models are run here",
                param=param,
                code="unsupported_grader",
            )
    return values


def _refuse_the_servers(ours: dict[str, Any]) -> None:
    for name, why in _NOT_BY_CLIENTS.items():
        group, _, last = name.rpartition(".")
        place = ours.get(group, {}) if group else ours
        if isinstance(place, dict) and last in place:
            raise RequestError(
                400, f"tunewright: option {name!r} cannot be set here: {why}", param="tunewright"
            )


def _require_valid(recipe: dict[str, Any]) -> None:
    try:
        TrainConfig.build({**recipe, "dataset": "pending"})
    except ConfigError as error:
        text = f"{error.message} {error.hint}".strip()
        raise RequestError(400, f"tunewright: {text}", param="tunewright") from None


def _nested(name: str, value: Any) -> dict[str, Any]:
    for part in reversed(name.split(".")):
        value = {part: value}
    return dict(value)


def _clean(suffix: str) -> str:
    """What of a suffix a model's name can hold."""
    return re.sub(r"[^\w.-]+", "-", suffix).strip("-") or "model"
