"""The gates by name, in the order in which they are shown, and the verdict that they add up to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

from tunewright.core.records import Dataset, Verdict
from tunewright.evaluation.gates.base import Case, Evidence, Gate, Judge
from tunewright.evaluation.gates.contamination import contamination
from tunewright.evaluation.gates.endings import length, stopping
from tunewright.evaluation.gates.forgetting import forgetting
from tunewright.evaluation.gates.improvement import improvement
from tunewright.evaluation.gates.memorisation import memorisation
from tunewright.evaluation.gates.safety import safety
from tunewright.evaluation.gates.validity import validity
from tunewright.evaluation.results import Results
from tunewright.evaluation.texts import Texts

GATES: Final[Mapping[str, Judge]] = MappingProxyType(
    {
        "improvement": improvement,
        "forgetting": forgetting,
        "memorisation": memorisation,
        "contamination": contamination,
        "safety": safety,
        "validity": validity,
        "stopping": stopping,
        "length": length,
    }
)


def judge(
    results: Results, dataset: Dataset, texts: Texts, more: Evidence | None = None
) -> list[Gate]:
    """Every gate for every candidate, or for the one who was asked alone."""
    more = more or Evidence()
    return [
        gate
        for name in more.candidates or results.challengers or (results.baseline,)
        for one in GATES.values()
        if (gate := one(Case(name, results, dataset, texts, more))) is not None
    ]


def verdict_of(gates: Sequence[Gate]) -> Verdict:
    """Pass only when nothing said no, every improvement is shown and no loss is left open.

    Another gate that is open (not asked, or blind for this base) is shown but does not block.
    """
    if any(gate.passed is False for gate in gates):
        return "fail"
    if any(gate.passed is None and gate.blocks for gate in gates):
        return "not enough evidence"
    improved = [gate.passed for gate in gates if gate.name == "improvement"]
    return "pass" if improved and all(improved) else "not enough evidence"


def gates_json(gates: Sequence[Gate]) -> dict[str, Any]:
    """``{gate: …}``; with several challengers the key is ``gate (responder)``."""
    several = len({gate.responder for gate in gates}) > 1
    return {f"{g.name} ({g.responder})" if several else g.name: g.json() for g in gates}
