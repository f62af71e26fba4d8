"""Verdicts: what judges said of every pair of answers, and how far that can be trusted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from tunewright.evaluation.judging.rubric import Choice, Rubric, Ruling

EVEN: Final = 0.5
"""The value of an answer that is as good as the baseline's."""
_SHOWN_FIRST: Final[dict[Choice, float]] = {"A": 1.0, "tie": EVEN, "B": 0.0}


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a judge makes of one challenger's answer to one question.

    Attributes:
        outcome: 1 better than the baseline's, 0 worse, 0.5 as good or contradicted by the other
            order; None where a reply could not be read.
        rulings: with the baseline's answer first, and with the challenger's first; None and None
            for equal answers, which nobody is asked about.
        same: whether the answers are equal.
    """

    outcome: float | None
    rulings: tuple[Ruling | None, Ruling | None] = (None, None)
    same: bool = False

    @property
    def flipped(self) -> bool | None:
        """Whether the order changed the verdict; None where there are not two."""
        one, other = self.rulings
        return None if one is None or other is None else worth(one, 0) != worth(other, 1)


@dataclass(frozen=True, slots=True)
class Spent:
    """What verdicts took.

    Attributes:
        requests: behind all verdicts, also those known from before.
        now: of these, sent in this evaluation.
        prompt_tokens: of all of them.
        completion_tokens: of all of them.
        money: at the given prices; None without them.
    """

    requests: int
    now: int
    prompt_tokens: int
    completion_tokens: int
    money: float | None


@dataclass(frozen=True)
class Sitting:
    """One judge's verdicts.

    Attributes:
        judge: its reference.
        metric: the name under which its verdicts are scores.
        verdicts: by challenger, in the order of the questions.
        spent: on them.
    """

    judge: str
    metric: str
    verdicts: dict[str, list[Verdict]]
    spent: Spent


@dataclass(frozen=True)
class Panel:
    """All judges.

    Attributes:
        rubric: that they judged by.
        sittings: in the order in which the judges were named.
    """

    rubric: Rubric
    sittings: Sequence[Sitting]


def worth(ruling: Ruling, challenger_first: int) -> float:
    """What a ruling is worth to the challenger: 1, 0.5 or 0."""
    first = _SHOWN_FIRST[ruling.choice]
    return first if challenger_first else 1.0 - first


@dataclass(frozen=True, slots=True)
class Reliability:
    """How far a judge's verdicts on one challenger can be trusted.

    Attributes:
        pairs: of answers that differ, each asked about in both orders.
        same: pairs of equal answers.
        unreadable: pairs without a verdict.
        flips: share of the pairs with two verdicts in which the order changed it.
        first: share of decided replies that chose the answer shown first; 0.5 is fair.
    """

    pairs: int
    same: int
    unreadable: int
    flips: float | None
    first: float | None


def reliability(verdicts: Sequence[Verdict]) -> Reliability:
    """Counts over one challenger's verdicts."""
    asked = [one for one in verdicts if not one.same]
    flips = [one.flipped for one in asked if one.flipped is not None]
    chosen = [r.choice for one in asked for r in one.rulings if r is not None and r.choice != "tie"]
    return Reliability(
        pairs=len(asked),
        same=len(verdicts) - len(asked),
        unreadable=sum(one.outcome is None for one in asked),
        flips=sum(flips) / len(flips) if flips else None,
        first=chosen.count("A") / len(chosen) if chosen else None,
    )
