"""What an evaluation says, in English or Chinese; the sentences themselves are in ``wording``."""

from __future__ import annotations

import math
from types import MappingProxyType
from typing import Final

from tunewright.core.language import Sentences
from tunewright.evaluation.scorers.base import Metric
from tunewright.evaluation.scorers.table import SCORERS
from tunewright.evaluation.wording.benchmarks import BENCHMARKS
from tunewright.evaluation.wording.gates import GATES
from tunewright.evaluation.wording.judging import JUDGING
from tunewright.evaluation.wording.metrics import METRICS
from tunewright.evaluation.wording.page import PAGE

SENTENCES: Final = MappingProxyType({**PAGE, **METRICS, **GATES, **JUDGING, **BENCHMARKS})


class Texts(Sentences):
    """What an evaluation says, in one language."""

    def __init__(self, language: str) -> None:
        super().__init__(SENTENCES, language)


def percent(value: float, digits: int = 1) -> str:
    """0.4567 → ``45.7%``."""
    return f"{100 * value:.{digits}f}%"


def points(value: float, digits: int = 1) -> str:
    """A difference of shares in percentage points with its sign: 0.123 → ``+12.3``."""
    rounded = round(100 * value, digits)
    sign = "+" if rounded > 0 else "−" if rounded < 0 else ""
    return f"{sign}{abs(rounded):.{digits}f}"


def shown(metric: Metric, value: float | None) -> str:
    """A score as people read it: a share as a percentage, anything else as a number."""
    if value is None or not math.isfinite(value):
        return "–"
    return percent(value) if metric.share else number(value)


def difference(metric: Metric, value: float, texts: Texts) -> str:
    """A difference of scores with its sign and unit."""
    if not math.isfinite(value):
        return "–"
    return texts("unit.points", points=points(value)) if metric.share else signed(value)


def signed(value: float) -> str:
    """``+1.25``, ``−0.5``."""
    sign = "+" if value > 0 else "−" if value < 0 else ""
    return f"{sign}{number(abs(value))}"


def number(value: float) -> str:
    """A number with about three digits that mean something: ``1.04``, ``52.3``, ``22,210``."""
    if value < 10:
        return f"{value:.3g}"
    return f"{value:.1f}" if value < 1000 else f"{value:,.0f}"


def p_text(p: float) -> str:
    """A p value to read, with its relation and unbroken: ``= 0.031``, ``< 0.001``."""
    return "<\u00a00.001" if p < 0.001 else f"=\u00a0{p:.3f}"


def score_text(metric: str, value: float | None) -> str:
    """A score for terminals, by its metric's name; scorers of the user's own give shares."""
    if value is None:
        return "–"
    return f"{100 * value:.1f} %" if _is_share(metric) else number(value)


def delta_text(metric: str, value: float) -> str:
    """A difference for terminals, with its sign: points of shares, else in the metric's unit."""
    return f"{100 * value:+.1f}" if _is_share(metric) else signed(value)


def _is_share(metric: str) -> bool:
    return metric not in SCORERS or SCORERS[metric].range == (0.0, 1.0)
