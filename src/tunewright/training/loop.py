"""The training loop: forward, backward, clip, AdamW; validate and save on time; stop well."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path
from typing import Any

import torch
from torch.nn.utils import clip_grad_norm_

from tunewright.core.errors import TrainingError
from tunewright.core.events import Event, Listener
from tunewright.training.batches import Unit
from tunewright.training.checkpoints import (
    Checkpoint,
    TrainState,
    optimizer_tensors,
    prune,
    restore_optimizer,
    save_checkpoint,
)
from tunewright.training.job import Job
from tunewright.training.memory import out_of_memory, peak_memory_bytes
from tunewright.training.parts import parts_of, tell
from tunewright.training.passes import Passes
from tunewright.training.plan import readable_size
from tunewright.training.rehearsal import longest_batch, rehearse_save
from tunewright.training.schedule import learning_rate
from tunewright.training.supervision import Supervision
from tunewright.training.texts import both

_RECENT = 20  # steps that speed, remaining time and the reported training loss are averaged over
_SMOOTHING = 0.9  # weight of what was in the smoothed loss


class Loop:
    """One run of a job, from its beginning or from a checkpoint."""

    def __init__(
        self, job: Job, folder: Path, listen: Listener, checkpoint: Checkpoint | None = None
    ) -> None:
        self.job = job
        self.folder = folder
        """Where checkpoints go."""
        self.state = checkpoint.state if checkpoint else TrainState(identity=job.identity)
        self._listen = listen
        self._names = sorted(job.parameters, key=lambda name: job.factors.get(name, 1.0))
        """In the optimizer's order: those with one learning rate together."""
        self._saved_step = self.state.step
        self._validated_step: int | None = None
        self._preview = job.preview
        self._passes = Passes(job, self.state, self._emit)
        self._done = 0  # steps of this process
        self._epoch_batches = 1
        self._times: deque[tuple[float, int]] = deque(maxlen=_RECENT)
        options = job.config.optimizer
        self._optimizer = torch.optim.AdamW(
            self._groups(),
            lr=job.peak_rate,
            betas=(options.beta1, options.beta2),
            weight_decay=options.weight_decay,
            fused=True,
        )
        if checkpoint:
            restore_optimizer(self._optimizer, self._names, checkpoint)

    def run(self, supervision: Supervision) -> TrainState:
        """Train to the last step, or until it gets no better, or is asked to end; save.

        Raises:
            Interrupted: when asked to stop; the state is saved.
            TrainingError: at a loss or gradient that is not finite; earlier checkpoints stay.
            StorageError: when a checkpoint cannot be written; earlier checkpoints stay.
        """
        config, state = self.job.config, self.state
        self.job.model.train()
        if self.job.rehearse and self.state.step < self.job.steps:
            self._rehearse(supervision)
        for units in self._batches():
            if self._exhausted() or self._ended_by(supervision):
                break
            self._step(units)
            last = state.step == self.job.steps
            improved = (state.step % config.eval_steps == 0 or last) and self._validate()
            due = improved or last or state.step % config.save_steps == 0
            if due or self._exhausted():
                self._save(supervision)
        if self._exhausted():
            data = {"step": state.step, "best_step": state.best_step, "validations": state.worse}
            self._emit("stopped_early", **data)
        return state

    def _exhausted(self) -> bool:
        """Whether the run was given as many validations as it may have to get better."""
        patience = self.job.config.watch.patience
        return 0 < patience <= self.state.worse and self.state.step < self.job.steps

    def _ended_by(self, supervision: Supervision) -> bool:
        """Do what is asked of the run now; True when it is to end as though it were done."""
        wanted, state = supervision.wanted(), self.state
        if wanted is None or (wanted == "stop" and not state.step):
            # There is nothing to keep before the first step: the request waits for it.
            return False
        if wanted == "stop" and self._validated_step != state.step:
            self._validate()
        if state.step:
            self._save(supervision)
        if wanted == "pause":
            raise supervision.paused(state.step, self.job.steps)
        supervision.requests.done()
        self._emit("asked", action=wanted, step=state.step)
        return wanted == "stop"

    def _groups(self) -> list[dict[str, Any]]:
        """The optimizer's groups: one per learning rate."""
        factors = self.job.factors
        return [
            {"params": [self.job.parameters[name] for name in names], "factor": factor}
            for factor, names in groupby(self._names, lambda name: factors.get(name, 1.0))
        ]

    def _batches(self) -> Iterator[list[Unit]]:
        """Each step's units, from where the state stands to the last; keeps its position."""
        job, state = self.job, self.state
        while state.step < job.steps:
            order = job.sampler.epoch(state.epoch)
            self._epoch_batches = len(order)
            for indices in order[state.batch :]:
                yield [job.train[index] for index in indices]
                if state.step == job.steps:
                    return
            state.epoch, state.batch = state.epoch + 1, 0

    def _step(self, units: Sequence[Unit]) -> None:
        job = self.job
        begin = time.perf_counter()
        rate = self._begin_step()
        found = self._passes.learn(units, self._set_chance)
        with self._memory_named():
            norm = clip_grad_norm_(job.parameters.values(), job.config.optimizer.max_grad_norm)
            loss_value, norm_value = found.outcome.loss.item(), norm.item()
            if not (math.isfinite(loss_value) and math.isfinite(norm_value)):
                raise self._not_finite(units, loss_value, norm_value)
            self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)
        self._advance(found.tokens, loss_value, time.perf_counter() - begin)
        self._report(loss_value, norm_value, rate, found.outcome.numbers())

    def _begin_step(self) -> float:
        """Set the learning rate, which is returned, and chance."""
        job, state = self.job, self.state
        rate = learning_rate(state.step + 1, job.steps, job.peak_rate, job.config.optimizer)
        for group in self._optimizer.param_groups:
            group["lr"] = rate * group["factor"]
        self._set_chance()
        return rate

    def _set_chance(self) -> None:
        """Dropout depends on seed and step alone, so that a resumed run repeats it exactly."""
        torch.manual_seed((self.job.config.seed * 1_000_003 + self.state.step) % 2**63)

    def _advance(self, tokens: int, loss: float, seconds: float) -> None:
        state = self.state
        state.step += 1
        state.batch += 1
        state.tokens += tokens
        state.recent_losses = [*state.recent_losses, loss][-_RECENT:]
        if state.smoothed_loss is None:
            state.smoothed_loss = loss
        else:
            # With Adam's correction, so that the first losses are not weighed down by a zero.
            share = (1 - _SMOOTHING) / (1 - _SMOOTHING**state.step)
            state.smoothed_loss += share * (loss - state.smoothed_loss)
        if state.first_step_seconds is None:
            state.first_step_seconds = time.perf_counter() - self.job.started
        # The first step of a process allocates and compiles: not what later ones cost.
        if self._done == 1:
            self._times.clear()
        if self._done:
            state.seconds += seconds
            state.timed_tokens += tokens
        self._times.append((seconds, tokens))
        self._done += 1

    def _report(self, loss: float, norm: float, rate: float, metrics: dict[str, float]) -> None:
        state, job = self.state, self.job
        seconds = sum(spent for spent, _ in self._times)
        tokens = sum(count for _, count in self._times)
        remaining = job.steps - state.step
        self._emit(
            "step",
            step=state.step,
            steps=job.steps,
            epoch=round(state.epoch + state.batch / self._epoch_batches, 3),
            loss=loss,
            smoothed_loss=state.smoothed_loss,
            grad_norm=norm,
            learning_rate=rate,
            tokens=state.tokens,
            tokens_per_second=tokens / seconds,
            eta_seconds=remaining * seconds / len(self._times),
            memory_bytes=peak_memory_bytes(job.device),
            metrics=metrics,
        )

    def _validate(self) -> bool:
        """Loss of the dev split; True when it is the lowest so far."""
        job, state = self.job, self.state
        if not job.dev:
            return False
        state.valid_loss, metrics = self._valid_loss()
        self._validated_step = state.step
        if not math.isfinite(state.valid_loss):
            raise TrainingError(
                f"step {state.step}: the validation loss is {state.valid_loss}, not a number",
                "Lower optimizer.learning_rate; checkpoints so far are kept.",
            )
        self._emit("validation", step=state.step, loss=state.valid_loss, metrics=metrics)
        improved = state.best_loss is None or state.valid_loss < state.best_loss
        state.worse += 1
        if improved:
            state.best_loss, state.best_step, state.worse = state.valid_loss, state.step, 0
        self._show_answers()
        return improved

    def _valid_loss(self) -> tuple[float, dict[str, float]]:
        """The loss of the dev split, and what else is worth watching."""
        job = self.job
        job.model.eval()
        tally = self._passes.judge(job.dev)
        job.model.train()
        return tally.loss, tally.numbers()

    def _rehearse(self, supervision: Supervision) -> None:
        """The longest step, the longest validation and a save, as though they never had been."""
        job, begin = self.job, time.perf_counter()
        devices = [job.device] if job.device.type == "cuda" else []
        longest = longest_batch(job.train, job.sampler)
        with torch.random.fork_rng(devices):
            self._passes.learn(longest, self._set_chance)
            self._optimizer.zero_grad(set_to_none=True)
            if job.dev:
                job.model.eval()
                parts = parts_of(job.dev, self._passes.most)
                self._passes.judge(max(parts, key=lambda part: sum(map(len, part))))
                job.model.train()
        run_folder = self.folder.parent
        rehearse_save(run_folder, self.state, job.parameters, job.write_adapter, supervision.disk)
        numbers = {
            "tokens": sum(map(len, longest)),
            "memory_bytes": peak_memory_bytes(job.device),
            "seconds": time.perf_counter() - begin,
        }
        size = readable_size(numbers["memory_bytes"])
        self._emit("rehearsed", **numbers, text=both("memory.rehearsed", size=size, **numbers))

    def _show_answers(self) -> None:
        """Answers to the same few questions each time; without memory for them, none any more."""
        if self._preview is None:
            return
        try:
            samples = self._preview()
        except (RuntimeError, MemoryError) as error:
            if not out_of_memory(error):
                raise
            self._preview = None
            self._emit("note", text="no memory is left for preview; it is off from here on")
            return
        for number, sample in enumerate(samples):
            self._emit("sample", step=self.state.step, number=number, **sample)

    def _save(self, supervision: Supervision) -> None:
        job, state = self.job, self.state
        if state.step == self._saved_step:
            return
        tensors = optimizer_tensors(self._optimizer, self._names)
        held = (*tensors.values(), *job.parameters.values())
        path = supervision.disk(
            lambda: save_checkpoint(self.folder, state, tensors, job.write_adapter, supervision.at),
            needed=sum(tensor.nbytes for tensor in held),
        )
        self._saved_step = state.step
        prune(self.folder, job.config.keep_checkpoints, state.best_step)
        best = state.best_step in (None, state.step)
        self._emit("checkpoint", step=state.step, path=str(path), best=best)

    @contextmanager
    def _memory_named(self) -> Iterator[None]:
        try:
            yield
        except (RuntimeError, MemoryError) as error:
            if not out_of_memory(error):
                raise
            raise TrainingError(
                f"step {self.state.step + 1}: {self.job.device} is out of memory",
                "Lower batch_tokens or lora.rank, or prepare with a smaller max_tokens.",
            ) from error

    def _not_finite(self, units: Sequence[Unit], loss: float, norm: float) -> TrainingError:
        """Name the rows: those whose own loss is not finite, else all of the step."""
        job = self.job
        bad = [row for unit in units if not self._finite(unit) for row in unit.rows]
        every = [row for unit in units for row in unit.rows]
        rows = [job.sources[row] for row in dict.fromkeys(bad or every)]
        named = ", ".join(f"{source.file} row {source.row}" for source in rows[:10])
        more = f" and {len(rows) - 10} more" if len(rows) > 10 else ""
        return TrainingError(
            f"step {self.state.step + 1}: loss {loss}, gradient norm {norm}, which is not a number"
            f" to go on with; rows of this step: {named}{more}",
            "Look at those rows, or lower optimizer.learning_rate; checkpoints so far are kept.",
        )

    def _finite(self, unit: Unit) -> bool:
        outcome = tell(self.job.method, self.job.model, [unit], self.job.device)
        return math.isfinite(outcome.loss.item())

    def _emit(self, kind: str, **data: Any) -> None:
        self._listen(Event(kind=kind, data=data))
