"""What lets a tuned model through: an evaluation that says pass, or a reason that is kept."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tunewright.config.deployment import DeployConfig
from tunewright.core.errors import EvidenceError
from tunewright.core.records import Evaluation, Model, Run
from tunewright.core.store import Store
from tunewright.evaluation.verdicts import newest_evaluation

Evidence = dict[str, dict[str, str | None]]
"""``{id of a tuned model: {evaluation: id, override: reason}}``."""


def evidence_for(
    store: Store, config: DeployConfig, held: Mapping[str, Any], override: str | None
) -> Evidence:
    """Why each tuned model may be served; a base needs no reason.

    Args:
        config: what is to be served.
        held: why those may be that are served already.
        override: why the others may, where no evaluation says so.

    Raises:
        EvidenceError: nothing speaks for one of them.
    """
    found: Evidence = {}
    for reference in config.references():
        model = store.by_id(Model, reference)
        if model is None:
            continue
        newest = newest_evaluation(store, model)
        if newest is not None and newest.verdict == "pass":
            found[model.id] = {"evaluation": newest.id, "override": None}
        elif override is not None:
            found[model.id] = {"evaluation": newest.id if newest else None, "override": override}
        elif model.id in held:
            found[model.id] = held[model.id]
        else:
            raise _unproven(store, model, newest)
    return found


def _unproven(store: Store, model: Model, newest: Evaluation | None) -> EvidenceError:
    if newest is None:
        what = f"{model.name} has never been evaluated"
    else:
        gates = [
            f"{gate} ({verdict.get('evidence', '')})"
            for gate, verdict in newest.gates.items()
            if verdict.get("passed") is not True
        ]
        said = "failed" if newest.verdict == "fail" else "found too little evidence"
        what = f"evaluation {newest.id} of {model.name} {said} at {'; '.join(gates) or 'a gate'}"
    return EvidenceError(
        f"{what}; a tuned model is deployed once its newest evaluation says pass",
        f"Run: {evaluate_command(store, model)}\n"
        'Or deploy it all the same, with a reason that is kept: --override "REASON"',
    )


def evaluate_command(store: Store, model: Model) -> str:
    """The command that would judge a tuned model."""
    run = store.by_id(Run, model.run)
    dataset = f" --dataset {run.dataset}" if run else ""
    start = store.by_id(Model, run.start) if run and run.start else None
    first = start.name if start else model.base
    return f"tunewright evaluate{dataset} --models {first} --models {model.name}"
