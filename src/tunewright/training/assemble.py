"""Config, dataset and base → a job that can run, and its plan."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from tunewright.config.training import TrainConfig
from tunewright.core.errors import DataError
from tunewright.core.events import Event, Listener
from tunewright.core.files import digest
from tunewright.core.messages import Passage, Row
from tunewright.core.records import Dataset
from tunewright.model.adapters import read_adapter_tensors, set_active
from tunewright.model.catalog import Base
from tunewright.model.families import unchecked
from tunewright.model.loading import pick_device, pick_dtype
from tunewright.model.references import Resolved
from tunewright.model.rendering import Renderer
from tunewright.model.tunable import Start, Tunable, make_tunable
from tunewright.model.tuners.base import DEFAULT
from tunewright.model.tuners.table import TUNERS
from tunewright.model.tuners.targets import frozen_experts
from tunewright.training.batches import Progress, Unit, examples_digest
from tunewright.training.choice import Choice
from tunewright.training.drawing import Drawing
from tunewright.training.drift import config_digest
from tunewright.training.estimates import Estimate
from tunewright.training.job import Job
from tunewright.training.machine import Machine, this_machine
from tunewright.training.methods import Method, method_of
from tunewright.training.methods.base import Extension
from tunewright.training.outlook import facts_of, fitted, rank_in, refuse_misfit, shape_in, tight
from tunewright.training.pace import Draw, timed_drawing
from tunewright.training.plan import Plan
from tunewright.training.preview import Preview, first_questions
from tunewright.training.recipes import Default, chosen
from tunewright.training.recompute import recompute
from tunewright.training.schedule import default_learning_rate

_SILENT_ROWS = 5000


@dataclass(frozen=True)
class Examples:
    """Both splits as token ids, and where the training rows came from."""

    train: Sequence[Unit]
    dev: Sequence[Unit]
    rows: Sequence[Row | Passage]
    """Training rows that can be learnt from; a unit's ``rows`` are places in this list."""
    skipped: int
    """Training rows left out because nothing in them is to be learnt."""

    def digest(self) -> str:
        """Changes when a row, the tokenizer or the template changes."""
        return digest([examples_digest(self.train), examples_digest(self.dev)])


@dataclass(frozen=True)
class Watch:
    """When the stage began (``time.perf_counter()``) and who listens to it.

    A resumed run is not refused for what its plan says of memory: it has run before.
    """

    started: float
    listen: Listener
    resumed: bool = False

    def progress(self, done: int, total: int) -> None:
        """Tell how far rendering is; small datasets are ready before anyone could read it."""
        if total > _SILENT_ROWS:
            data = {"stage": "tokenizing", "done": done, "total": total}
            self.listen(Event(kind="progress", data=data))


def read_examples(
    dataset: Dataset,
    folder: Path,
    renderer: Renderer,
    method: Method[Any, Any],
    progress: Progress,
) -> Examples:
    """Read and render the splits that training uses.

    Raises:
        DataError: when no row has an answer to learn, or one does not fit the base.
    """
    rows, others = method.read(folder, "train")
    train = method.examples(rows, renderer, progress)
    if not train:
        raise DataError(
            f"dataset {dataset.name}: no training row holds an answer to learn",
            "Prepare it from rows whose last message is the assistant's.",
        )
    used = _rows_in(train)
    if used < method.fewest:
        raise DataError(
            f"dataset {dataset.name} has {used} training row to learn from; this method needs"
            f" at least {method.fewest}"
        )
    dev = method.examples(method.read(folder, "dev")[0], renderer, progress)
    return Examples(train, dev, rows, others + len(rows) - used)


