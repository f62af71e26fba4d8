"""Config, dataset and base → a job that can run, and its plan."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import torch

from tunewright.config.training import TrainConfig
from tunewright.core.dataset_io import read_rows
from tunewright.core.errors import DataError
from tunewright.core.events import Event, Listener
from tunewright.core.files import digest
from tunewright.core.messages import Row, supervised
from tunewright.core.records import Dataset
from tunewright.model.catalog import Base
from tunewright.model.loading import pick_device, pick_dtype
from tunewright.model.references import Resolved
from tunewright.model.rendering import Renderer
from tunewright.model.tuners.start import Start, make_tunable
from tunewright.model.tuners.table import TUNERS
from tunewright.training.batches import Example, Progress, Sampler, examples_digest
from tunewright.training.loop import Job
from tunewright.training.methods import METHODS, Method
from tunewright.training.plan import Plan
from tunewright.training.schedule import default_learning_rate

_SILENT_ROWS = 5000


@dataclass(frozen=True)
class Examples:
    """Both splits as token ids, and where the training rows came from."""

    train: list[Example]
    dev: list[Example]
    rows: list[Row]
    """Training rows with an answer; an example's ``row`` is a place in this list."""
    skipped: int
    """Training rows left out because nothing in them is to be learnt."""

    def digest(self) -> str:
        """Changes when a row, the tokenizer or the template changes."""
        return digest([examples_digest(self.train), examples_digest(self.dev)])


@dataclass(frozen=True)
class Watch:
    """When the stage began (``time.perf_counter()``) and who listens to it."""

    started: float
    listen: Listener

    def progress(self, done: int, total: int) -> None:
        """Tell how far rendering is; small datasets are ready before anyone could read it."""
        if total > _SILENT_ROWS:
            data = {"stage": "tokenizing", "done": done, "total": total}
            self.listen(Event(kind="progress", data=data))


def read_examples(
    dataset: Dataset, folder: Path, renderer: Renderer, method: Method, progress: Progress
) -> Examples:
    """Read and render the splits that training uses.

    Raises:
        DataError: when no row has an answer to learn, or one does not fit the base.
    """
    found = read_rows(folder, "train")
    rows = supervised(found)
    train = method.examples(rows, renderer, progress)
    if not train:
        raise DataError(
            f"dataset {dataset.name}: no training row holds an answer to learn",
            "Prepare it from rows whose last message is the assistant's.",
        )
    dev = method.examples(supervised(read_rows(folder, "dev")), renderer, progress)
    return Examples(train, dev, rows, len(found) - len(train))


def build_job(
    config: TrainConfig, dataset: Dataset, start: Resolved, folder: Path, watch: Watch
) -> tuple[Job, Plan]:
    """Load what the run starts from, attach what is trained and lay out the steps.

    Args:
        config: the recipe.
        dataset: what to learn from.
        start: the base, or the tuned model, to go on from.
        folder: the dataset's folder.
        watch: when the stage began and who listens.
    """
    method = METHODS[config.method]
    base = start.base
    renderer = Renderer(base.folder)
    examples = read_examples(dataset, folder, renderer, method, watch.progress)
    device = pick_device(config.device)
    dtype = pick_dtype(config.precision, device)
    tunable = make_tunable(Start(base, start.folders), config, device, dtype)
    model, tuner = tunable.model, tunable.tuner
    sampler = Sampler(tuple(map(len, examples.train)), config.batch_tokens, config.seed)
    rate, reason = _peak_rate(config, tunable.own)
    job = Job(
        config=config,
        model=model,
        parameters=tunable.trained.parameters,
        method=method,
        train=examples.train,
        dev=examples.dev,
        sources=[row.source for row in examples.rows],
        sampler=sampler,
        steps=config.max_steps or sampler.steps(config.epochs),
        peak_rate=rate,
        device=device,
        write_adapter=lambda target: tuner.save(model, config, base, target),
        identity=_identity(config, base, renderer, examples),
        started=watch.started,
        factors=tunable.trained.factors,
        continued=tunable.continued,
    )
    notes = (*_start_notes(start, job), *_notes(config, renderer, examples, device))
    plan = _plan(job, dataset, tunable.weights, dtype, reason)
    return job, replace(plan, base=start.name, notes=notes)


def _peak_rate(config: TrainConfig, parameters: int) -> tuple[float, str]:
    asked = config.optimizer.learning_rate
    if asked is not None:
        return asked, "as asked"
    rate, reason = default_learning_rate(parameters)
    factor = TUNERS[config.tuner].rate
    return (rate, reason) if factor == 1 else (rate * factor, f"{factor:g} × {reason}")


def _identity(
    config: TrainConfig, base: Base, renderer: Renderer, examples: Examples
) -> dict[str, str]:
    recipe = config.json_dict()
    # The same data and base may be named in several ways; their digests are what counts.
    del recipe["dataset"], recipe["base"]
    return {
        "config": digest(recipe),
        "data": examples.digest(),
        "base": base.digest,
        "renderer": renderer.hash,
    }


def _plan(job: Job, dataset: Dataset, total: int, dtype: torch.dtype, reason: str) -> Plan:
    trainable = sum(parameter.numel() for parameter in job.parameters.values())
    return Plan(
        base=job.config.base,
        dataset=dataset.id,
        method=job.config.method,
        trainable=trainable,
        parameters=total,
        rows=len(job.train),
        dev_rows=len(job.dev),
        tokens=sum(map(len, job.train)),
        supervised_tokens=sum(sum(example.mask) for example in job.train),
        steps=job.steps,
        epochs=_epochs(job),
        batch_tokens=job.config.batch_tokens,
        precision=str(dtype).removeprefix("torch."),
        device=str(job.device),
        learning_rate=job.peak_rate,
        learning_rate_reason=reason,
    )


def _start_notes(start: Resolved, job: Job) -> tuple[str, ...]:
    if not start.folders:
        return ()
    if job.continued:
        return (f"{start.name} goes on being trained",)
    return (f"{start.name} becomes part of the base; {job.config.tuner} is trained on top",)


def _notes(
    config: TrainConfig, renderer: Renderer, examples: Examples, device: torch.device
) -> tuple[str, ...]:
    notes = [renderer.note] if renderer.note else []
    if examples.skipped:
        notes.append(f"{examples.skipped:,} training rows hold nothing to learn and are left out")
    if config.precision == "bfloat16" and pick_dtype("auto", device) != torch.bfloat16:
        notes.append("this machine only emulates bfloat16; precision=float32 is many times faster")
    return tuple(notes)


def _epochs(job: Job) -> float:
    """Passes over the rows; with ``max_steps`` an estimate from the first epoch's batches."""
    if job.config.max_steps is None:
        return job.config.epochs
    return round(job.steps / len(job.sampler.epoch(0)), 2)
