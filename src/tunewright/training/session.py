"""One process's work on a run: its log, its watchers, and how its end is told. Loads no torch."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tunewright.core.errors import Interrupted, StorageError, TunewrightError
from tunewright.core.events import Event, EventLog, Listener
from tunewright.core.files import disk_errors
from tunewright.core.records import Dataset, Run, RunState
from tunewright.core.store import Store
from tunewright.model.catalog import Base
from tunewright.training.diagnosis import Diagnoser, Subject
from tunewright.training.disk import DiskPatience
from tunewright.training.plan import Plan
from tunewright.training.trackers.base import Ending, Tracked
from tunewright.training.watching import Watchers, kept_events

if TYPE_CHECKING:
    from tunewright.training.checkpoints import Checkpoint, Search
    from tunewright.training.job import Job
    from tunewright.training.stopping import StopRequest


@dataclass(frozen=True)
class Session:
    """One process's work on a run."""

    store: Store
    run: Run
    base: Base
    folder: Path
    listen: Listener
    resumed: bool
    at: Callable[[str], None]
    disk: DiskPatience | None = None

    def emit(self, event: Event) -> None:
        """To the run's own log first, then to whoever watches."""
        if self.disk is None:
            self._log(event)
        else:
            self.disk(lambda: self._log(event))
        self.listen(event)

    def _log(self, event: Event) -> None:
        with disk_errors(self.folder):
            EventLog(self.folder / "events.jsonl").append(event)

    def end(self, state: RunState, **update: Any) -> Run:
        """Record how the run ended."""
        # What the store holds: the recipe may have been completed since the work began.
        run = self.store.get(Run, self.run.id).model_copy(update={"state": state, **update})
        self.store.update(run)
        return run

    def try_end(self, state: RunState, **update: Any) -> None:
        """``end`` after a failure, which is the one to tell if the record cannot be written now.

        A run without a live process can be resumed whatever its record says.
        """
        with suppress(StorageError):
            self.end(state, **update)


@contextmanager
def recorded(session: Session) -> Iterator[None]:
    """Whatever ends the work, the run's record says so, and the hint says how to go on."""
    again = f"Continue with: tunewright train --resume {session.run.id}"
    try:
        yield
    except Interrupted as error:
        session.try_end("stopped")
        raise Interrupted(error.message, again) from None
    except KeyboardInterrupt:
        session.try_end("stopped")
        raise Interrupted(
            "stopped at once; steps since the last checkpoint are lost", again
        ) from None
    except StorageError as error:
        session.try_end("stopped", error=error.message)
        raise StorageError(error.message, f"Free some space. {again}") from error
    except BaseException as error:
        message = error.message if isinstance(error, TunewrightError) else repr(error)
        session.try_end("failed", error=message)
        raise


@contextmanager
def watched(
    session: Session, job: Job, plan: Plan, checkpoint: Checkpoint | None
) -> Iterator[Watchers]:
    """Diagnosis and trackers of a run; the trackers learn how it ended."""
    config, run = job.config, session.run
    subject = Subject(config.method, plan.rows, config.optimizer.max_grad_norm)
    watchers = Watchers(session.emit, Diagnoser(subject))
    step = checkpoint.state.step if checkpoint else 0
    watchers.replay(kept_events(session.folder, step))
    tracked = Tracked(
        run=run.id,
        name=model_name(session),
        project=session.store.get(Dataset, run.dataset).name,
        config=run.config,
        folder=session.folder / "trackers",
        offline=session.store.settings.offline,
        step=step,
    )
    watchers.open(config, tracked)
    ending: Ending = "failed"
    try:
        yield watchers
        ending = "succeeded"
    except (Interrupted, StorageError, KeyboardInterrupt):
        ending = "stopped"
        raise
    finally:
        watchers.close(ending)


def tell_damage(session: Session, found: Search) -> None:
    """Say which checkpoints cannot be used, and do without a best one that is among them."""
    from tunewright.training.checkpoints import forget_lost_best

    checkpoint = found.checkpoint
    on = f"step {checkpoint.state.step}" if checkpoint else "the beginning"
    texts = [f"{problem}; going on from {on}" for problem in found.damaged]
    lost = forget_lost_best(session.folder / "checkpoints", checkpoint) if checkpoint else None
    if lost is not None:
        texts.append(f"{lost}; it was the best so far, the next best one takes its place")
    for text in texts:
        session.emit(Event(kind="note", data={"text": text}))


def tell_unless_stopped(session: Session, stop: StopRequest, event: Event) -> None:
    """Pass on how far the work before the first step is; nothing of it is worth saving."""
    if stop.asked:
        raise Interrupted("stopped before the first step")
    session.listen(event)


def tell_threads(session: Session, threads: int) -> None:
    import torch

    if threads != torch.get_num_threads():
        text = (
            f"the run began with {threads} threads and goes on with {torch.get_num_threads()}:"
            " losses will agree to rounding, not bit for bit"
        )
        session.emit(Event(kind="note", data={"text": text}))


def model_name(session: Session) -> str:
    """What the tuned model of a session's run is called."""
    return run_model_name(session.store, session.run)


def run_model_name(store: Store, run: Run) -> str:
    """``ft:base:organization:suffix:six digits of the run``, in OpenAI's form."""
    base = re.split(r"[/:]", run.base)[-1].partition("@")[0]
    suffix = run.config["suffix"] or store.get(Dataset, run.dataset).name
    parts = (base, store.settings.organization, suffix, run.id.split("_")[1][:6])
    return ":".join(("ft", *(re.sub(r"[^\w.-]+", "-", part).lower() for part in parts)))
