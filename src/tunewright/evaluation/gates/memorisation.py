"""Memorisation: what was learned shows in other wordings too, not only in those trained on."""

from __future__ import annotations

from typing import Any

from tunewright.evaluation.gates.base import LEAST_GROUPS, Case, Gate
from tunewright.evaluation.memory import Transfer, memory_of
from tunewright.evaluation.texts import percent

_BROKEN = 0.02
"""Loss on training wordings from which training did harm rather than too little."""
_LEARNED = 0.05
"""Gain on training wordings below which there is nothing that could have been recited."""


def memorisation(case: Case) -> Gate | None:
    """Which share of the gain on training wordings shows on other wordings, or on new questions.

    Only where training rows were asked again, and somebody untrained was asked them too.
    """
    memory = memory_of(case.results, case.responder, case.more.tiers)
    if memory is None or memory.transfer is None:
        return None
    texts, found, least = case.texts, memory.transfer, case.config.probes.recited
    learned = found.seen_gain >= _LEARNED
    evidence = texts(
        f"memorisation.evidence.{found.tier if learned else 'none'}",
        model=case.responder,
        seen=percent(memory.steps["seen"].score),
        before=percent(memory.steps["seen"].score - found.seen_gain),
        other=percent(memory.steps[found.tier].score),
        gained=percent(found.seen_gain),
        share=percent(found.share, 0),
        low=percent(found.low, 0),
        high=percent(found.high, 0),
        rows=memory.steps["seen"].questions,
        questions=memory.steps[found.tier].questions,
    )
    passed, cure = _decide(found, least)
    numbers: dict[str, Any] = {
        "share": found.share,
        "interval": [found.low, found.high],
        "least": least,
        **{name: step.json() for name, step in memory.steps.items()},
    }
    prescription = "" if passed else texts(cure, least=percent(least, 0), gap=percent(found.gap, 0))
    return Gate("memorisation", case.responder, passed, evidence, prescription, numbers)


def _decide(found: Transfer, least: float) -> tuple[bool | None, str]:
    if found.seen_gain < -_BROKEN:
        return None, "memorisation.broken.do"
    if found.seen_gain < _LEARNED:
        return None, "memorisation.nothing.do"
    if found.groups < LEAST_GROUPS:
        return None, "memorisation.few.do"
    if found.high < least:
        return False, "memorisation.recited.do"
    return (True, "") if found.low >= least else (None, "memorisation.few.do")
