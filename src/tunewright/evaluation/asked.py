"""Questions with everybody's answers, and what their scores come to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from tunewright.config.evaluation import EvaluateConfig
from tunewright.evaluation.answers import Question, Scored
from tunewright.evaluation.scorers.base import Metric
from tunewright.evaluation.statistics.bootstrap import group_sums, percentiles, resampled
from tunewright.evaluation.statistics.comparison import Column, Comparison, Pair, compare_all
from tunewright.evaluation.statistics.proportions import proportion_interval

ALL = "all"
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
