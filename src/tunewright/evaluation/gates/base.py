"""What a gate looks at, and what it says."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from tunewright.config.evaluation import EvaluateConfig
from tunewright.core.records import Dataset
from tunewright.evaluation.results import Results
from tunewright.evaluation.statistics.comparison import Comparison
from tunewright.evaluation.statistics.significance import SIGNIFICANCE
from tunewright.evaluation.texts import Texts
from tunewright.evaluation.tiers import Tier

LEAST_GROUPS: Final = 10
"""Below this many independent groups a bootstrap interval is too narrow to be believed."""
LEAST_GAIN: Final = 0.03
"""The smallest improvement worth having; once it is ruled out, the answer is no."""
LEAST_SHARE: Final = 0.95
"""Share of answers that must end by themselves, or have the form asked for."""


@dataclass(frozen=True)
class Evidence:
    """What gates know besides the results.

    Attributes:
        tiers: of every test question, how far it is from what was trained on; by its place.
        met: by challenger, places of test questions that stand in its training rows; a
            challenger whose training rows are unknown is not there.
        held: whether answers were held to the dataset's labels.
        candidates: whom the verdict is about; every challenger where nobody is named.
        recipes: by challenger, the options of the run that it comes from.
    """

    tiers: Sequence[Tier] = ()
    met: Mapping[str, Sequence[int]] = field(default_factory=dict)
    held: bool = False
    candidates: Sequence[str] = ()
    recipes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True)
class Case:
    """One challenger's case, or that of somebody who was asked alone.

    Attributes:
        responder: whom the gates are about.
        results: of everybody.
        dataset: that the questions are from.
        texts: in whose language gates speak.
        more: what is known besides.
    """

    responder: str
    results: Results
    dataset: Dataset
    texts: Texts
    more: Evidence = Evidence()

    @property
    def config(self) -> EvaluateConfig:
        """Of the evaluation."""
        return self.results.config

    @property
    def alone(self) -> bool:
        """Whether there is nobody to compare with."""
        return not self.results.challengers


@dataclass(frozen=True, slots=True)
class Gate:
    """What one gate says.

    Attributes:
        name: of the gate.
        responder: whom it is about.
        passed: None where the evidence does not decide.
        evidence: in words, with numbers.
        prescription: what to do, where it did not pass.
        numbers: the evidence for machines; intervals as ``[low, high]``.
        blocks: whether the verdict waits for it while it is open.
    """

    name: str
    responder: str
    passed: bool | None
    evidence: str
    prescription: str = ""
    numbers: Mapping[str, Any] = field(default_factory=dict)
    blocks: bool = False

    def json(self) -> dict[str, Any]:
        """As stored in the record."""
        return {
            "passed": self.passed,
            "evidence": self.evidence,
            "prescription": self.prescription,
            **({"numbers": dict(self.numbers)} if self.numbers else {}),
        }


Judge = Callable[[Case], Gate | None]
"""One gate; None where it has nothing to do with the case."""


def decide(seen: Comparison, binary: bool, least: float = LEAST_GAIN) -> bool | None:
    """Whether the difference is an improvement; None when the questions cannot tell.

    Where only a handful of 0/1 answers differ, the percentile interval leaves zero too early
    (four wins in four hundred do it), so the exact sign test has to agree.

    Args:
        seen: the comparison.
        binary: whether the metric is 0 or 1.
        least: the smallest gain worth having.
    """
    if seen.groups < LEAST_GROUPS:
        return None
    low, high = seen.gain_interval
    if low > 0:
        return True if not binary or seen.p < SIGNIFICANCE else None
    return False if high < least else None


def least_gain(case: Case, seen: Comparison) -> float:
    """The smallest gain worth having, in the headline's own unit."""
    metric = case.results.test.metric(case.results.headline)
    return LEAST_GAIN if metric.share else LEAST_GAIN * abs(seen.baseline)


def comparison_numbers(seen: Comparison) -> dict[str, Any]:
    """A comparison as numbers that JSON can hold."""
    interval = [bound if math.isfinite(bound) else None for bound in seen.interval]
    return {
        "before": seen.baseline,
        "after": seen.score,
        "delta": seen.delta,
        "interval": interval,
        "questions": seen.questions,
        "groups": seen.groups,
        "wins": seen.wins,
        "ties": seen.ties,
        "losses": seen.losses,
        "p": seen.p,
    }
