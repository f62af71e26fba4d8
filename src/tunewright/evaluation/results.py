"""Everything measured in one evaluation, and the tables made from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from tunewright.config.evaluation import EvaluateConfig
from tunewright.core.errors import ConfigError
from tunewright.evaluation.answers import Question, Scored
from tunewright.evaluation.benchmarks.scores import Scores
from tunewright.evaluation.scorers.base import Material, Metric
from tunewright.evaluation.statistics.bootstrap import group_sums, percentiles, resampled
from tunewright.evaluation.statistics.comparison import Column, Comparison, Pair, compare_all
from tunewright.evaluation.statistics.proportions import proportion_interval
from tunewright.evaluation.statistics.significance import holm

if TYPE_CHECKING:
    from tunewright.evaluation.judging.verdicts import Panel

ALL = "all"
_FEW_EXACT = 0.1
Comparisons = Mapping[str, Mapping[str, Comparison]]
"""``{metric: {slice or "all": comparison with the baseline}}``."""


@dataclass(frozen=True)
class Asked:
    """One set of questions with every responder's answers, both in the same order.

    Attributes:
        questions: what was asked.
        answers: by responder.
        metrics: that the answers were scored by.
    """

    questions: Sequence[Question]
    answers: Mapping[str, Sequence[Scored]] = field(default_factory=dict)
    metrics: Sequence[Metric] = ()

    def slices(self) -> list[str]:
        """``all`` and, where there are several, the slices' names in order of appearance."""
        labels = {q.slice: None for q in self.questions}
        names = [label for label in labels if label and label != ALL]
        return [ALL, *names] if len(labels) > 1 else [ALL]

    def indices(self, name: str) -> list[int]:
        """Which questions belong to a slice."""
        return [i for i, q in enumerate(self.questions) if name in (ALL, q.slice)]

    def only(self, indices: Sequence[int]) -> Asked:
        """The same for some of the questions."""
        return Asked(
            [self.questions[i] for i in indices],
            {name: [answers[i] for i in indices] for name, answers in self.answers.items()},
            self.metrics,
        )

    def metric(self, name: str) -> Metric:
        """A metric by its name."""
        return next(metric for metric in self.metrics if metric.name == name)

    def values(self, responder: str, metric: str, name: str = ALL) -> list[float]:
        """One metric's value for every question of a slice that it says something about."""
        answers = self.answers[responder]
        found = [answers[i].scores.get(metric) for i in self.indices(name)]
        return [value for value in found if value is not None]

    def groups(self, name: str = ALL) -> list[str]:
        """The group of every question of a slice."""
        return [self.questions[i].group for i in self.indices(name)]

    def column(self, responder: str, metric: str, name: str = ALL) -> Column:
        """A responder's answers to a slice under one metric, ready to be summed."""
        answers = [self.answers[responder][i] for i in self.indices(name)]
        values = [one.scores.get(metric) for one in answers]
        parts = [
            one.parts.get(metric, () if value is None else (value, 1.0))
            for one, value in zip(answers, values, strict=True)
        ]
        width = max((len(part) for part in parts), default=0) or 2
        rows = np.array([part or (0.0,) * width for part in parts], np.float64)
        array = np.array([np.nan if value is None else value for value in values], np.float64)
        return Column(array, rows.reshape(-1, width), self.metric(metric).scorer.total)

    def mean(self, responder: str, metric: str, name: str = ALL) -> float | None:
        """A responder's score over a slice; None where there is nothing to score."""
        column = self.column(responder, metric, name)
        return column.score if np.isfinite(column.values).any() else None

    def mean_interval(
        self, responder: str, metric: str, name: str, config: EvaluateConfig
    ) -> tuple[float, float]:
        """95 % interval of one responder's score over a slice."""
        column, groups = self.column(responder, metric, name), self.groups(name)
        if self.metric(metric).scorer.binary:
            there = np.flatnonzero(np.isfinite(column.values)).tolist()
            values = [float(column.values[i]) for i in there]
            return proportion_interval(values, [groups[i] for i in there])
        sums = group_sums(column.parts, groups)
        return percentiles(column.total(resampled(sums, config.bootstrap, config.seed)))

    def against(self, baseline: str, responder: str, config: EvaluateConfig) -> Comparisons:
        """A responder compared with the baseline, by metric and slice."""
        found: dict[str, dict[str, Comparison]] = {metric.name: {} for metric in self.metrics}
        for name in self.slices():
            pairs = {
                metric.name: pair
                for metric in self.metrics
                if (pair := self._pair(baseline, responder, metric, name)) is not None
            }
            compared = compare_all(pairs, self.groups(name), config.bootstrap, config.seed)
            for metric, comparison in compared.items():
                found[metric][name] = comparison
        return {metric: by_slice for metric, by_slice in found.items() if ALL in by_slice}

    def _pair(self, baseline: str, responder: str, metric: Metric, name: str) -> Pair | None:
        before = self.column(baseline, metric.name, name)
        after = self.column(responder, metric.name, name)
        if not np.isfinite(before.values - after.values).any():
            return None
        return Pair(before, after, metric.scorer.binary, metric.sign)


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
