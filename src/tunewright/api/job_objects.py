"""Jobs, their events and checkpoints as OpenAI's clients know them."""

from __future__ import annotations

from collections.abc import Mapping
from string import hexdigits
from typing import Any

from tunewright.core.queue import Entry, Queue
from tunewright.core.records import FineTuningJob
from tunewright.core.store import Store
from tunewright.jobs.journal import Told
from tunewright.jobs.work import FILES

_DIGITS = 24
_LAST_PLACE = 2**63 - 1
_STEP_DIGITS = 8


def job_object(
    store: Store, job: FineTuningJob, known: Mapping[str, Entry] | None = None
) -> dict[str, Any]:
    """OpenAI's job object, with ``user_provided_suffix`` and our ``tunewright`` besides.

    Args:
        store: whose job.
        job: as it was created; it is read anew, as its worker may have changed it since.
        known: the queue's entries, for lists of jobs that were read a moment ago.
    """
    if known is None:
        with_state = Queue(store).get(job.id)
        job = store.by_id(FineTuningJob, job.id) or job
    else:
        with_state = known[job.id]
    running = with_state.state == "running"
    return {
        "id": job.id,
        "object": "fine_tuning.job",
        "created_at": int(job.created),
        "model": job.model,
        "status": status_of(with_state),
        "fine_tuned_model": job.fine_tuned_model,
        "finished_at": _seconds(with_state.finished),
        "estimated_finish": _seconds(job.estimated_finish) if running else None,
        "error": with_state.error,
        "training_file": job.training_file,
        "validation_file": job.validation_file,
        "result_files": list(job.result_files),
        "trained_tokens": job.trained_tokens,
        "hyperparameters": {
            key: value for key, value in job.hyperparameters.items() if key in _SHARED
        },
        "method": {"type": job.method, job.method: _method(job)},
        "seed": job.seed,
        "organization_id": f"org-{store.settings.organization}",
        "integrations": [],
        "metadata": job.metadata,
        "user_provided_suffix": job.suffix,
        "tunewright": {
            "state": with_state.state,
            "dataset": job.dataset,
            "run": job.run,
            "options": job.options,
        },
    }


_SHARED = ("n_epochs", "batch_size", "learning_rate_multiplier")


def _method(job: FineTuningJob) -> dict[str, Any]:
    grader = job.recipe.get("rl", {}).get("grader")
    beside = {} if grader is None else {"grader": grader}
    return {**beside, "hyperparameters": job.hyperparameters}


def status_of(entry: Entry) -> str:
    """The queue's state in OpenAI's word.

    A job that was asked to cancel will make no model, so it is cancelled, even while its worker
    is still about to leave. OpenAI's enumeration has no word for a paused job, and clients that
    hold to it would refuse the whole reply: it waits, as a queued one does.
    """
    if entry.state == "running" and entry.asked == "cancel":
        return "cancelled"
    if entry.kind == FILES and entry.state in ("queued", "running"):
        return "validating_files"
    return "queued" if entry.state == "paused" else entry.state


def event_object(told: Told) -> dict[str, Any]:
    """OpenAI's event object."""
    note = told.note
    return {
        "id": f"ftevent-{told.sequence:0{_DIGITS}x}",
        "object": "fine_tuning.job.event",
        "created_at": int(note.created),
        "level": note.level,
        "message": note.message,
        "type": note.type,
        "data": note.data or {},
    }


def checkpoint_object(job: FineTuningJob, told: Told) -> dict[str, Any]:
    """OpenAI's checkpoint object."""
    data = told.note.data or {}
    step = told.note.checkpoint or 0
    return {
        "id": f"ftckpt_{job.id.partition('-')[2]}{step:0{_STEP_DIGITS}x}",
        "object": "fine_tuning.job.checkpoint",
        "created_at": int(told.note.created),
        "fine_tuning_job_id": job.id,
        "fine_tuned_model_checkpoint": data["model"],
        "step_number": step,
        "metrics": data["metrics"],
    }


def place_of(cursor: str) -> int:
    """An event's or a checkpoint's place in the order, told by its id; 0 for what is no such id."""
    digits = cursor.partition("-")[2] or cursor.partition("_")[2][_DIGITS:]
    known = len(digits) <= _DIGITS and all(digit in hexdigits for digit in digits)
    return min(int(digits or "0", 16), _LAST_PLACE) if known else 0


def _seconds(time: float | None) -> int | None:
    return None if time is None else int(time)