def _rows_in(units: Sequence[Unit]) -> int:
    return len({row for unit in units for row in unit.rows})


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

    Raises:
        InputError: the run does not fit the memory.
    """
    method = method_of(config)
    base = start.base
    renderer = Renderer(base.folder)
    examples = read_examples(dataset, folder, renderer, method, watch.progress)
    config, found = _with_defaults(config, start, method.workload(examples.train))
    device = pick_device(config.device)
    dtype = pick_dtype(config.precision, device)
    machine = this_machine(device, dtype, folder)
    choice = _fitted(config, base, examples, machine, watch)
    if choice is not None:
        config, found = choice.config, (*found, *_lines(choice.chosen))
    method = method_of(config)
    tunable = make_tunable(Start(base, start.folders), config, device, dtype)
    recompute(tunable.model, config.memory.checkpointing)
    newest = start.folders[-1] if start.folders else None
    extension = method.extend(tunable.model, renderer, newest)
    sampler = method.sampler(examples.train)
    rate, reason = _peak_rate(config, method, tunable.own)
    job = Job(
        config=config,
        model=extension.model,
        parameters=tunable.trained.parameters | extension.parameters,
        method=method,
        train=examples.train,
        dev=examples.dev,
        sources=[row.source for row in examples.rows],
        sampler=sampler,
        steps=config.max_steps or sampler.steps(config.epochs or method.epochs),
        peak_rate=rate,
        device=device,
        write_adapter=lambda target: _write(tunable, extension, method, base, target),
        read_adapter=lambda saved: _read(tunable, extension, method, saved),
        reference=lambda: _as_it_was(tunable),
        identity=_identity(config, base, renderer, examples),
        started=watch.started,
        factors=tunable.trained.factors,
        continued=tunable.continued,
        preview=_preview(tunable, method, renderer, base, folder),
        drawing=Drawing(tunable.model, renderer, base) if method.draws else None,
        rehearse=_rehearses(choice, config, machine) and not method.draws,
    )
    notes = (*_start_notes(start, job), *_notes(job, tunable.model, renderer, examples))
    plan = _plan(job, dataset, _weights(tunable, extension), dtype, reason)
    expected = None if choice is None else _outlook(choice, job, machine)
    return job, replace(plan, base=start.name, notes=notes, estimate=expected, chosen=found)


def _fitted(
    config: TrainConfig, base: Base, examples: Examples, machine: Machine, watch: Watch
) -> Choice | None:
    """How the run fits the machine; None for a base whose sizes cannot be told."""
    method = method_of(config)
    units = method.workload(examples.train)
    choice = fitted(config, base.folder, units, machine, divides=type(method).divides())
    if choice is not None and not watch.resumed:
        refuse_misfit(choice, machine)
    return choice


def _weights(tunable: Tunable, extension: Extension) -> int:
    """All of the model's weights."""
    return tunable.weights + sum(one.numel() for one in extension.parameters.values())


def _rehearses(choice: Choice | None, config: TrainConfig, machine: Machine) -> bool:
    wanted = config.memory.rehearse
    if wanted == "auto":
        return machine.device == "cuda" if choice is None else tight(choice, machine)
    return wanted == "always"


def _outlook(choice: Choice, job: Job, machine: Machine) -> Estimate:
    """What the run will take, with the tokens of its own batches."""
    plan = choice.estimate
    if job.drawing is not None:
        return timed_drawing(plan, _draw(job), machine.flops, machine.device)
    passes = min(job.steps / len(job.sampler.epoch(0)), _epochs(job))
    return replace(plan, tokens=round(passes * sum(map(len, job.train))))


def _draw(job: Job) -> Draw:
    """What a run draws at most, and how often it goes over it."""
    rl = job.config.rl
    answers = job.steps * rl.prompts * rl.group
    asked = sum(map(len, job.train)) / len(job.train)
    drawn = answers * rl.max_new_tokens
    return Draw(
        tokens=round(answers * asked) + drawn,
        drawn=drawn,
        updates=rl.iterations,
        looks=bool(rl.beta) + (rl.iterations > 1),
    )


def _with_defaults(
    config: TrainConfig, start: Resolved, units: Sequence[Unit]
) -> tuple[TrainConfig, tuple[str, ...]]:
    """The recipe with what nobody set, and a line on each such option."""
    before = rank_in(start.folders[-1]) if start.folders else None
    config, found = chosen(config, shape_in(start.base.folder), facts_of(units), before)
    return config, _lines(found)


def _lines(found: Mapping[str, Default]) -> tuple[str, ...]:
    """A line on each option that nobody set."""
    return tuple(
        f"{key} {one.value if isinstance(one.value, str) else f'{one.value:g}'} ({one.reason.en})"
        for key, one in found.items()
    )


def _write(
    tunable: Tunable, extension: Extension, method: Method[Any, Any], base: Base, folder: Path
) -> None:
    """What is trained, into a folder."""
    tunable.tuner.save(tunable.model, method.config, base, folder)
    method.save(extension, folder)


def _read(tunable: Tunable, extension: Extension, method: Method[Any, Any], folder: Path) -> None:
    """What ``_write`` wrote, back into the model."""
    weights = read_adapter_tensors(folder)
    with torch.no_grad():
        for name, parameter in tunable.trained.parameters.items():
            parameter.copy_(weights[name])
    method.restore(extension, folder)


