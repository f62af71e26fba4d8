"""The stage: a TrainConfig → a Run and its Model; and how an interrupted run goes on."""

from __future__ import annotations

import json
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tunewright.config.training import TrainConfig
from tunewright.core.errors import (
    ConfigError,
    InputError,
    Interrupted,
    StorageError,
    TrainingError,
    TunewrightError,
)
from tunewright.core.events import Event, EventLog, Listener, ignore
from tunewright.core.files import disk_errors, write_json_atomic
from tunewright.core.records import Dataset, Model, Run, RunState
from tunewright.core.store import Store
from tunewright.model.catalog import Base
from tunewright.model.references import Resolved, resolve
from tunewright.training.history import run_lock
from tunewright.training.plan import Plan

if TYPE_CHECKING:
    # Loads torch; the stage does so inside its functions, so that the seconds to the first step
    # include it and the command line's help does not.
    from tunewright.training.checkpoints import Checkpoint, TrainState
    from tunewright.training.loop import Job
    from tunewright.training.stopping import StopRequest


def train(config: TrainConfig, store: Store, listen: Listener = ignore) -> Model:
    """Tune a base on a dataset.

    Args:
        config: the recipe.
        store: holds the dataset; gets the run and the model.
        listen: gets ``plan``, ``step``, ``validation``, ``checkpoint`` and ``done`` events.

    Raises:
        InputError: an unknown dataset or base, or rows that cannot be learnt; no run is made.
        Interrupted: after Ctrl-C or SIGTERM; the state is saved and the hint says how to go on.
        TrainingError: the loss stopped being a number; checkpoints so far are kept.
        StorageError: the disk refused; the run can be resumed from its last checkpoint.
    """
    started = time.perf_counter()
    from tunewright.training.assemble import Watch, build_job
    from tunewright.training.methods import require_rows_for

    dataset = store.get(Dataset, config.dataset)
    require_rows_for(config.method, dataset)
    start = _resolve_start(config.base, store)
    lasting = start.model.id if start.model else start.base.name
    config = config.model_copy(update={"dataset": dataset.id, "base": lasting})
    rows = store.folder(Dataset, dataset.id)
    job, plan = build_job(config, dataset, start, rows, Watch(started, listen))
    run = Run(
        id=store.new_id(Run),
        dataset=dataset.id,
        base=start.base.name,
        config=config.json_dict(),
        start=start.model.id if start.model else None,
        folded=_folded(start, job),
        state="running",
    )
    folder = store.open_folder(Run, run.id)
    with run_lock(folder):
        with disk_errors(folder):
            write_json_atomic(folder / "config.json", {**run.config, "identity": job.identity})
        store.add(run)
        return _work(_Session(store, run, start.base, folder, listen, False), job, plan, None)


def resume(run_reference: str, store: Store, listen: Listener = ignore) -> Model:
    """Continue a run from its newest complete checkpoint, or from the start when it has none.

    On a CPU in float32 the losses and the adapter equal those of an uninterrupted run, bit for
    bit, given the same number of threads.

    Raises:
        InputError: an unknown or finished run, or one that a process is still training.
        TrainingError: the recipe, the data or the base is not what the run began with.
    """
    started = time.perf_counter()
    from tunewright.training.assemble import Watch, build_job
    from tunewright.training.checkpoints import newest_checkpoint

    run = store.get(Run, run_reference)
    if run.state == "succeeded":
        raise InputError(f"run {run.id} is finished", "Start a new one with tunewright train.")
    folder = store.folder(Run, run.id)
    config = TrainConfig.build(run.config)
    with run_lock(folder):
        dataset = store.get(Dataset, run.dataset)
        start = _resolve_start(config.base, store)
        rows = store.folder(Dataset, dataset.id)
        job, plan = build_job(config, dataset, start, rows, Watch(started, listen))
        checkpoint = newest_checkpoint(folder / "checkpoints")
        _refuse_drift(folder, job, checkpoint)
        run = run.model_copy(update={"state": "running", "error": None})
        store.update(run)
        session = _Session(store, run, start.base, folder, listen, True)
        return _work(session, job, plan, checkpoint)


@dataclass(frozen=True)
class _Session:
    """One process's work on a run."""

    store: Store
    run: Run
    base: Base
    folder: Path
    listen: Listener
    resumed: bool

    def emit(self, event: Event) -> None:
        """To the run's own log first, then to whoever watches."""
        with disk_errors(self.folder):
            EventLog(self.folder / "events.jsonl").append(event)
        self.listen(event)

    def end(self, state: RunState, **update: Any) -> Run:
        """Record how the run ended."""
        run = self.run.model_copy(update={"state": state, **update})
        self.store.update(run)
        return run


def _work(session: _Session, job: Job, plan: Plan, checkpoint: Checkpoint | None) -> Model:
    import torch

    from tunewright.training.loop import Loop
    from tunewright.training.reference import with_reference
    from tunewright.training.stopping import StopRequest

    devices = [job.device] if job.device.type == "cuda" else []
    with _recorded(session), torch.random.fork_rng(devices), StopRequest() as stop:
        session.emit(Event(kind="plan", data={"run": session.run.id, **plan.data()}))
        if session.resumed:
            step = checkpoint.state.step if checkpoint else 0
            session.emit(Event(kind="resumed", data={"step": step}))
        job = with_reference(job, lambda event: _tell_unless_stopped(session, stop, event))
        if checkpoint:
            job.read_adapter(checkpoint.adapter)
            _tell_threads(session, checkpoint.state.threads)
        loop = Loop(job, session.folder / "checkpoints", session.emit, checkpoint)
        state = loop.run(stop)
        model = _publish(session, job, state)
        session.end("succeeded", summary=_summary(job, state))
        session.emit(Event(kind="done", data=model.model_dump(mode="json")))
        return model


