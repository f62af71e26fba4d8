"""What the report's template shows of learning and reciting."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from tunewright.evaluation import charts
from tunewright.evaluation.memory import STEPS, Memory, memory_of
from tunewright.evaluation.results import Results
from tunewright.evaluation.texts import Texts
from tunewright.evaluation.tiers import Tier

_WIDE_GAP = 0.1
_LEARNED = 0.5


@dataclass(frozen=True, slots=True)
class MemoryPart:
    """One challenger's ladder.

    Attributes:
        responder: whose.
        chart: scores on each kind of questions, the baseline's beside.
        says: what the ladder means.
        missing: why kinds are missing, and what would give them.
        metric: what is shown.
    """

    responder: str
    chart: Markup
    says: str
    missing: Sequence[str]
    metric: str


def memory_parts(results: Results, tiers: Sequence[Tier], texts: Texts) -> list[MemoryPart]:
    """The ladders of the challengers that were asked their training rows."""
    before = memory_of(results, results.baseline, tiers)
    return [
        _part(name, memory, before, texts)
        for name in results.challengers
        if (memory := memory_of(results, name, tiers)) is not None
    ]


def _part(responder: str, memory: Memory, before: Memory | None, texts: Texts) -> MemoryPart:
    rows = []
    for step in STEPS:
        rungs = [one.steps[step] for one in (before, memory) if one and step in one.steps]
        if rungs:
            dots = [charts.Dot(rung.score, (rung.low, rung.high)) for rung in rungs]
            label = texts(f"memory.{step}", questions=rungs[-1].questions)
            rows.append(charts.DotRow(label, dots))
    metric = texts.label("metric", memory.metric)
    missing = [texts(f"memory.{step}.missing") for step in STEPS if step not in memory.steps]
    title = texts("memory.chart", metric=metric)
    return MemoryPart(
        responder, charts.dots(rows, title), _says(responder, memory, texts), missing, metric
    )


def _says(responder: str, memory: Memory, texts: Texts) -> str:
    seen = memory.steps["seen"].score
    others = [memory.steps[step].score for step in STEPS[1:] if step in memory.steps]
    gap = seen - max(others, default=seen)
    key = "low" if seen < _LEARNED else "gap" if gap > _WIDE_GAP else "good"
    return texts(f"memory.{key}", model=responder, gap=f"{100 * gap:.0f}")
