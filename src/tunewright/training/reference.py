"""What the starting model says of the rows, told once before anything is trained.

Methods that hold a model to what it was compare with these numbers. They are computed again when
a run is resumed: the same model in the same batches gives the same numbers, bit for bit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch

from tunewright.core.events import Event
from tunewright.training.batches import Unit, collate, pack
from tunewright.training.job import Job
from tunewright.training.losses import document_sums, token_log_probs


def with_reference(job: Job, watch: Callable[[Event], None]) -> Job:
    """The job with what its starting model says of its rows, where the method asks for it.

    Args:
        job: not trained yet.
        watch: gets a ``progress`` event after every batch; what it raises ends the work.
    """
    if not job.method.refers:
        return job
    splits = (job.train, job.dev)
    total = sum(len(unit.documents) for units in splits for unit in units)
    done = 0

    def step(documents: int) -> None:
        nonlocal done
        done += documents
        data = {"stage": "reference", "done": done, "total": total}
        watch(Event(kind="progress", data=data))

    with job.reference() as model:
        train, dev = (
            job.method.refer(units, _log_probs(model, units, job, step)) for units in splits
        )
    return replace(job, train=train, dev=dev)


@torch.inference_mode()
def _log_probs(
    model: Any, units: Sequence[Unit], job: Job, step: Callable[[int], None]
) -> list[tuple[float, ...]]:
    """For each unit the summed log-probabilities of its documents' learnt tokens, in nats."""
    documents = [document for unit in units for document in unit.documents]
    sums: list[float] = []
    for indices in pack(list(map(len, documents)), job.config.batch_tokens, seed=None):
        batch = collate([documents[index] for index in indices]).to(job.device)
        sums += document_sums(token_log_probs(model, batch), batch).tolist()
        step(len(indices))
    found = iter(sums)
    return [tuple(next(found) for _ in unit.documents) for unit in units]
