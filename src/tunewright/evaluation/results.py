"""Everything measured in one evaluation, and the tables made from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from tunewright.config.evaluation import EvaluateConfig
from tunewright.core.errors import ConfigError
from tunewright.evaluation.asked import ALL, Asked, Comparisons
from tunewright.evaluation.benchmarks.scores import Scores
from tunewright.evaluation.judging.verdicts import Panel
from tunewright.evaluation.scorers.base import Material, Metric
from tunewright.evaluation.statistics.significance import holm

_FEW_EXACT = 0.1


@dataclass(frozen=True)
class Results:
    """What was asked and answered, compared with the first responder.

    Attributes:
        config: of the evaluation.
        test: the locked test questions.
        general: the general probe, if it was asked.
        seen: training rows asked again; empty without challengers that learned from them.
        safety: questions that should be refused or should not, if they were asked.
        benchmarks: public ones that were asked.
        panel: judges and their verdicts, which are scores of ``test`` too, if any were asked.
        comparisons: by challenger, on the test questions.
        general_comparisons: on the general probe.
        headline: the metric that the verdict is about.
    """

    config: EvaluateConfig
    test: Asked
    general: Asked | None
    seen: Asked
    comparisons: Mapping[str, Comparisons]
    general_comparisons: Mapping[str, Comparisons]
    headline: str
    safety: Asked | None = None
    panel: Panel | None = None
    benchmarks: Sequence[Scores] = ()

    @property
    def responders(self) -> tuple[str, ...]:
        """Everyone asked, the baseline first."""
        return self.config.models

    @property
    def baseline(self) -> str:
        """The first responder."""
        return self.responders[0]

    @property
    def challengers(self) -> tuple[str, ...]:
        """Everyone but the first responder."""
        return self.responders[1:]

    @property
    def metrics(self) -> Sequence[Metric]:
        """What the test questions were scored by."""
        return self.test.metrics

    @cached_property
    def adjusted(self) -> dict[str, dict[str, float]]:
        """``{challenger: {metric: p}}`` over all questions, adjusted by Holm for the metrics."""
        return {
            name: holm({metric: by_slice[ALL].p for metric, by_slice in comparisons.items()})
            for name, comparisons in self.comparisons.items()
        }

    def scores(self) -> dict[str, Any]:
        """``{responder: {metric: {slice: score}}}``."""
        return {
            name: {
                metric.name: {
                    s: score
                    for s in self.test.slices()
                    if (score := self.test.mean(name, metric.name, s)) is not None
                }
                for metric in self.metrics
                if self.test.mean(name, metric.name) is not None
            }
            for name in self.responders
        }

    def field_of(self, attribute: str) -> dict[str, Any]:
        """``{challenger: {metric: {slice: value}}}`` of one attribute of the comparisons."""
        return {
            name: {
                metric: {s: _plain(getattr(one, attribute)) for s, one in by_slice.items()}
                for metric, by_slice in comparisons.items()
            }
            for name, comparisons in self.comparisons.items()
        }

    def general_shares(self) -> dict[str, float]:
        """``{responder: share of the general probe answered right}``."""
        if self.general is None:
            return {}
        return {name: self.general.mean(name, "exact") or 0.0 for name in self.responders}


def gather(
    config: EvaluateConfig,
    test: Asked,
    general: Asked | None,
    seen: Asked,
    safety: Asked | None = None,
) -> Results:
    """Compare every challenger with the first responder.

    Raises:
        ConfigError: the metric asked for as the headline is none of those scored by.
    """
    baseline, *challengers = config.models
    return Results(
        config,
        test,
        general,
        seen,
        {name: test.against(baseline, name, config) for name in challengers},
        {name: general.against(baseline, name, config) for name in challengers} if general else {},
        config.scoring.metric or headline_of(test),
        safety,
    )


def require_headline(config: EvaluateConfig, metrics: Sequence[Metric]) -> None:
    """Refuse a headline that nothing is scored by.

    Raises:
        ConfigError: naming what there is.
    """
    names = [metric.name for metric in metrics]
    if config.scoring.metric not in (None, *names):
        raise ConfigError(
            f"option 'metric': {config.scoring.metric!r} is not among what is scored here",
            f"One of: {', '.join(names)}",
        )


def headline_of(test: Asked) -> str:
    """The metric the verdict is about where none is asked for.

    It is ``exact``; ``char_f1`` where nobody is ever exactly right, and for free text also where
    hardly anybody is: one lucky answer in a hundred decides nothing.
    """
    rights = [test.mean(name, "exact") or 0.0 for name in test.answers]
    prose = Material([question.reference for question in test.questions]).prose
    return "exact" if max(rights) > (_FEW_EXACT if prose else 0.0) else "char_f1"


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
