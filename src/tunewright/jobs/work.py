"""What a handler of jobs is given, and how its failures are told."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tunewright.config.jobs import JobsConfig
from tunewright.core.errors import Interrupted, TunewrightError
from tunewright.core.queue import Queue, Retry, State
from tunewright.core.records import FineTuningJob, Model
from tunewright.core.store import Lease, Store
from tunewright.jobs.heart import Heart
from tunewright.jobs.journal import Journal, Note

FILES = "fine_tuning.files"
"""Kind of a fine-tuning job whose files are looked at."""
TRAINING = "fine_tuning"
"""Kind of a fine-tuning job that trains."""
Close = Callable[[], None]
"""The last transaction of a worker, once its heart has stopped."""


class Refused(TunewrightError):  # noqa: N818 - it is a verdict
    """A job that cannot succeed.

    Attributes:
        code, param: as in OpenAI's error of a failed job.
    """

    def __init__(self, code: str, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.param = param

    def body(self) -> dict[str, Any]:
        """The error in OpenAI's shape."""
        return {"code": self.code, "message": self.message, "param": self.param}


@dataclass
class Work:
    """One worker's job.

    Attributes:
        store: fenced by the lease; what it makes belongs to the job's project.
        plain: the same without the fence, for the last word on the job.
        queue, lease: its place in the queue.
        heart: its pulse.
        payload: what earlier workers noted.
        record: the job; ``note`` changes it.
    """

    store: Store
    plain: Store
    queue: Queue
    lease: Lease
    heart: Heart
    payload: dict[str, Any]
    record: FineTuningJob

    def note(self, **changes: Any) -> None:
        """Change the job's record."""
        self.record = self.record.model_copy(update=changes)
        self.store.update(self.record)

    def keep(self, further: bool = False, **changes: Any) -> None:
        """Note what a later worker needs to go on."""
        self.payload = {**self.payload, **changes}
        self.queue.keep(self.lease, self.payload, further)

    def stop_if_asked(self) -> None:
        """A good moment to stop.

        Raises:
            Interrupted: if that is wanted.
        """
        if self.heart.stopping:
            raise Interrupted("asked to stop")


def retry_rule(config: JobsConfig) -> Retry:
    """The queue's rule for jobs that break off."""
    return Retry(config.attempts, config.pause)


def put_back(store: Store, queue: Queue, lease: Lease) -> State:
    """Let go of a job that was interrupted: ended as asked, or back to the queue."""
    with store.transaction():
        state = queue.release(lease)
        Journal(store).write(lease.job, [_STOPPED[state]])
    after_end(store, lease.job, state)
    return state


def broke_off(store: Store, queue: Queue, lease: Lease, rule: Retry, why: str) -> State:
    """Let go of a job whose worker broke off: tried again, or given up."""
    with store.transaction():
        attempts = queue.get(lease.job).attempts
        times = "once" if attempts == 1 else f"{attempts} times"
        given_up = Refused(
            "worker_failed",
            f"The job broke off {times} without getting further; the last time {why}.",
        )
        state = queue.retry(lease, rule, given_up.body())
        note = _STOPPED.get(state) if state != "queued" else None
        again = f"{why[:1].upper()}{why[1:]}; attempt {attempts + 1} of {rule.attempts} follows"
        Journal(store).write(lease.job, [note or _outcome(state, again, given_up)])
    after_end(store, lease.job, state)
    return state


def fail(store: Store, queue: Queue, lease: Lease, error: Refused) -> None:
    """End a job as failed."""
    with store.transaction():
        queue.end(lease, "failed", error.body())
        Journal(store).write(lease.job, [failed_note(error)])


def failed_note(error: Refused) -> Note:
    """How a failure is told."""
    return Note(f"The job failed: {error.message}", "error", data=error.body())


def after_end(store: Store, job: str, state: State) -> None:
    """A cancelled job leaves no tuned model, not even one that was ready a moment before."""
    record = store.by_id(FineTuningJob, job)
    if state != "cancelled" or record is None or record.run is None:
        return
    for model in store.list(Model):
        if model.run == record.run and CHECKPOINT not in model.name:
            store.delete(Model, model.id)


CHECKPOINT = ":ckpt-step-"
"""What stands in a checkpoint's name between the tuned model's name and the step."""
_STOPPED: dict[State, Note] = {
    "cancelled": Note("Fine-tuning job cancelled"),
    "paused": Note("Fine-tuning job paused"),
    "queued": Note("The server is stopping; the job is saved and goes on with the next one"),
}


def _outcome(state: State, again: str, given_up: Refused) -> Note:
    return Note(again, "warn") if state == "queued" else failed_note(given_up)
