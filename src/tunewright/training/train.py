"""The stage: a TrainConfig → a Run and its Model; and how an interrupted run goes on."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tunewright.config.training import TrainConfig
from tunewright.core.errors import (
    ConfigError,
    InputError,
)
from tunewright.core.events import Event, Listener, ignore
from tunewright.core.files import disk_errors, write_json_atomic
from tunewright.core.records import Dataset, Model, Run
from tunewright.core.store import Store
from tunewright.model.references import Resolved, resolve
from tunewright.training.control import Requests
from tunewright.training.correction import Correction
from tunewright.training.disk import DiskPatience
from tunewright.training.drift import Now, keep_rows, refuse_drift
from tunewright.training.history import run_lock
from tunewright.training.plan import Plan
from tunewright.training.session import (
    Session,
    model_name,
    recorded,
    tell_damage,
    tell_threads,
    tell_unless_stopped,
    watched,
)
from tunewright.training.trackers.table import require_packages

if TYPE_CHECKING:
    # Loads torch; the stage does so inside its functions, so that the seconds to the first step
    # include it and the command line's help does not.
    from tunewright.training.checkpoints import Checkpoint, TrainState
    from tunewright.training.job import Job
    from tunewright.training.rate_search import RateSearch
    from tunewright.training.supervision import Supervision


def _passing(point: str) -> None:
    """The failpoint of real life; that of the checkpoints would load torch."""


def train(
    config: TrainConfig,
    store: Store,
    listen: Listener = ignore,
    at: Callable[[str], None] = _passing,
) -> Model:
    """Tune a base on a dataset.

    Args:
        config: the recipe.
        store: holds the dataset; gets the run and the model.
        listen: gets the events of the run, see ``core.events``.
        at: failpoint of every save, see ``training.checkpoints.POINTS``.

    Raises:
        InputError: an unknown dataset or base, or rows that cannot be learnt; no run is made.
        Interrupted: after Ctrl-C or SIGTERM; the state is saved and the hint says how to go on.
        TrainingError: the loss stopped being a number, or one row alone does not fit the memory;
            checkpoints so far are kept.
        StorageError: the disk refused; the run can be resumed from its last checkpoint.
    """
    started = time.perf_counter()
    from tunewright.training.assemble import Watch, build_job
    from tunewright.training.methods import require_rows_for
    from tunewright.training.rewards import with_grader

    dataset = store.get(Dataset, config.dataset)
    require_rows_for(config.method, dataset)
    config = with_grader(config, store)
    require_packages(config.watch.trackers)
    start = _resolve_start(config.base, store, listen)
    lasting = start.model.id if start.model else start.base.name
    board = config.watch.tensorboard
    board = board and str(Path(board).expanduser().absolute())
    watch = config.watch.model_copy(update={"tensorboard": board})
    lasts = {"dataset": dataset.id, "base": lasting, "watch": watch}
    config = config.model_copy(update=lasts)
    rows = store.folder(Dataset, dataset.id)
    job, plan = build_job(config, dataset, start, rows, Watch(started, listen))
    run = Run(
        id=store.new_id(Run),
        dataset=dataset.id,
        base=start.base.name,
        config=job.config.json_dict(),
        start=start.model.id if start.model else None,
        folded=_folded(start, job),
        state="running",
    )
    folder = store.open_folder(Run, run.id)
    with run_lock(folder):
        with disk_errors(folder):
            write_json_atomic(folder / "config.json", {**run.config, "identity": job.identity})
            keep_rows(rows, folder)
        store.add(run)
        session = Session(store, run, start.base, folder, listen, False, at)
        return _work(session, job, plan, None)


def resume(
    run_reference: str,
    store: Store,
    listen: Listener = ignore,
    at: Callable[[str], None] = _passing,
) -> Model:
    """Continue a run from its newest complete checkpoint, or from the start when it has none.

    On a CPU in float32 the losses and the adapter equal those of an uninterrupted run, bit for
    bit, given the same number of threads.

    Raises:
        InputError: an unknown or finished run, or one that a process is still training.
        TrainingError: the recipe, the data or the base is not what the run began with.
    """
    started = time.perf_counter()
    from tunewright.training.assemble import Watch, build_job
    from tunewright.training.checkpoints import search_checkpoints

    run = store.get(Run, run_reference)
    if run.state == "succeeded":
        raise InputError(f"run {run.id} is finished", "Start a new one with tunewright train.")
    folder = store.folder(Run, run.id)
    config = TrainConfig.build(run.config)
    require_packages(config.watch.trackers)
    with run_lock(folder):
        dataset = store.get(Dataset, run.dataset)
        start = _resolve_start(config.base, store, listen)
        rows = store.folder(Dataset, dataset.id)
        job, plan = build_job(config, dataset, start, rows, Watch(started, listen, resumed=True))
        found = search_checkpoints(folder / "checkpoints")
        saved = found.checkpoint.state.identity if found.checkpoint else None
        refuse_drift(folder, Now(job.identity, config, rows), saved)
        run = run.model_copy(update={"state": "running", "error": None})
        store.update(run)
        session = Session(store, run, start.base, folder, listen, True, at)
        tell_damage(session, found)
        return _work(session, job, plan, found.checkpoint)


def _work(session: Session, job: Job, plan: Plan, checkpoint: Checkpoint | None) -> Model:
    import torch

    from tunewright.training.rate_search import read_search, told
    from tunewright.training.reference import with_reference
    from tunewright.training.rollout_loop import open_loop, with_start
    from tunewright.training.stopping import StopRequest
    from tunewright.training.supervision import Supervision

    devices = [job.device] if job.device.type == "cuda" else []
    with recorded(session), torch.random.fork_rng(devices), StopRequest() as stop:
        minutes = job.config.watch.wait_for_disk
        disk = DiskPatience(session.folder, minutes, session.listen, lambda: stop.asked)
        session = replace(session, disk=disk)
        search = job.config.optimizer.auto
        found = read_search(session.folder) if search else None
        plan = told(plan, found) if search else plan
        session.emit(Event(kind="plan", data={"run": session.run.id, **plan.data()}))
        if session.resumed:
            step = checkpoint.state.step if checkpoint else 0
            session.emit(Event(kind="resumed", data={"step": step}))
        job = with_reference(job, lambda event: tell_unless_stopped(session, stop, event))
        job = with_start(job)
        supervision = Supervision(stop, Requests(session.folder), disk, session.at)
        if search:
            job, session = _with_rate(job, session, supervision, found)
        if checkpoint:
            job.read_adapter(checkpoint.adapter)
            tell_threads(session, checkpoint.state.threads)
        with watched(session, job, plan, checkpoint) as watchers:
            listen = watchers if plan.estimate is None else Correction(watchers, plan.estimate)
            loop = open_loop(job, session.folder, listen, checkpoint, session.store)
            state = loop.run(supervision)
            model = disk(lambda: _publish(session, job, state))
            disk(lambda: session.end("succeeded", summary=_summary(job, plan, state)))
        session.emit(Event(kind="done", data=model.model_dump(mode="json")))
        return model


def _with_rate(
    job: Job, session: Session, supervision: Supervision, found: RateSearch | None
) -> tuple[Job, Session]:
    """The job with the best of three learning rates, which the run's record then names.

    Args:
        job: with the rate to try others around.
        session: of this process.
        supervision: who may interrupt the trials.
        found: what an earlier process of this run found, if it came so far.
    """
    from tunewright.training.rate_search import keep_search, search_rate

    if found is None:
        found = search_rate(job, session.folder, supervision, session.listen)
        keep = found
        supervision.disk(lambda: keep_search(session.folder, keep))
        session.emit(Event(kind="rate_search", data=found.data()))
    config = found.settle(job.config)
    run = session.run.model_copy(update={"config": config.json_dict()})
    session.store.update(run)
    return replace(job, config=config, peak_rate=found.rate), replace(session, run=run)


def _publish(session: Session, job: Job, state: TrainState) -> Model:
    """The best checkpoint's adapter as a model; the same one when it was published before."""
    from tunewright.training.checkpoints import checkpoint_path, read_checkpoint

    store, run = session.store, session.run
    for known in store.list(Model):
        if known.run == run.id and known.name == model_name(session):
            return known
    step = state.best_step or state.step
    checkpoint = read_checkpoint(checkpoint_path(session.folder / "checkpoints", step))
    model = Model(
        id=store.new_id(Model),
        name=model_name(session),
        base=run.base,
        base_digest=session.base.digest,
        renderer_hash=job.identity["renderer"],
        run=run.id,
        step=step,
        parent=run.start,
        folded=run.folded,
        method=job.config.method,
        labels=store.get(Dataset, run.dataset).labels if job.config.method == "sft" else (),
    )
    with store.stage(Model, model.id) as folder:
        shutil.copytree(checkpoint.adapter, folder, dirs_exist_ok=True)
    store.add(model)
    return model


