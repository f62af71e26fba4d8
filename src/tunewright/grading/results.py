"""What is graded, and what a grade is."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from typing import Any

from tunewright.core.store import Store


@dataclass(frozen=True)
class Errors:
    """What went wrong, by OpenAI's names (``metadata.errors`` of graders/run)."""

    formula_parse_error: bool = False
    invalid_variable_error: bool = False
    model_grader_parse_error: bool = False
    model_grader_refusal_error: bool = False
    model_grader_server_error: bool = False
    model_grader_server_error_details: str | None = None
    other_error: bool = False
    python_grader_runtime_error: bool = False
    python_grader_runtime_error_details: str | None = None
    python_grader_server_error: bool = False
    python_grader_server_error_type: str | None = None
    sample_parse_error: bool = False
    truncated_observation_error: bool = False
    unresponsive_reward_error: bool = False

    def data(self) -> dict[str, bool | str | None]:
        """As JSON values."""
        return asdict(self)

    def names(self) -> tuple[str, ...]:
        """Those that happened."""
        return tuple(name for name, value in asdict(self).items() if value is True)

    def joined(self, other: Errors) -> Errors:
        """What went wrong with either."""
        mine, theirs = asdict(self), asdict(other)
        return Errors(**{name: mine[name] or theirs[name] for name in mine})


_OF_THE_SAMPLE = {"sample_parse_error"}


@dataclass(frozen=True)
class Grade:
    """What one answer is worth.

    Attributes:
        score: usually 0..1; whatever the grader gives. 0 where there is none.
        sub_scores: of the graders that a multi is made of, by name.
        errors: what went wrong.
        tokens: that judges took, by their model.
        failed: whether the grader gave no score, which says nothing about the answer.
    """

    score: float
    sub_scores: Mapping[str, float] = field(default_factory=dict)
    errors: Errors = Errors()
    tokens: Mapping[str, int] = field(default_factory=dict)

    @property
    def failed(self) -> bool:
        """Whether the grader gave no score; an answer that is no JSON was graded: it is worth 0."""
        return bool(set(self.errors.names()) - _OF_THE_SAMPLE)


class NoGrade(Exception):  # noqa: N818 - it is a verdict on one answer, not an error
    """An answer that gets no score.

    Attributes:
        errors: why.
        tokens: that were spent on it, by model.
    """

    def __init__(self, errors: Errors, tokens: Mapping[str, int] | None = None) -> None:
        super().__init__(", ".join(errors.names()))
        self.errors = errors
        self.tokens = dict(tokens or {})

    @property
    def grade(self) -> Grade:
        """The grade that says so."""
        return Grade(0.0, errors=self.errors, tokens=self.tokens)


@dataclass(frozen=True)
class Case:
    """One answer and the row of its question.

    Attributes:
        sample: the answer.
        item: fields of the row; ``messages`` or ``question`` is what was asked.
    """

    sample: str
    item: Mapping[str, Any]

    @cached_property
    def output_json(self) -> Any:
        """The answer as JSON.

        Raises:
            NoGrade: it is none.
        """
        return parsed(self.sample)


def parsed(text: str) -> Any:
    """A text as JSON; a code fence around it is passed over.

    Raises:
        NoGrade: it is none.
    """
    body = text.strip()
    if body.startswith("```") and body.endswith("```") and "\n" in body:
        body = body[body.index("\n") : -3]
    try:
        return json.loads(body, parse_constant=_no_number)
    except (ValueError, RecursionError):
        raise NoGrade(Errors(sample_parse_error=True)) from None


def _no_number(name: str) -> float:
    raise ValueError(f"{name} is no number in JSON")


@dataclass(frozen=True)
class Means:
    """What graders may use besides the texts.

    Attributes:
        store: holds reward models, and the settings with keys; None grades by rules only.
        device: where reward models run.
    """

    store: Store | None = None
    device: str = "auto"


Scorer = Callable[[Sequence[Case]], list[Grade]]
"""Answers → their grades, in order."""


def each(score: Callable[[Case], float]) -> Scorer:
    """A scorer that looks at one answer at a time."""

    def run(cases: Sequence[Case]) -> list[Grade]:
        return [_one(score, case) for case in cases]

    return run


def _one(score: Callable[[Case], float], case: Case) -> Grade:
    try:
        return finite(Grade(score(case)))
    except NoGrade as none:
        return none.grade


def finite(grade: Grade) -> Grade:
    """The grade, or one that says that its score is no number."""
    if math.isfinite(grade.score):
        return grade
    return replace(grade, score=0.0, errors=replace(grade.errors, other_error=True))
