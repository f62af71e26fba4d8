"""A run's events as a fine-tuning job tells them, and what the job does on the way."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from tunewright.core.errors import InputError
from tunewright.core.events import Event
from tunewright.core.records import Run
from tunewright.jobs.checkpoint_models import publish_checkpoint
from tunewright.jobs.journal import Note
from tunewright.jobs.work import Work
from tunewright.training.control import ask
from tunewright.training.history import read_history

_ESTIMATE_SECONDS = 10.0


class Teller:
    """The listener of a job's run.

    A step is told once it is known whether it was validated. At the end of every epoch the run is
    asked to save, and what it saves becomes a model.
    """

    def __init__(self, work: Work) -> None:
        self._work = work
        self._step: dict[str, Any] | None = None
        self._valid: dict[str, Any] = {}
        self._epoch_end: int | None = None
        self._epochs = 0
        self._training = False
        self._estimated = float("-inf")

    def __call__(self, event: Event) -> None:
        """One event.

        Raises:
            Interrupted: when the job is to stop and its run cannot be asked to.
        """
        if event.kind != "validation":
            self.flush()
        if not self._training:
            self._work.stop_if_asked()
        handler = _HANDLERS.get(event.kind)
        if handler is not None:
            handler(self, event.data)

    def flush(self) -> None:
        """Tell the last step."""
        step, self._step = self._step, None
        if step is None:
            return
        data = {"step": step["step"], "total_steps": step["steps"], "train_loss": step["loss"]}
        told = f"Step {step['step']}/{step['steps']}: training loss={step['loss']:.2f}"
        if self._valid.get("step") == step["step"]:
            data |= valid_metrics(self._valid)
            told += f", validation loss={self._valid['loss']:.2f}"
            told += f", full validation loss={self._valid['loss']:.2f}"
        self._work.heart.tell(Note(told, type="metrics", data=data))

    def _on_plan(self, data: Mapping[str, Any]) -> None:
        work = self._work
        first = work.payload.get("run") != data["run"]
        work.heart.run_folder = work.store.folder(Run, data["run"])
        work.keep(run=data["run"])
        work.note(run=data["run"], hyperparameters=_chosen(work.record.hyperparameters, data))
        if first:
            work.heart.tell(Note("Fine-tuning job started"))

    def _on_step(self, data: Mapping[str, Any]) -> None:
        self._training = True  # from here on the run itself is asked to stop, and saves
        self._step = dict(data)
        now = time.monotonic()
        if now - self._estimated >= _ESTIMATE_SECONDS:
            self._estimated = now
            self._work.note(estimated_finish=time.time() + data["eta_seconds"])
        # Rounded to thousandths, the last steps of a long epoch may look like its end: once only.
        if float(data["epoch"]).is_integer() and data["epoch"] > self._epochs:
            self._epochs, self._epoch_end = int(data["epoch"]), data["step"]
            folder = self._work.heart.run_folder
            if folder is not None and data["step"] < data["steps"]:
                with suppress(InputError):
                    ask(folder, "save")

    def _on_validation(self, data: Mapping[str, Any]) -> None:
        self._valid = dict(data)
        self.flush()

    def _on_checkpoint(self, data: Mapping[str, Any]) -> None:
        step = data["step"]
        if step > self._work.payload.get("step", 0):
            self._work.keep(further=True, step=step)
        if step == self._epoch_end:
            self.publish(step)

    def _on_resumed(self, data: Mapping[str, Any]) -> None:
        """Make up for a checkpoint that a kill kept from becoming a model."""
        folder = self._work.heart.run_folder
        if not data["step"] or folder is None:
            return
        self._work.heart.tell(Note(f"Training goes on from step {data['step']}"))
        last = read_history(folder)[-1]
        self._epochs = int(last["epoch"])
        if float(last["epoch"]).is_integer():
            self.publish(data["step"])

    def _on_note(self, data: Mapping[str, Any]) -> None:
        self._work.heart.tell(Note(str(data["text"])))

    def _on_diagnosis(self, data: Mapping[str, Any]) -> None:
        self._work.heart.tell(Note(f"{data['text']['en']} {data['remedy']['en']}", "warn"))

    def _on_waiting(self, data: Mapping[str, Any]) -> None:
        self._work.heart.tell(Note("Waiting for room: the server's disk is full", "warn"))

    def _on_stopped_early(self, data: Mapping[str, Any]) -> None:
        told = f"No better for {data['validations']} validations: training ends at step"
        self._work.heart.tell(Note(f"{told} {data['step']}, its best was {data['best_step']}"))

    def publish(self, step: int) -> None:
        """Make a checkpoint a model, and tell so."""
        work = self._work
        run = work.store.get(Run, work.payload["run"])
        name = publish_checkpoint(work.store, run, step)
        folder = work.store.folder(Run, run.id)
        metrics = _metrics(folder_step(read_history(folder), step), step)
        valid = folder_step(read_history(folder, "validation"), step)
        metrics |= valid_metrics(valid) if valid else {}
        data = {"step": step, "model": name, "metrics": metrics}
        work.heart.tell(Note(f"Checkpoint created at step {step}", data=data, checkpoint=step))


def folder_step(history: list[dict[str, Any]], step: int) -> dict[str, Any] | None:
    """The newest entry at or before a step."""
    return next((entry for entry in reversed(history) if entry["step"] <= step), None)


def valid_metrics(validation: Mapping[str, Any]) -> dict[str, float]:
    """A validation under OpenAI's names; all rows are validated on, so both losses are one."""
    metrics = {"valid_loss": validation["loss"], "full_valid_loss": validation["loss"]}
    accuracy = validation["metrics"].get("token_accuracy")
    if accuracy is not None:
        metrics["valid_mean_token_accuracy"] = accuracy
        metrics["full_valid_mean_token_accuracy"] = accuracy
    return metrics


def _metrics(entry: Mapping[str, Any] | None, step: int) -> dict[str, Any]:
    return {"step": step} if entry is None else {"step": step, "train_loss": entry["loss"]}


def _chosen(asked: Mapping[str, Any], plan: Mapping[str, Any]) -> dict[str, Any]:
    """The hyperparameters with numbers where ``auto`` stood."""
    rows = plan["rows"] * plan["epochs"] / max(1, plan["steps"])
    found = {
        "n_epochs": max(1, round(plan["epochs"])),
        "batch_size": max(1, round(rows)),
        "learning_rate_multiplier": 1.0,
    }
    return {
        key: found.get(key, value) if value == "auto" else value for key, value in asked.items()
    }


_HANDLERS: dict[str, Callable[[Teller, Mapping[str, Any]], None]] = {
    "plan": Teller._on_plan,
    "step": Teller._on_step,
    "validation": Teller._on_validation,
    "checkpoint": Teller._on_checkpoint,
    "resumed": Teller._on_resumed,
    "note": Teller._on_note,
    "diagnosis": Teller._on_diagnosis,
    "waiting": Teller._on_waiting,
    "stopped_early": Teller._on_stopped_early,
}
