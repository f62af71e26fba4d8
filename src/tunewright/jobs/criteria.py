"""Testing criteria of evals: graders by rules, and judges that are models of this server."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Self

from pydantic import Field, ValidationError, model_validator

from tunewright.config.grading import (
    JudgeMessage,
    NamedGrader,
    ScoreModelGrader,
    TextSimilarityGrader,
    parse_grader,
)
from tunewright.core.errors import ConfigError
from tunewright.endpoints.endpoint import Reply as Said
from tunewright.grading.judges import SCORE_SCHEMA, read_score, score_prompt
from tunewright.grading.results import Case, Grade, NoGrade
from tunewright.grading.table import open_grader
from tunewright.grading.templates import template
from tunewright.jobs.answering import Cost, cost
from tunewright.jobs.asking import Reply

TYPES = ("string_check", "text_similarity", "label_model", "score_model")
_TOKENS = 1024
_TRIES = 2
AskModel = Callable[[dict[str, Any]], Awaitable[Reply]]
"""The body of a chat request → its reply."""


class LabelModelGrader(NamedGrader):
    """Which of several labels a judge gives an answer."""

    type: Literal["label_model"]
    model: str = Field(min_length=1)
    """The judge, a model of this server."""
    input: tuple[JudgeMessage, ...] = Field(min_length=1)
    """Its prompt; the labels are added to the last message."""
    labels: tuple[str, ...] = Field(min_length=2, max_length=100)
    """What it may say."""
    passing_labels: tuple[str, ...] = Field(min_length=1)
    """Those that mean that the answer passes."""

    @model_validator(mode="after")
    def _among_the_labels(self) -> Self:
        if not all(label.strip() for label in self.labels) or len(set(self.labels)) < len(
            self.labels
        ):
            raise ValueError("labels must be different texts, none of them empty")
        if strange := sorted(set(self.passing_labels) - set(self.labels)):
            raise ValueError(f"passing_labels: {strange[0]!r} is none of the labels")
        return self


@dataclass(frozen=True)
class Verdict:
    """What one criterion says of one answer.

    Attributes:
        score: as the grader gives it; a label's is 1 or 0.
        passed: whether the answer passes; False where there is no grade.
        failed: why there is no grade, in words; None where there is one.
        sample: what the judge was asked and said, for judges.
        costs: what asking it took.
    """

    score: float
    passed: bool
    failed: str | None = None
    sample: dict[str, Any] | None = None
    costs: tuple[Cost, ...] = ()


@dataclass(frozen=True)
class Criterion:
    """One criterion.

    Attributes:
        grader: its grader.
        judge: the model that it asks; None for rules.
    """

    grader: Any
    judge: str | None = None
    _score: Callable[[Sequence[Case]], list[Grade]] | None = field(default=None, repr=False)

    @property
    def name(self) -> str:
        """What its results are called."""
        return str(self.grader.label)

    async def judged(self, case: Case, ask: AskModel) -> Verdict:
        """What it says of an answer."""
        if isinstance(self.grader, LabelModelGrader):
            return await _labelled(self.grader, case, ask)
        if isinstance(self.grader, ScoreModelGrader):
            return await _scored(self.grader, case, ask)
        if self._score is None:
            raise ConfigError(f"criterion {self.name} has no scorer")
        (grade,) = await asyncio.to_thread(self._score, [case])
        return _verdict(self.grader, grade)


def parse_criterion(values: dict[str, Any]) -> Criterion:
    """A criterion from plain values.

    Raises:
        ConfigError: naming what is unknown, missing or out of bounds; also for one that would run
            code or have the server ask another one.
    """
    kind = values.get("type")
    grader: Any
    if kind == "label_model":
        grader = _label_grader(values)
    elif kind in TYPES or kind == "python":
        grader = parse_grader(values)
    else:
        raise ConfigError(f"type must be one of {', '.join(TYPES)}, not {str(kind)[:64]!r}")
    if getattr(grader, "endpoint", None) or getattr(grader, "key_file", None):
        raise ConfigError(f"criterion {grader.label}: judges are models of this server, by name")
    if isinstance(grader, LabelModelGrader | ScoreModelGrader):
        for message in grader.input:
            template(message.content)
        return Criterion(grader, grader.model)
    if isinstance(grader, TextSimilarityGrader) and grader.pass_threshold is None:
        raise ConfigError(f"criterion {grader.label}: pass_threshold is required")
    return Criterion(grader, None, open_grader(grader))


def _label_grader(values: dict[str, Any]) -> LabelModelGrader:
    try:
        return LabelModelGrader.model_validate(values)
    except ValidationError as error:
        problem = error.errors()[0]
        where = ".".join(("label_model", *(str(part) for part in problem["loc"])))
        raise ConfigError(f"{where}: {problem['msg'].removeprefix('Value error, ')}") from None


def _verdict(grader: Any, grade: Grade) -> Verdict:
    if grade.failed:
        return Verdict(0.0, passed=False, failed=", ".join(grade.errors.names()))
    return Verdict(grade.score, passed=grade.score >= _threshold(grader))


def _threshold(grader: Any) -> float:
    """From which score on an answer passes: as asked, else half of what can be had."""
    asked = getattr(grader, "pass_threshold", None)
    if asked is not None:
        return float(asked)
    low, high = grader.range if isinstance(grader, ScoreModelGrader) else (0.0, 2.0)
    return (float(low) + float(high)) / 2


# Judges ----------------------------------------------------------------------------------------


async def _scored(grader: ScoreModelGrader, case: Case, ask: AskModel) -> Verdict:
    """A judge's number; one that says none is asked once more."""
    try:
        messages = list(score_prompt(grader)(case))
    except NoGrade as none:
        return _verdict(grader, none.grade)
    sampling = grader.sampling_params
    drawn = sampling.model_dump(include={"temperature", "top_p", "seed"}, exclude_none=True)
    schema = {"name": "score", "schema": SCORE_SCHEMA, "strict": True}
    body = {
        **{"model": grader.model, "messages": messages, **drawn},
        "max_tokens": sampling.max_completions_tokens or _TOKENS,
        "response_format": {"type": "json_schema", "json_schema": schema},
    }
    costs: list[Cost] = []
    verdict = Verdict(0.0, passed=False)
    for _ in range(_TRIES):
        reply = await ask(body)
        costs.append(cost(reply, grader.model))
        if reply.status != 200:
            return _unanswered(reply, costs)
        text = answer_text(reply)
        verdict = _verdict(grader, read_score(Said([text], None, None), grader.range))
        if verdict.failed is None:
            break
    return Verdict(
        verdict.score, verdict.passed, verdict.failed, _judge_sample(body, reply), tuple(costs)
    )