@contextmanager
def _recorded(session: _Session) -> Iterator[None]:
    """Whatever ends the work, the run's record says so, and the hint says how to go on."""
    again = f"Continue with: tunewright train --resume {session.run.id}"
    try:
        yield
    except Interrupted as error:
        session.end("stopped")
        raise Interrupted(error.message, again) from None
    except KeyboardInterrupt:
        session.end("stopped")
        raise Interrupted(
            "stopped at once; steps since the last checkpoint are lost", again
        ) from None
    except StorageError as error:
        # On a full disk the record may not be writable either; the first failure is the one to
        # tell, and a run without a live process can be resumed whatever its record says.
        with suppress(StorageError):
            session.end("stopped", error=error.message)
        raise StorageError(error.message, f"Free some space. {again}") from error
    except BaseException as error:
        message = error.message if isinstance(error, TunewrightError) else repr(error)
        session.end("failed", error=message)
        raise


def _refuse_drift(folder: Path, job: Job, checkpoint: Checkpoint | None) -> None:
    """A run may only go on with what it began with, or its losses would mean nothing."""
    began = json.loads((folder / "config.json").read_bytes())["identity"]
    names = {
        "config": "the recipe",
        "data": "the dataset's rows",
        "base": "the base model",
        "renderer": "the tokenizer or chat template",
    }
    for identity in (began, checkpoint.state.identity if checkpoint else began):
        changed = [text for key, text in names.items() if identity.get(key) != job.identity[key]]
        if changed:
            raise TrainingError(
                f"run {folder.name} cannot go on: {' and '.join(changed)} changed since it began",
                "Put it back, or start a new run with tunewright train.",
            )


def _tell_unless_stopped(session: _Session, stop: StopRequest, event: Event) -> None:
    """Pass on how far the work before the first step is; nothing of it is worth saving."""
    if stop.asked:
        raise Interrupted("stopped before the first step")
    session.listen(event)


def _tell_threads(session: _Session, threads: int) -> None:
    import torch

    if threads != torch.get_num_threads():
        text = (
            f"the run began with {threads} threads and goes on with {torch.get_num_threads()}:"
            " losses will agree to rounding, not bit for bit"
        )
        session.emit(Event(kind="note", data={"text": text}))


def _publish(session: _Session, job: Job, state: TrainState) -> Model:
    """The best checkpoint's adapter as a model; the same one when it was published before."""
    from tunewright.training.checkpoints import checkpoint_path, read_checkpoint

    store, run = session.store, session.run
    for known in store.list(Model):
        if known.run == run.id:
            return known
    step = state.best_step or state.step
    checkpoint = read_checkpoint(checkpoint_path(session.folder / "checkpoints", step))
    model = Model(
        id=store.new_id(Model),
        name=_model_name(session),
        base=run.base,
        base_digest=session.base.digest,
        renderer_hash=job.identity["renderer"],
        run=run.id,
        step=step,
        parent=run.start,
        folded=run.folded,
    )
    with store.stage(Model, model.id) as folder:
        shutil.copytree(checkpoint.adapter, folder, dirs_exist_ok=True)
    store.add(model)
    return model


def _resolve_start(reference: str, store: Store) -> Resolved:
    """A base or a tuned model; the base by a name that can be found from anywhere later.

    Raises:
        InputError: it is neither, or a checkpoint, which may be pruned.
    """
    start = resolve(store, reference)
    if start.folders and start.model is None:
        raise ConfigError(
            f"option 'base': a run cannot start from the checkpoint {reference}, which may go away",
            "Start from the tuned model of that run.",
        )
    if start.model is not None:
        return start
    base = replace(start.base, name=_lasting_name(start.base))
    return replace(start, name=base.name, base=base)


def _folded(start: Resolved, job: Job) -> tuple[str, ...]:
    """Ids of the tuned models that are part of the base now."""
    if start.model is None:
        return ()
    return start.model.folded + (() if job.continued else (start.model.id,))


def _lasting_name(base: Base) -> str:
    """The base's name as it can be found from any working directory later."""
    local = Path(base.name).expanduser().resolve() == base.folder
    return str(base.folder) if local else base.name


def _model_name(session: _Session) -> str:
    """``ft:base:organization:suffix:six digits of the run``, in OpenAI's form."""
    store, run = session.store, session.run
    base = re.split(r"[/:]", run.base)[-1].partition("@")[0]
    suffix = run.config["suffix"] or store.get(Dataset, run.dataset).name
    parts = (base, store.settings.organization, suffix, run.id.split("_")[1][:6])
    return ":".join(("ft", *(re.sub(r"[^\w.-]+", "-", part).lower() for part in parts)))


def _summary(job: Job, state: TrainState) -> dict[str, Any]:
    from tunewright.training.checkpoints import checkpoint_path
    from tunewright.training.memory import peak_memory_bytes

    best = state.best_step or state.step
    return {
        "steps": state.step,
        "trained_tokens": state.tokens,
        "tokens_per_second": _speed(state),
        "first_step_seconds": state.first_step_seconds,
        "peak_memory_bytes": peak_memory_bytes(job.device),
        "train_loss": sum(state.recent_losses) / len(state.recent_losses),
        "valid_loss": state.best_loss,
        "best_checkpoint": checkpoint_path(Path("checkpoints"), best).as_posix(),
    }


def _speed(state: TrainState) -> float:
    """Tokens per second of the steps; of everything up to it when there was but one step."""
    if state.seconds:
        return state.timed_tokens / state.seconds
    return state.tokens / (state.first_step_seconds or 1.0)
