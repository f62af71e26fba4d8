"""Two accuracies on the same questions: how far apart they are, and how surely."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from tunewright.evaluation.statistics.power import POWER_Z
from tunewright.evaluation.statistics.proportions import LEVEL_Z, wilson
from tunewright.evaluation.statistics.significance import mcnemar


@dataclass(frozen=True, slots=True)
class Paired:
    """Independent questions that two responders answered, by who was right.

    Attributes:
        both: were right.
        lost: only the first was.
        gained: only the second was.
        neither: was right.
    """

    both: int
    lost: int
    gained: int
    neither: int

    @classmethod
    def of(cls, first: Sequence[bool], second: Sequence[bool]) -> Paired:
        """Count outcomes, both (questions,).

        Raises:
            ValueError: there are none, or not equally many.
        """
        if not len(first) or len(first) != len(second):
            raise ValueError("outcomes must be equally many and not empty")
        pairs = [(bool(one), bool(other)) for one, other in zip(first, second, strict=True)]
        kinds = ((True, True), (True, False), (False, True), (False, False))
        return cls(*(pairs.count(kind) for kind in kinds))

    @property
    def questions(self) -> int:
        """Asked in all."""
        return self.both + self.lost + self.gained + self.neither

    @property
    def before(self) -> float:
        """The first responder's share of right answers."""
        return (self.both + self.lost) / self.questions

    @property
    def after(self) -> float:
        """The second one's."""
        return (self.both + self.gained) / self.questions

    @property
    def delta(self) -> float:
        """Second − first."""
        return (self.gained - self.lost) / self.questions

    @property
    def interval(self) -> tuple[float, float]:
        """95 % interval of ``delta``: Newcombe (1998), Stat. Med. 17:2635, method 10.

        It is made of both shares' Wilson intervals and their correlation. Where hardly any
        answer differs, a bootstrap has nothing to draw from and ends too close to zero; this
        keeps its width: sixty right answers out of sixty, twice, still leave room for six points.
        """
        first, second = self.before, self.after
        low1, high1 = wilson(first, self.questions)
        low2, high2 = wilson(second, self.questions)
        phi = self._correlation
        down = _joined(second - low2, high1 - first, phi)
        up = _joined(high2 - second, first - low1, phi)
        return max(-1.0, self.delta - down), min(1.0, self.delta + up)

    @property
    def p(self) -> float:
        """McNemar's exact two-sided p."""
        return mcnemar(self.gained, self.lost)

    @property
    def _correlation(self) -> float:
        """Of right answers, with Newcombe's correction for continuity."""
        rows = (self.both + self.lost) * (self.gained + self.neither)
        columns = (self.both + self.gained) * (self.lost + self.neither)
        if not rows or not columns:
            return 0.0
        excess = float(self.both * self.neither - self.lost * self.gained)
        if excess > 0:
            excess = max(0.0, excess - self.questions / 2)
        return excess / math.sqrt(rows * columns)


def _joined(one: float, other: float, phi: float) -> float:
    return math.sqrt(max(0.0, one**2 - 2 * phi * one * other + other**2))


def questions_to_rule_out(seen: Paired, margin: float) -> int | None:
    """Questions in all that would rule out, in four of five tries, a loss of ``margin``.

    As many answers are taken to differ as were seen, and at least three (the rule of three's
    upper bound for an event not seen yet). None where the loss seen is as large as the margin:
    then more questions would sooner show the loss.
    """
    room = margin + seen.delta
    if room <= 0:
        return None
    differing = max(3, seen.lost + seen.gained) / seen.questions
    variance = max(differing - seen.delta**2, 0.0)
    return math.ceil((LEVEL_Z + POWER_Z) ** 2 * variance / room**2)
