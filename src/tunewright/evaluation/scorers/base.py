"""What a scorer sees, says and is."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from statistics import median
from typing import Literal, NamedTuple

from tunewright.config.evaluation import ScoringConfig
from tunewright.core.messages import ToolCall
from tunewright.core.store import Store
from tunewright.evaluation.scorers.normal import has_unspaced, pieces
from tunewright.evaluation.statistics.bootstrap import ratio
from tunewright.evaluation.statistics.comparison import Total
from tunewright.grading.results import NoGrade, parsed
from tunewright.grading.rules import numbers

FINISHED = "stop"
"""The finish reason of an answer that ended by itself, as in OpenAI's protocol."""
_LONG = 8
_BARE_NUMBER = 12


@dataclass(frozen=True, slots=True)
class Sample:
    """One answer with all that a scorer may look at.

    Attributes:
        answer: what was said.
        reference: what should have been said.
        finish_reason: ``stop`` where the answer ended by itself.
        question: the last user turn.
        log_likelihood: of the reference under the responder, in nats, and its tokens; None where
            the responder cannot tell.
        required: phrases of this question that the answer must say.
        forbidden: phrases that it must not say.
        calls: functions that the answer calls.
        wanted: those that it should call; None where none is on offer.
    """

    answer: str
    reference: str
    finish_reason: str = FINISHED
    question: str = ""
    log_likelihood: tuple[float, int] | None = None
    required: tuple[str, ...] = ()
    forbidden: tuple[str, ...] = ()
    calls: tuple[ToolCall, ...] = ()
    wanted: tuple[ToolCall, ...] | None = None


class Value(NamedTuple):
    """What a scorer says of one answer.

    Attributes:
        value: of this answer by itself.
        parts: what is summed over answers; (value, 1) where there are none.
    """

    value: float
    parts: tuple[float, ...] = ()


Score = Callable[[Sequence[Sample]], Sequence[Value | None]]
"""Answers → what each is worth; None where the scorer has nothing to say."""


@dataclass(frozen=True)
class Material:
    """What is to be scored, and what may be used for it.

    Attributes:
        references: of all questions.
        labels: the classes, where every reference is one.
        likely: whether all responders tell how likely a reference is, over the same tokens.
        config: what the user asked for.
        store: has the settings that endpoints need.
        phrased: ``required`` or ``forbidden``, where questions bring such phrases of their own.
        tools: whether questions offer functions.
    """

    references: Sequence[str]
    labels: tuple[str, ...] = ()
    likely: bool = False
    config: ScoringConfig = field(default_factory=ScoringConfig)
    store: Store | None = None
    phrased: frozenset[str] = frozenset()
    tools: bool = False

    @cached_property
    def chinese(self) -> bool:
        """Whether most references are in a script without spaces."""
        return 2 * sum(map(has_unspaced, self.references)) > len(self.references)

    @cached_property
    def numeric(self) -> bool:
        """Whether every reference is a number, give or take a unit."""
        return bool(self.references and not self.json) and all(
            len(text) <= _BARE_NUMBER and len(numbers(text)) == 1 for text in self.references
        )

    @cached_property
    def json(self) -> bool:
        """Whether every reference is a JSON object or array."""
        return bool(self.references) and all(map(_is_json, self.references))

    @cached_property
    def prose(self) -> bool:
        """Whether references are free text, usually a sentence at least."""
        if not self.references or self.labels or self.json or self.numeric:
            return False
        return median(len(pieces(text)) for text in self.references) >= _LONG


def _is_json(text: str) -> bool:
    try:
        return isinstance(parsed(text), dict | list)
    except NoGrade:
        return False


@dataclass(frozen=True)
class Scorer:
    """One entry of the table.

    Attributes:
        open: material → the function that scores; refuses what cannot work.
        suits: whether it is chosen by itself for this material.
        needs: what it cannot do without, in words for refusals.
        better: which direction is.
        range: least and most.
        binary: whether every value is 0 or 1, so that a proportion's interval applies.
        total: the metric from sums of parts.
    """

    open: Callable[[Material], Score]
    suits: Callable[[Material], bool]
    needs: str = "a reference"
    better: Literal["higher", "lower"] = "higher"
    range: tuple[float, float] = (0.0, 1.0)
    binary: bool = False
    total: Total = ratio


@dataclass(frozen=True)
class Metric:
    """A scorer that is open: one column of scores."""

    name: str
    scorer: Scorer
    score: Score

    @property
    def sign(self) -> int:
        """1 where more is better, −1 where less is."""
        return 1 if self.scorer.better == "higher" else -1

    @property
    def share(self) -> bool:
        """Whether it lies in 0..1 and reads as a percentage."""
        return self.scorer.range == (0.0, 1.0)


def each(score: Callable[[str, str], float]) -> Callable[[Material], Score]:
    """Opens a scorer that looks at one answer and its reference at a time."""

    def run(samples: Sequence[Sample]) -> list[Value | None]:
        return [Value(score(one.answer, one.reference)) for one in samples]

    return lambda material: run


def checked(value: float, bounds: tuple[float, float]) -> float | None:
    """A value if it is a number within bounds."""
    return value if math.isfinite(value) and bounds[0] <= value <= bounds[1] else None


def always(material: Material) -> bool:
    """Suits whatever is asked."""
    return True


def on_demand(material: Material) -> bool:
    """Is taken only when it is named, or given what it needs."""
    return False