def _preview(
    tunable: Tunable, method: Method[Any, Any], renderer: Renderer, base: Base, folder: Path
) -> Preview | None:
    """The first questions to validate on, if answers are wanted and the rows ask any."""
    # Methods that draw answers show those that they grade.
    shown = method.config.method != "reward" and not method.draws
    wanted = method.config.watch.preview if shown else 0
    rows = method.read(folder, "dev")[0] if wanted else ()
    questions = first_questions(rows, wanted, renderer)
    return Preview(tunable.model, renderer, base, questions) if questions else None


@contextmanager
def _as_it_was(tunable: Tunable) -> Iterator[Any]:
    """The model that a run starts from: without an adapter that was not trained before."""
    fresh = not (tunable.continued or tunable.tuner.trains_base)
    if fresh:
        set_active(tunable.model, None)
    try:
        yield tunable.model.eval()
    finally:
        if fresh:
            set_active(tunable.model, DEFAULT)


def _peak_rate(config: TrainConfig, method: Method[Any, Any], parameters: int) -> tuple[float, str]:
    asked = config.optimizer.learning_rate
    if asked is not None:
        return asked, "as asked"
    rate, reason = default_learning_rate(parameters)
    share, why = method.rate.at(parameters)
    for factor, comment in ((TUNERS[config.tuner].rate, ""), (share, f"; {config.method}: {why}")):
        if factor != 1:
            rate *= factor
            reason = f"{_fraction(factor)} × {reason}{comment}"
    multiplier = config.optimizer.multiplier
    if multiplier is not None:
        return rate * multiplier, f"{multiplier:g} × {reason}"
    return rate, reason


def _fraction(factor: float) -> str:
    """``1/30``, or ``0.1`` where a decimal reads better."""
    inverse = round(1 / factor)
    exact = f"{factor:.6g}"
    return exact if len(exact) <= 4 or abs(factor * inverse - 1) > 1e-9 else f"1/{inverse}"


def _identity(
    config: TrainConfig, base: Base, renderer: Renderer, examples: Examples
) -> dict[str, str]:
    return {
        "config": config_digest(config),
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
        rows=_rows_in(job.train),
        dev_rows=_rows_in(job.dev),
        tokens=sum(map(len, job.train)),
        supervised_tokens=sum(unit.learnt for unit in job.train),
        steps=job.steps,
        epochs=_epochs(job),
        batch_tokens=job.config.batch_tokens,
        precision=str(dtype).removeprefix("torch."),
        device=str(job.device),
        learning_rate=job.peak_rate,
        learning_rate_reason=reason,
        drawn=_drawn(job),
    )


def _drawn(job: Job) -> str:
    """What a step draws, for methods that do."""
    rl = job.config.rl
    if job.drawing is None:
        return ""
    return (
        f"{rl.prompts} questions with {rl.group} answers of up to {rl.max_new_tokens} tokens each"
    )


def _start_notes(start: Resolved, job: Job) -> tuple[str, ...]:
    if not start.folders:
        return ()
    if job.continued:
        return (f"{start.name} goes on being trained",)
    return (f"{start.name} becomes part of the base; {job.config.tuner} is trained on top",)


def _notes(job: Job, model: Any, renderer: Renderer, examples: Examples) -> tuple[str, ...]:
    config = job.config
    notes = [note for note in (renderer.note, unchecked(model.config.model_type)) if note]
    if experts := frozen_experts(model):
        notes.append(f"the base's routed experts, {experts:.0%} of its weights, stay as they are")
    if examples.skipped:
        notes.append(f"{examples.skipped:,} training rows hold nothing to learn and are left out")
    if config.precision == "bfloat16" and pick_dtype("auto", job.device) != torch.bfloat16:
        notes.append("this machine only emulates bfloat16; precision=float32 is many times faster")
    return (*notes, *_method_notes(config, job.method, examples))


def _method_notes(
    config: TrainConfig, method: Method[Any, Any], examples: Examples
) -> tuple[str, ...]:
    notes = list(method.notes(examples.train))
    if config.epochs is None and config.max_steps is None and method.epochs_reason:
        notes.append(f"{method.epochs:g} epochs by default: {method.epochs_reason}")
    return tuple(notes)


def _epochs(job: Job) -> float:
    """Passes over the rows; with ``max_steps`` an estimate from the first epoch's batches."""
    if job.config.max_steps is None:
        return job.config.epochs or job.method.epochs
    return round(job.steps / len(job.sampler.epoch(0)), 2)
