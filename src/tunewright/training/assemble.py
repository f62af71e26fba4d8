"""Config, dataset and base → a job that can run, and its plan."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from tunewright.config.training import TrainConfig
from tunewright.core.dataset_io import read_rows
from tunewright.core.errors import DataError
from tunewright.core.files import digest
from tunewright.core.messages import Row, supervised
from tunewright.core.records import Dataset
from tunewright.model.adapters import adapter_parameters, attach_lora, save_adapter
from tunewright.model.catalog import Base
from tunewright.model.loading import load_model, pick_device, pick_dtype
from tunewright.model.rendering import Renderer
from tunewright.training.batches import Example, Sampler, examples_digest
from tunewright.training.loop import Job
from tunewright.training.methods import METHODS, Method
from tunewright.training.plan import Plan
from tunewright.training.schedule import default_learning_rate


@dataclass(frozen=True)
class Examples:
    """Both splits as token ids, and where the training rows came from."""

    train: list[Example]
    dev: list[Example]
    rows: list[Row]

    def digest(self) -> str:
        """Changes when a row, the tokenizer or the template changes."""
        return digest([examples_digest(self.train), examples_digest(self.dev)])


def read_examples(dataset: Dataset, folder: Path, renderer: Renderer, method: Method) -> Examples:
    """Read and render the splits that training uses.

    Raises:
        DataError: when no row has an answer to learn, or one does not fit the base.
    """
    rows = supervised(read_rows(folder, "train"))
    train = method.examples(rows, renderer)
    if not train:
        raise DataError(
            f"dataset {dataset.name}: no training row holds an answer to learn",
            "Prepare it from rows whose last message is the assistant's.",
        )
    dev = method.examples(supervised(read_rows(folder, "dev")), renderer)
    return Examples(train, dev, rows)


def build_job(
    config: TrainConfig, dataset: Dataset, base: Base, folder: Path, started: float
) -> tuple[Job, Plan]:
    """Load the base, attach a fresh adapter and lay out the steps.

    Args:
        config: the recipe.
        dataset: what to learn from.
        base: what to adapt.
        folder: the dataset's folder.
        started: ``time.perf_counter()`` when the stage began.
    """
    method = METHODS[config.method]
    renderer = Renderer(base.folder)
    examples = read_examples(dataset, folder, renderer, method)
    device = pick_device(config.device)
    dtype = pick_dtype(config.precision, device)
    model = load_model(base, device, dtype)
    total = sum(parameter.numel() for parameter in model.parameters())
    attach_lora(model, config.lora, config.seed)
    parameters = adapter_parameters(model)
    sampler = Sampler(tuple(map(len, examples.train)), config.batch_tokens, config.seed)
    rate, reason = config.optimizer.learning_rate, "as asked"
    if rate is None:
        rate, reason = default_learning_rate(total)
    job = Job(
        config=config,
        model=model,
        parameters=parameters,
        method=method,
        train=examples.train,
        dev=examples.dev,
        sources=[row.source for row in examples.rows],
        sampler=sampler,
        steps=config.max_steps or sampler.steps(config.epochs),
        peak_rate=rate,
        device=device,
        write_adapter=lambda target: save_adapter(model, config.lora, base.name, target),
        identity=_identity(config, base, renderer, examples),
        started=started,
    )
    return job, _plan(job, base, dataset, total, dtype, reason)


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


def _plan(
    job: Job, base: Base, dataset: Dataset, total: int, dtype: torch.dtype, reason: str
) -> Plan:
    trainable = sum(parameter.numel() for parameter in job.parameters.values())
    return Plan(
        base=base.name,
        dataset=dataset.id,
        method=job.config.method,
        trainable=trainable,
        parameters=total + trainable,
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


def _epochs(job: Job) -> float:
    """Passes over the rows; with ``max_steps`` an estimate from the first epoch's batches."""
    if job.config.max_steps is None:
        return job.config.epochs
    return round(job.steps / len(job.sampler.epoch(0)), 2)
