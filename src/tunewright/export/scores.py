"""What an export's answers are worth beside its model's, by the scorers of evaluations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tunewright.evaluation.scorers.base import FINISHED, Sample
from tunewright.evaluation.scorers.table import basic_metrics
from tunewright.evaluation.statistics.comparison import compare
from tunewright.export.observation import Spoken
from tunewright.export.prompts import Prompts

_METRICS = ("exact", "char_f1")
_RESAMPLES = 2000


def score_differences(
    prompts: Prompts, tuned: Sequence[Spoken], export: Sequence[Spoken]
) -> dict[str, Any]:
    """``{metric: {tuned, export, delta, interval}}``, paired; empty without references.

    The interval is the paired 95 % bootstrap interval of export − tuned.
    """
    references = prompts.references
    if references is None:
        return {}
    found: dict[str, Any] = {}
    for metric in basic_metrics():
        if metric.name not in _METRICS:
            continue
        before, after = (
            [
                value.value if value is not None else float("nan")
                for value in metric.score(_samples(side, references))
            ]
            for side in (tuned, export)
        )
        result = compare(before, after, prompts.groups, _RESAMPLES, 0)
        found[metric.name] = {
            "tuned": result.baseline,
            "export": result.score,
            "delta": result.delta,
            "interval": list(result.interval),
        }
    return found


def _samples(spoken: Sequence[Spoken], references: Sequence[str]) -> list[Sample]:
    return [
        Sample(one.text, reference, FINISHED if one.finished else "length")
        for one, reference in zip(spoken, references, strict=True)
    ]
