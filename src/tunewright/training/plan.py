"""What a run is about to do, told before it does it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


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
    notes: tuple[str, ...] = ()
    """What the user should know before the run goes on."""

    @property
    def share(self) -> float:
        """Trained weights as a share of all, 0..1."""
        return self.trainable / self.parameters

    def lines(self) -> list[str]:
        """The plan for people."""
        return [
            f"trainable params: {self.trainable:,} of {self.parameters:,} ({self.share:.2%})",
            f"{self.rows:,} rows, {self.tokens:,} tokens ({self.supervised_tokens:,} learnt),"
            f" {self.dev_rows:,} rows to validate on",
            f"{self.steps:,} steps of up to {self.batch_tokens:,} tokens"
            f" ({self.epochs:g} epochs), {self.precision} on {self.device}",
            f"learning rate {self.learning_rate:g} ({self.learning_rate_reason})",
            *(f"note: {note}" for note in self.notes),
        ]

    def data(self) -> dict[str, Any]:
        """All numbers and the lines, as JSON values."""
        return {**vars(self), "notes": list(self.notes), "share": self.share, "lines": self.lines()}