def _resolve_start(reference: str, store: Store, listen: Listener) -> Resolved:
    """A base or a tuned model; the base by a name that can be found from anywhere later.

    Raises:
        InputError: it is neither, or a checkpoint, which may be pruned.
    """
    start = resolve(store, reference, listen)
    if start.folders and start.model is None:
        raise ConfigError(
            f"option 'base': a run cannot start from the checkpoint {reference}, which may go away",
            "Start from the tuned model of that run.",
        )
    if start.model is not None:
        return start
    base = replace(start.base, name=start.base.lasting_name)
    return replace(start, name=base.name, base=base)


def _folded(start: Resolved, job: Job) -> tuple[str, ...]:
    """Ids of the tuned models that are part of the base now."""
    if start.model is None:
        return ()
    return start.model.folded + (() if job.continued else (start.model.id,))


def _summary(job: Job, plan: Plan, state: TrainState) -> dict[str, Any]:
    from tunewright.training.checkpoints import checkpoint_path
    from tunewright.training.memory import peak_memory_bytes

    best = state.best_step or state.step
    peak = peak_memory_bytes(job.device)
    return {
        "steps": state.step,
        "trained_tokens": state.tokens,
        "tokens_per_second": _speed(state),
        "first_step_seconds": state.first_step_seconds,
        "peak_memory_bytes": peak,
        "measured_peak": peak,
        "planned_peak": plan.estimate.memory.peak if plan.estimate else None,
        "train_loss": sum(state.recent_losses) / len(state.recent_losses),
        "valid_loss": state.best_loss,
        "best_checkpoint": checkpoint_path(Path("checkpoints"), best).as_posix(),
        "ended": _ended(job, state),
    }


def _ended(job: Job, state: TrainState) -> str:
    """Why there are no more steps: all done, no better for too long, or asked to stop."""
    if state.step == job.steps:
        return "done"
    return "patience" if 0 < job.config.watch.patience <= state.worse else "asked"


def _speed(state: TrainState) -> float:
    """Tokens per second of the steps; of everything up to it when there was but one step."""
    if state.seconds:
        return state.timed_tokens / state.seconds
    return state.tokens / (state.first_step_seconds or 1.0)
