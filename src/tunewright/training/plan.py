"""What a run is about to do, told before it does it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tunewright.training.estimates import Estimate, Memory


@dataclass(frozen=True)
class Plan:
    """The numbers of a run. ``data()`` is the ``plan`` event; ``lines()`` are for people."""

    base: str
    dataset: str
    method: str
    trainable: int
    """Weights that are trained."""
    parameters: int
    """All weights, the trained ones included."""
    rows: int
    dev_rows: int
    tokens: int
    """Tokens of the training rows, once."""
    supervised_tokens: int
    """Those of them that are learnt."""
    steps: int
    epochs: float
    batch_tokens: int
    precision: str
    device: str
    learning_rate: float
    learning_rate_reason: str
    drawn: str = ""
    """What a step draws, for methods that learn from the model's own answers."""
    notes: tuple[str, ...] = ()
    """What the user should know before the run goes on."""
    chosen: tuple[str, ...] = ()
    """Options that nobody set, with their values and reasons."""
    estimate: Estimate | None = None
    """Memory, disk and time; None for a base whose sizes cannot be told."""

    @property
    def share(self) -> float:
        """Trained weights as a share of all, 0..1."""
        return self.trainable / self.parameters

    def lines(self) -> list[str]:
        """The plan for people."""
        return [
            f"trainable params: {self.trainable:,} of {self.parameters:,} ({self.share:.2%})",
            *self._work(),
            f"learning rate {self.learning_rate:g} ({self.learning_rate_reason})",
            *self.chosen,
            *([] if self.estimate is None else estimate_lines(self.estimate)),
            *(f"note: {note}" for note in self.notes),
        ]

    def _work(self) -> tuple[str, str]:
        learnt = f" ({self.supervised_tokens:,} learnt)" if not self.drawn else ""
        each = self.drawn or f"up to {self.batch_tokens:,} tokens"
        return (
            f"{self.rows:,} rows, {self.tokens:,} tokens{learnt},"
            f" {self.dev_rows:,} rows to validate on",
            f"{self.steps:,} steps of {each}"
            f" ({self.epochs:g} epochs), {self.precision} on {self.device}",
        )

    def data(self) -> dict[str, Any]:
        """All numbers and the lines, as JSON values."""
        estimate = self.estimate.data() if self.estimate else None
        return {
            **vars(self),
            "notes": list(self.notes),
            "chosen": list(self.chosen),
            "estimate": estimate,
            "share": self.share,
            "lines": self.lines(),
        }


def estimate_lines(estimate: Estimate) -> list[str]:
    """Memory, time and disk for people."""
    lines = [
        f"memory, estimated: {readable_size(estimate.memory.peak)} at most"
        f" ({_split(estimate.memory)})"
    ]
    if estimate.seconds is not None and estimate.tokens_per_second:
        how = "measured" if estimate.measured else "estimated"
        most = " if every answer is as long as it may be," if estimate.bound else ""
        lines.append(
            f"time, {how}: {_duration(estimate.seconds)}{most}"
            f" at {estimate.tokens_per_second:,.0f} tokens/s"
        )
    lines.append(f"checkpoints: up to {readable_size(estimate.disk)} on disk")
    return lines


def _split(memory: Memory) -> str:
    parts = ("weights", "gradients", "optimizer", "activations", "logits", "overhead")
    return ", ".join(f"{part} {readable_size(getattr(memory, part))}" for part in parts)


def readable_size(count: float) -> str:
    """Bytes in the unit that reads best, as everywhere in powers of 1000."""
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:,.1f} GB"


def _duration(seconds: float) -> str:
    """An estimate is no more exact than two figures."""
    for limit, unit, name in ((90, 1, "seconds"), (5400, 60, "minutes"), (172_800, 3600, "hours")):
        if seconds < limit:
            return f"about {seconds / unit:.2g} {name}"
    return f"about {seconds / 86_400:.2g} days"
