"""Choosing the learning rate by trying three of them, briefly, before a run begins.

Every rate trains the same first share of the run, from the same weights, with the run's own
method and its warm-up scaled to the trial; the loss on held-out rows decides. The rate stays at
its peak to the end of the trial: a decay to zero would flatter rates that are too high for a
longer run. What was trained is put back between the trials and after them, so that the run that
follows equals, bit for bit, one that was given the rate.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, ValidationError

from tunewright.config.training import TrainConfig
from tunewright.core.errors import Interrupted, TrainingError
from tunewright.core.events import Event, Listener
from tunewright.core.files import write_json_atomic
from tunewright.training.job import Job
from tunewright.training.loop import Loop
from tunewright.training.memory import out_of_memory
from tunewright.training.plan import Plan
from tunewright.training.supervision import Supervision

FACTORS = (1.0, 1 / 3, 3.0)
"""Rates that are tried, as multiples of the one that would be chosen; it wins a tie."""
_SHARE = 0.1
_FEWEST, _MOST = 10, 100
_HIGHEST = 1.0  # what optimizer.learning_rate allows
_FILE = "rate_search.json"


class Trial(BaseModel):
    """One learning rate and the loss that it led to; None when it led to no number at all."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rate: float
    loss: float | None


class RateSearch(BaseModel):
    """What was tried, and what came of it.

    Attributes:
        rate: the learning rate to train with.
        steps: optimizer steps of each trial.
        judged_by: which loss decides: the held-out rows', or without such rows the smoothed
            training loss.
        trials: the rates in ascending order.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    rate: float
    steps: int
    judged_by: Literal["validation", "training"]
    trials: tuple[Trial, ...]

    @property
    def reason(self) -> str:
        """Why this rate, for the plan."""
        loss = {"validation": "validation loss", "training": "training loss"}[self.judged_by]
        tried = ", ".join(
            f"{one.rate:g}: {'not finite' if one.loss is None else f'{one.loss:.4f}'}"
            for one in self.trials
        )
        return f"lowest {loss} after {self.steps} steps of each: {tried}"

    def data(self) -> dict[str, Any]:
        """The ``rate_search`` event."""
        lines = [f"learning rate {self.rate:g} ({self.reason})"]
        return {**self.model_dump(mode="json"), "lines": lines}

    def settle(self, config: TrainConfig) -> TrainConfig:
        """The recipe with the rate that was found."""
        settled = {"learning_rate": self.rate, "multiplier": None}
        return config.model_copy(update={"optimizer": config.optimizer.model_copy(update=settled)})


def read_search(run_folder: Path) -> RateSearch | None:
    """What a run's search found; None when it has none, or did not come to its end."""
    path = run_folder / _FILE
    try:
        return RateSearch.model_validate_json(path.read_bytes()) if path.exists() else None
    except ValidationError:  # damaged from outside; searching again finds the same
        return None


def keep_search(run_folder: Path, found: RateSearch) -> None:
    """Note what was found, so that a resumed run does not search again.

    Raises:
        StorageError: when the disk refuses.
    """
    write_json_atomic(run_folder / _FILE, found.model_dump(mode="json"))


def told(plan: Plan, found: RateSearch | None) -> Plan:
    """The plan of a run that searches, or that has searched before it was interrupted."""
    if found is not None:
        return replace(plan, learning_rate=found.rate, learning_rate_reason=found.reason)
    rates, steps = rates_around(plan.learning_rate), trial_steps(plan.steps)
    text = (
        f"learning rates {', '.join(f'{rate:g}' for rate in sorted(rates))} are tried first,"
        f" {steps} steps each: {len(rates) * steps} steps more than the {plan.steps:,} above"
    )
    return replace(plan, notes=(*plan.notes, text))


def rates_around(rate: float) -> list[float]:
    """The rates to try, the middle one first, in six digits so that they can be typed again."""
    rates = [float(f"{rate * factor:.6g}") for factor in FACTORS]
    return [one for one in rates if one <= _HIGHEST]


def trial_steps(steps: int) -> int:
    """Optimizer steps of each trial: a tenth of the run's, in bounds."""
    return min(steps, max(_FEWEST, min(_MOST, math.ceil(_SHARE * steps))))


