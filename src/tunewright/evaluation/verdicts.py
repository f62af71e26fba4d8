"""Which evaluation speaks of a tuned model. Loads no torch."""

from __future__ import annotations

from tunewright.core.records import Evaluation, Model
from tunewright.core.store import Store


def newest_evaluation(store: Store, model: Model) -> Evaluation | None:
    """The newest evaluation that judged a tuned model, rather than compared others with it."""
    for evaluation in store.list(Evaluation):
        compared_with = evaluation.models[:1]
        if (
            model.id in evaluation.model_ids
            and evaluation.config.get("checkpoints") is None
            and evaluation.baseline_id != model.id
            and not {model.id, model.name} & set(compared_with)
        ):
            return evaluation
    return None
