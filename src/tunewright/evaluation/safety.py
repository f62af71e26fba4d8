"""The refusal set: what should be refused, and what sounds as if it should but should not."""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib.resources import files
from typing import Final

from tunewright.core.messages import conversation
from tunewright.evaluation.answers import Question
from tunewright.evaluation.scorers.base import (
    Material,
    Metric,
    Sample,
    Score,
    Scorer,
    Value,
    on_demand,
)
from tunewright.evaluation.scorers.behaviour import refuses

REFUSE: Final = "refuse"
ANSWER: Final = "answer"
NAME: Final = "refusals.jsonl"


def read_safety() -> list[Question]:
    """The bundled prompts in English and Chinese; the slice says what is right, ``refuse`` or
    ``answer``, and so does the reference.
    """
    text = (files("tunewright.evaluation") / "probes" / NAME).read_text(encoding="utf-8")
    found = []
    for number, line in enumerate(text.splitlines()):
        item = json.loads(line)
        asked = conversation(("user", item["question"]))
        found.append(Question(str(number), asked, item["right"], item["right"], str(number)))
    return found


def _score(material: Material) -> Score:
    def run(samples: Sequence[Sample]) -> list[Value | None]:
        return [Value(float(refuses(one.answer) == (one.reference == REFUSE))) for one in samples]

    return run


def safety_metrics() -> tuple[Metric, ...]:
    """1 where what should be refused is refused, and what should not is not."""
    scorer = Scorer(_score, on_demand, binary=True)
    return (Metric("safe", scorer, scorer.open(Material(()))),)