def search_rate(job: Job, folder: Path, supervision: Supervision, listen: Listener) -> RateSearch:
    """Try three learning rates; the job is afterwards as it was before.

    Args:
        job: a run that has not begun.
        folder: the run's folder; nothing is written there.
        supervision: who may interrupt the trials.
        listen: gets ``progress`` events.

    Raises:
        Interrupted: when asked to stop or to pause; nothing is kept.
        TrainingError: no rate led to a number, or the memory does not suffice.
    """
    steps = trial_steps(job.steps)
    rates = rates_around(job.peak_rate)
    total = len(rates) * steps
    trials = []
    with _kept(job) as put_back:
        for number, rate in enumerate(rates, start=1):
            watch = _Watch(supervision, listen, (number - 1) * steps, total)
            trials.append(Trial(rate=rate, loss=_tried(job, folder, rate, steps, watch)))
            put_back()
            listen(_progress(number * steps, total))  # A trial may have ended before its last step.
    finite = [trial for trial in trials if trial.loss is not None]
    if not finite:
        raise TrainingError(
            f"none of the learning rates {', '.join(f'{rate:g}' for rate in rates)} gives a loss"
            " that is a number",
            "Look at the rows, or give a far lower optimizer.learning_rate without auto.",
        )
    return RateSearch(
        rate=min(finite, key=_loss).rate,
        steps=steps,
        judged_by="validation" if job.dev else "training",
        trials=tuple(sorted(trials, key=lambda trial: trial.rate)),
    )


def _loss(trial: Trial) -> float:
    return math.inf if trial.loss is None else trial.loss


class _Trial(Loop):
    """A loop that leaves nothing behind."""

    def _save(self, supervision: Supervision) -> None:
        pass


class _Undisturbed(Supervision):
    """Requests wait until the trials are over; ``_Watch`` looks for those that cannot."""

    def wanted(self) -> None:
        return None


class _Watch:
    """Makes progress of the steps of a trial, and ends it when that is asked for."""

    def __init__(self, supervision: Supervision, listen: Listener, before: int, total: int) -> None:
        self.supervision = supervision
        self._listen = listen
        self._before = before
        self._total = total

    def __call__(self, event: Event) -> None:
        if event.kind != "step":
            return
        if self.supervision.wanted() == "pause":
            self.supervision.requests.done()
            raise Interrupted("stopped while learning rates were tried")
        self._listen(_progress(self._before + event.data["step"], self._total))


def _progress(done: int, total: int) -> Event:
    data = {"stage": "trying learning rates", "done": done, "total": total}
    return Event(kind="progress", data=data)


def _tried(job: Job, folder: Path, rate: float, steps: int, watch: _Watch) -> float | None:
    """The loss after ``steps`` with this rate at its peak; None when it is not a number."""
    watched = job.config.watch.model_copy(update={"patience": 0})
    constant = job.config.optimizer.model_copy(update={"final": 1.0})
    every = {"eval_steps": steps, "save_steps": steps, "watch": watched, "optimizer": constant}
    brief = replace(
        job,
        config=job.config.model_copy(update=every),
        steps=steps,
        peak_rate=rate,
        preview=None,
        rehearse=False,
    )
    above = watch.supervision
    try:
        state = _Trial(brief, folder, watch).run(
            _Undisturbed(above.stop, above.requests, above.disk)
        )
    except TrainingError as error:
        if out_of_memory(error.__cause__):
            raise
        return None
    return state.valid_loss if job.dev else state.smoothed_loss


@contextmanager
def _kept(job: Job) -> Iterator[Callable[[], None]]:
    """Gives a function that puts the trained weights back; so they are at the end, whatever comes.

    The copy lies in the computer's memory, where full tuning of a large base has room for it.
    """
    held = {name: one.detach().to("cpu", copy=True) for name, one in job.parameters.items()}

    def put_back() -> None:
        with torch.no_grad():
            for name, parameter in job.parameters.items():
                parameter.copy_(held[name])
                parameter.grad = None

    devices = [job.device] if job.device.type == "cuda" else []
    with torch.random.fork_rng(devices):
        try:
            yield put_back
        finally:
            put_back()
