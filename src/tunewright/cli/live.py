"""What a training run shows while it goes on, in lines of at most 80 columns."""

from __future__ import annotations

from typing import Any

from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.text import Text

from tunewright.cli.units import seconds, size
from tunewright.core.events import Event

WIDTH = 80


class TrainingView:
    """Remembers a run's newest events and tells them as lines."""

    def __init__(self) -> None:
        self._step: dict[str, Any] = {}
        self._valid: dict[str, Any] = {}
        self._best: dict[str, Any] = {}

    def feed(self, event: Event) -> None:
        """Take in a ``step`` or ``validation`` event."""
        if event.kind == "step":
            self._step = event.data
        else:
            self._valid = event.data
            if not self._best or event.data["loss"] <= self._best["loss"]:
                self._best = event.data

    def live(self) -> list[str]:
        """What stands below the bar on a terminal."""
        if not self._step:
            return []
        lines = [f"  {_losses(self._step)}", f"  {_pace(self._step)}"]
        return [*lines, f"  {self.validation()}"] if self._valid else lines

    def logged(self) -> list[str]:
        """What is printed now and then where no line can be redrawn."""
        step = self._step
        begin = f"  step {step['step']}/{step['steps']}  epoch {step['epoch']:.2f}"
        return [f"{begin}  {_pace(step)}", f"    {_losses(step)}"]

    def validation(self) -> str:
        """The newest validation beside the best."""
        valid, best = self._valid, self._best
        name, value = _judged(valid)
        parts = [f"{name} {value:.4f} at step {valid['step']}"]
        if best["step"] != valid["step"]:
            parts.append(f"best {_judged(best)[1]:.4f} at {best['step']}")
        accuracy = valid.get("metrics", {}).get("token_accuracy")
        if accuracy is not None:
            parts.append(f"token accuracy {100 * accuracy:.1f} %")
        return ", ".join(parts)


def _judged(valid: dict[str, Any]) -> tuple[str, float]:
    """What a validation is judged by: the loss, or the reward where answers are graded."""
    reward = valid.get("metrics", {}).get("reward")
    return ("validation", valid["loss"]) if reward is None else ("validation reward", reward)


def _losses(step: dict[str, Any]) -> str:
    smoothed = step.get("smoothed_loss")
    beside = "" if smoothed is None else f" (smoothed {smoothed:.4f})"
    reward = step.get("metrics", {}).get("reward")
    says = f"loss {step['loss']:.4f}{beside}" if reward is None else f"reward {reward:.4f}"
    return f"{says}  grad_norm {step['grad_norm']:.2f}  lr {step['learning_rate']:.1e}"


def _pace(step: dict[str, Any]) -> str:
    memory = step.get("memory_bytes")
    held = "" if memory is None else f"  {size(memory)}"
    return f"{step['tokens_per_second']:,.0f} tok/s{held}  ETA {seconds(step['eta_seconds'])}"


def sample_lines(data: dict[str, Any]) -> list[str]:
    """A question and the model's answer to it, one line each."""
    more = "" if data["finished"] else " …"
    reward = data.get("reward")
    worth = "" if reward is None else f"[{reward:.3g}] "
    return [
        f"    {inert(data['question'], WIDTH - 4)}",
        f"    → {inert(worth + data['answer'] + more, WIDTH - 6)}",
    ]


def diagnosis_lines(data: dict[str, Any], language: str, console: Console) -> list[str]:
    """What is wrong and what to do, wrapped with Chinese characters counted as two columns."""
    says = f"! step {data['step']}: {data['text'][language]}"
    lines = [f"  {line}" for line in _wrapped(says, WIDTH - 2, console)]
    return [*lines, *(f"    {line}" for line in _wrapped(data["remedy"][language], 76, console))]


def waiting_text(data: dict[str, Any]) -> str:
    """Why a run stands still on a full disk."""
    needed = data["needed_bytes"]
    room = f"; it needs {size(needed)}" if needed else ""
    left = max(0.0, 60 * data["minutes"] - data["waited_seconds"])
    return (
        f"  {data['reason']}: {size(data['free_bytes'])} free{room}. The run waits; free some"
        f" space within {seconds(left)} and it goes on by itself."
    )


def inert(text: str, width: int) -> str:
    """Text of others on one line: nothing in it can move the cursor or turn the direction."""
    shown = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return shown if cell_len(shown) <= width else set_cell_size(shown, width - 1).rstrip() + "…"


def _wrapped(text: str, width: int, console: Console) -> list[str]:
    return [line.plain.rstrip() for line in Text(text).wrap(console, width)]
