"""Everything measured in one evaluation, and the tables made from it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tunewright.config.evaluation import EvaluateConfig
from tunewright.evaluation.answers import Question, Scored
from tunewright.evaluation.compare import (
    Comparison,
    bootstrap_interval,
    cluster_sums,
    compare,
    proportion_interval,
)
from tunewright.evaluation.scorers import METRICS

ALL = "all"
Comparisons = Mapping[str, Mapping[str, Comparison]]
"""``{metric: {slice or "all": comparison with the baseline}}``."""


@dataclass(frozen=True)
class Asked:
    """One set of questions with every responder's answers, both in the same order."""

    questions: Sequence[Question]
    answers: Mapping[str, Sequence[Scored]] = field(default_factory=dict)

    def slices(self) -> list[str]:
        """``all`` and, where there are several, the slices' names in order of appearance."""
        labels = {q.slice: None for q in self.questions}
        names = [label for label in labels if label and label != ALL]
        return [ALL, *names] if len(labels) > 1 else [ALL]

    def indices(self, name: str) -> list[int]:
        """Which questions belong to a slice."""
        return [i for i, q in enumerate(self.questions) if name in (ALL, q.slice)]

    def values(self, responder: str, metric: str, name: str = ALL) -> list[float]:
        """One metric's value for every question of a slice."""
        answers = self.answers[responder]
        return [answers[i].scores[metric] for i in self.indices(name)]

    def groups(self, name: str = ALL) -> list[str]:
        """The group of every question of a slice."""
        return [self.questions[i].group for i in self.indices(name)]

    def mean(self, responder: str, metric: str, name: str = ALL) -> float:
        """A responder's mean score over a slice."""
        return float(np.mean(self.values(responder, metric, name)))

    def against(self, baseline: str, responder: str, config: EvaluateConfig) -> Comparisons:
        """A responder compared with the baseline, by metric and slice."""
        return {
            metric.name: {
                name: compare(
                    self.values(baseline, metric.name, name),
                    self.values(responder, metric.name, name),
                    self.groups(name),
                    config.bootstrap,
                    config.seed,
                )
                for name in self.slices()
            }
            for metric in METRICS
        }


@dataclass(frozen=True)
class Results:
    """What was asked and answered, compared with the first responder."""

    config: EvaluateConfig
    test: Asked
    general: Asked | None
    seen: Asked
    """Training rows asked again, to tell learning from memorising; empty without challengers."""
    comparisons: Mapping[str, Comparisons]
    """``{challenger: comparisons}`` on the test questions."""
    general_comparisons: Mapping[str, Comparisons]
    headline: str
    """The metric that the verdict is about."""

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

    def scores(self) -> dict[str, Any]:
        """``{responder: {metric: {slice: mean}}}``."""
        return {
            name: {
                metric.name: {s: self.test.mean(name, metric.name, s) for s in self.test.slices()}
                for metric in METRICS
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
        return {name: self.general.mean(name, "exact") for name in self.responders}

    def mean_interval(
        self, asked: Asked, responder: str, metric: str, name: str
    ) -> tuple[float, float]:
        """95 % interval of one responder's mean score over a slice."""
        values, groups = asked.values(responder, metric, name), asked.groups(name)
        if next(one for one in METRICS if one.name == metric).binary:
            return proportion_interval(values, groups)
        sums, sizes = cluster_sums(np.asarray(values, np.float64), groups)
        return bootstrap_interval(sums, sizes, self.config.bootstrap, self.config.seed)


def gather(config: EvaluateConfig, test: Asked, general: Asked | None, seen: Asked) -> Results:
    """Compare every challenger with the first responder."""
    baseline, *challengers = config.models
    return Results(
        config,
        test,
        general,
        seen,
        {name: test.against(baseline, name, config) for name in challengers},
        {name: general.against(baseline, name, config) for name in challengers} if general else {},
        headline_of(test.mean(name, "exact") for name in config.models),
    )


def headline_of(exact_means: Iterable[float]) -> str:
    """The metric the verdict is about, given every responder's mean of ``exact``.

    It is ``exact``; ``char_f1`` where nobody is ever exactly right, as with long free answers.
    """
    return "exact" if any(exact_means) else "char_f1"


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
