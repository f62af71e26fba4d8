"""What the verdicts come to: how often who is preferred, and how far the judge can be trusted."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any

from tunewright.core.files import digest
from tunewright.evaluation.asked import ALL
from tunewright.evaluation.judging.verdicts import EVEN, Panel, Sitting, reliability
from tunewright.evaluation.results import Results
from tunewright.evaluation.statistics.agreement import kappa
from tunewright.evaluation.statistics.comparison import Comparison

OUTCOMES = (0.0, EVEN, 1.0)


@dataclass(frozen=True, slots=True)
class Agreement:
    """How far two who judge agree, beyond chance.

    Attributes:
        first: one of them.
        second: the other.
        questions: that both judged.
        share: on which they said the same.
        kappa: Cohen's.
    """

    first: str
    second: str
    questions: int
    share: float
    kappa: float


def agreement(
    first: str, second: str, pairs: Sequence[tuple[float | None, float | None]]
) -> Agreement | None:
    """Of two lists of outcomes (0, 0.5, 1) side by side; None where nothing was judged by both."""
    both = [(a, b) for a, b in pairs if a is not None and b is not None]
    if not both:
        return None
    ours, theirs = zip(*both, strict=True)
    share = sum(a == b for a, b in both) / len(both)
    return Agreement(first, second, len(both), share, kappa(ours, theirs, OUTCOMES))


def agreements(panel: Panel, challenger: str) -> list[Agreement]:
    """Every two judges, over one challenger's questions."""
    found = []
    for one, other in combinations(panel.sittings, 2):
        verdicts = zip(one.verdicts[challenger], other.verdicts[challenger], strict=True)
        pairs = [(a.outcome, b.outcome) for a, b in verdicts]
        agreed = agreement(one.judge, other.judge, pairs)
        if agreed is not None:
            found.append(agreed)
    return found


def compared(results: Results, challenger: str, metric: str) -> Comparison | None:
    """The verdicts as a comparison with the baseline; None where there is not a single one."""
    return results.comparisons[challenger].get(metric, {}).get(ALL)


def panel_json(results: Results) -> dict[str, Any]:
    """``report.json``'s ``judging``: rubric, and per judge its cost and every challenger."""
    panel = results.panel
    if panel is None:
        return {}
    return {
        "rubric": panel.rubric.text,
        "rubric_sha256": digest(panel.rubric.text),
        "language": panel.rubric.language,
        "judges": [_sitting_json(results, sitting) for sitting in panel.sittings],
        "agreement": {
            name: [asdict(one) for one in agreements(panel, name)] for name in results.challengers
        },
    }


def _sitting_json(results: Results, sitting: Sitting) -> dict[str, Any]:
    return {
        "judge": sitting.judge,
        "metric": sitting.metric,
        "spent": asdict(sitting.spent),
        "models": {
            name: {**asdict(reliability(verdicts)), **_outcome(results, name, sitting.metric)}
            for name, verdicts in sitting.verdicts.items()
        },
    }


def _outcome(results: Results, challenger: str, metric: str) -> dict[str, Any]:
    seen = compared(results, challenger, metric)
    if seen is None:
        return {}
    low, high = (EVEN + bound if math.isfinite(bound) else None for bound in seen.interval)
    return {
        "wins": seen.wins,
        "ties": seen.ties,
        "losses": seen.losses,
        "preferred": seen.score,
        "interval": [low, high],
        "p": seen.p,
    }


def judgements(results: Results) -> Iterator[dict[str, Any]]:
    """One line of ``judgements.jsonl`` for every judge, challenger and question."""
    for sitting in results.panel.sittings if results.panel else ():
        for name, verdicts in sitting.verdicts.items():
            for question, verdict in zip(results.test.questions, verdicts, strict=True):
                yield {
                    "judge": sitting.judge,
                    "responder": name,
                    "row": question.id,
                    "outcome": verdict.outcome,
                    "same": verdict.same,
                    "baseline_first": asdict(one) if (one := verdict.rulings[0]) else None,
                    "challenger_first": asdict(two) if (two := verdict.rulings[1]) else None,
                }