async def _labelled(grader: LabelModelGrader, case: Case, ask: AskModel) -> Verdict:
    """A judge's label, to which its reply is held where the judge's server can do so."""
    try:
        messages = [
            {"role": one.role, "content": template(one.content).fill(case)} for one in grader.input
        ]
    except NoGrade as none:
        return _verdict(grader, none.grade)
    listed = json.dumps(list(grader.labels), ensure_ascii=False)
    messages[-1]["content"] += f"\n\nReply with one of these labels and nothing else: {listed}"
    body = {"model": grader.model, "messages": messages, "guided_choice": list(grader.labels)}
    reply = await ask(body)
    costs = [cost(reply, grader.model)]
    if reply.status == 400:
        free = {key: value for key, value in body.items() if key != "guided_choice"}
        reply = await ask({**free, "max_tokens": _TOKENS})
        costs.append(cost(reply, grader.model))
    if reply.status != 200:
        return _unanswered(reply, costs)
    sample = _judge_sample(body, reply)
    label = _label(answer_text(reply), grader.labels)
    if label is None:
        failed = "model_grader_parse_error"
        return Verdict(0.0, passed=False, failed=failed, sample=sample, costs=tuple(costs))
    passed = label in grader.passing_labels
    return Verdict(float(passed), passed, None, {**sample, "label": label}, tuple(costs))


def _label(text: str, labels: Sequence[str]) -> str | None:
    """The label that a text is, or the only one that stands in it."""
    said = text.strip().strip("\"'`.。 \n")
    if said in labels:
        return said
    inside = [label for label in labels if label in text]
    longest = [one for one in inside if not any(one in other != one for other in inside)]
    return longest[0] if len(longest) == 1 else None


def _unanswered(reply: Reply, costs: Sequence[Cost]) -> Verdict:
    why = f"model_grader_server_error: {error_text(reply)}"
    return Verdict(0.0, passed=False, failed=why, costs=tuple(costs))


def _judge_sample(body: dict[str, Any], reply: Reply) -> dict[str, Any]:
    return {
        "input": body["messages"],
        "output": [{"role": "assistant", "content": answer_text(reply)}],
        "model": reply.model,
        "usage": reply.usage,
    }


def answer_text(reply: Reply) -> str:
    """What a chat completion says."""
    choices = reply.body.get("choices") or [{}]
    return str((choices[0].get("message") or {}).get("content") or "")


def error_text(reply: Reply) -> str:
    """What went wrong with a request."""
    return str((reply.body.get("error") or {}).get("message") or "no answer")
