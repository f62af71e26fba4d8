"""A fine-tuning job trains: a recipe from what was asked for, a run, and what it leaves."""

from __future__ import annotations

import csv
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tunewright.config.base import merge
from tunewright.config.training import TrainConfig
from tunewright.core.errors import StorageError
from tunewright.core.records import Dataset, File, Model, Run
from tunewright.jobs.checkpoint_models import checkpoint_name
from tunewright.jobs.filestore import place, spooling
from tunewright.jobs.journal import Journal, Note
from tunewright.jobs.run import resume, run
from tunewright.jobs.telling import Teller
from tunewright.jobs.work import CHECKPOINT, Close, Work, put_back
from tunewright.training.history import read_history, run_is_alive

if TYPE_CHECKING:
    from tunewright.core.store import Store

RESULTS = "fine-tune-results"
_COLUMNS = ("step", "train_loss", "train_accuracy", "valid_loss", "valid_mean_token_accuracy")
_USUAL_STEPS = 50  # between two checkpoints of a long epoch
_COUNTED_ROWS = 5000  # more rows than this make epochs longer than the usual steps
_RELEASE_SECONDS = 5.0


def tune(work: Work) -> Close:
    """Train, or go on with the run of an earlier worker; make the tuned model.

    Raises:
        Interrupted: when asked to stop; the run is saved.
        TunewrightError: when the run fails.
    """
    teller = Teller(work)
    model = _trained(work, teller)
    teller.flush()
    finished = work.store.get(Run, model.run)
    _publish_last(work, teller, finished)
    results = _write_results(work, finished)
    told = (
        Note(f"New fine-tuned model created: {model.name}"),
        Note("The job has successfully completed"),
    )

    def close() -> None:
        record = work.record.model_copy(
            update={
                "fine_tuned_model": model.name,
                "trained_tokens": finished.summary["trained_tokens"],
                "result_files": (results.id,),
                "estimated_finish": None,
            }
        )
        with work.plain.transaction():
            cancelled = work.queue.get(work.lease.job).asked == "cancel"
            if not cancelled:
                work.queue.end(work.lease, "succeeded")
                work.plain.add(results)
                work.plain.update(record)
                Journal(work.plain).write(work.lease.job, told)
        if cancelled:
            put_back(work.plain, work.queue, work.lease)

    return close


def _trained(work: Work, teller: Teller) -> Model:
    store, job = work.store, work.record
    begun = store.by_id(Run, work.payload["run"]) if "run" in work.payload else None
    if begun is None:
        dataset = store.get(Dataset, job.dataset or "")
        made = run(_recipe(work, dataset), store, teller)
    else:
        folder = store.folder(Run, begun.id)
        ready = _model_of(store, begun)
        if begun.state == "succeeded" and ready is not None:
            return ready
        work.heart.run_folder = folder
        _wait_until_free(folder)
        made = resume(begun.id, store, teller)
    if not isinstance(made, Model):
        raise TypeError("a run gave no model")
    return made


def _wait_until_free(folder: Path) -> None:
    """An earlier worker may be about to go.

    Raises:
        StorageError: it does not.
    """
    end = time.monotonic() + _RELEASE_SECONDS
    while run_is_alive(folder):
        if time.monotonic() > end:
            raise StorageError(f"another process still trains run {folder.name}")
        time.sleep(0.1)


def _model_of(store: Store, begun: Run) -> Model | None:
    mine = (model for model in store.list(Model) if model.run == begun.id)
    return next((model for model in mine if CHECKPOINT not in model.name), None)


def _recipe(work: Work, dataset: Dataset) -> TrainConfig:
    """The recipe, with checkpoints and validations at least once per epoch."""
    job = work.record
    asked = merge({"watch": {"preview": 0}}, job.recipe, {"dataset": dataset.id, "base": job.start})
    config = TrainConfig.build(asked)
    steps = min(_USUAL_STEPS, _epoch_steps(config, dataset, work.store))
    return TrainConfig.build({"save_steps": steps, "eval_steps": steps, **asked})


def _epoch_steps(config: TrainConfig, dataset: Dataset, store: Store) -> int:
    """Steps of the first epoch; of large sets only that there are many."""
    if dataset.splits["train"] > _COUNTED_ROWS:
        return _USUAL_STEPS
    from tunewright.model.references import resolve
    from tunewright.model.rendering import Renderer
    from tunewright.training.assemble import read_examples
    from tunewright.training.batches import Sampler, unwatched
    from tunewright.training.methods import method_of
    from tunewright.training.outlook import facts_of, rank_in, shape_in
    from tunewright.training.recipes import chosen

    start = resolve(store, config.base)
    folder = store.folder(Dataset, dataset.id)
    renderer = Renderer(start.base.folder)
    units = read_examples(dataset, folder, renderer, method_of(config), unwatched).train
    before = rank_in(start.folders[-1]) if start.folders else None
    config, _ = chosen(config, shape_in(start.base.folder), facts_of(units), before)
    return len(Sampler(tuple(map(len, units)), config.batch_tokens, config.seed).epoch(0))


def _publish_last(work: Work, teller: Teller, finished: Run) -> None:
    """The last checkpoint is one that can be asked for, wherever in its epoch training ended."""
    step = finished.summary["steps"]
    saved = work.store.folder(Run, finished.id) / "checkpoints" / f"step-{step:08d}"
    name = checkpoint_name(work.store, finished, step)
    if saved.is_dir() and work.store.find(Model, name) is None:
        teller.publish(step)


def _write_results(work: Work, finished: Run) -> File:
    """The metrics of every step as CSV, on disk; its row is added with the job's last word."""
    folder = work.store.folder(Run, finished.id)
    validations = {entry["step"]: entry for entry in read_history(folder, "validation")}
    with spooling(work.store, File) as spool:
        writer = csv.writer(_Lines(spool), lineterminator="\n")
        writer.writerow(_COLUMNS)
        for entry in read_history(folder):
            valid = validations.get(entry["step"], {"loss": "", "metrics": {}})
            accuracies = [one["metrics"].get("token_accuracy", "") for one in (entry, valid)]
            writer.writerow(
                [entry["step"], entry["loss"], accuracies[0], valid["loss"], accuracies[1]]
            )
        file = File(
            id=work.store.new_id(File),
            name=f"step_metrics-{work.record.id}.csv",
            purpose=RESULTS,
            bytes=spool.size,
            sha256=spool.sha256,
            project=work.record.project,
        )
        place(work.store, file, spool)
    return file


class _Lines:
    """What ``csv.writer`` writes to."""

    def __init__(self, spool: Any) -> None:
        self._spool = spool

    def write(self, text: str) -> None:
        """One line."""
        self._spool.write(text.encode())
