"""What a run's curves say is wrong, in plain words, with the remedy. Pure; loads no torch.

A ``Diagnoser`` is fed with the run's events and returns what it noticed. Every diagnosis is told
once; again only when its measure has become ``_WORSE`` times what it was. A resumed run is fed
with what it went through before, so it neither repeats nor forgets.

The thresholds are meant to stay silent on every healthy run, since a warning that cries wolf is
soon ignored: they were chosen on recorded healthy runs (tests/training/curves) with room to
spare, and each says below what it rests on.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import hypot, inf, sqrt
from statistics import fmean, median
from typing import Any

from tunewright.core.events import Event
from tunewright.training.texts import both

_WORSE = 2.0
"""Factor by which a diagnosis must have grown before it is told again."""

# Loss spike. One batch may be hard by chance; three in a row, each beyond all of the twenty before
# and beyond six standard deviations, are not (by order statistics alone one in 1,771 for a run
# that stands still). Half a nat is a rise that a reader of the answers would notice.
_SPIKE_STEPS = 3
_SPIKE_BEFORE = 20
_SPIKE_SIGMAS = 6.0
_SPIKE_NATS = 0.5

# Divergence: too slow for a spike. Means over fifty steps; with batches of one or two short rows a
# loss may scatter by its own size, so the rise must also exceed five standard errors.
_WINDOW = 50
_DIVERGED_RATIO = 1.5
_DIVERGED_NATS = 0.5
_DIVERGED_ERRORS = 5.0

# 0.05 nats per token: every token is predicted with 95 % certainty, which language does not allow
# on text that was not seen before. Validation text within four times of that is truly easy.
_MEMORISED = 0.05
_EASY = 0.2

# Two validations in a row 2 % above the best: single ones wobble by about 1 % in healthy runs.
_OVERFIT_RATIO = 1.02
_OVERFIT_NATS = 0.01

# Gradient norms of healthy runs lie within 0.02 … 20, and shrink with the loss: what matters is
# a tiny norm beside a loss that is still worth lowering.
_NORMS = 10
_VANISHED = 1e-4
_VANISHED_RATIO = 1e-3
_LOSS_LEFT = 0.1
_EXPLODED_RATIO = 20.0
_EXPLODED_LIMITS = 10.0

# The speed in an event is a mean over twenty steps already; half of it for ten more steps is no
# passing hiccup.
_SLOW_RATIO = 0.5
_SLOW_STEPS = 10
_SPEEDS = 200
_SPEEDS_LEAST = 40

# A working recipe lowers the loss within the first steps. The first half of the steps, at most two
# hundred, is compared with the last ones: told when even a fall of two standard errors more than
# was seen would be below 5 %. With scattered losses that takes longer, as it must.
_FLAT_FIRST = 60
_FLAT_EVERY = 20
_FLAT_WINDOW = 200
_FLAT_ERRORS = 2.0
_FLAT_SHARE = 0.05
_FLAT_VALID_SHARE = 0.01  # validation losses do not scatter: the same rows every time

# Graded answers: over twenty steps at least half of the groups held answers of equal worth. A group
# of eight with a success rate of 92 % or 8 % is level half of the time.
_LEVEL_STEPS = 20
_LEVEL_SHARE = 0.5

_SIGMA = 1.4826  # median absolute deviation → standard deviation of a normal distribution


@dataclass(frozen=True)
class Subject:
    """What a diagnosis must know of a run besides its curves."""

    method: str = "sft"
    rows: int = 0
    max_grad_norm: float = 1.0


@dataclass(frozen=True)
class Diagnosis:
    """One thing that is wrong. ``measure`` grows as it gets worse."""

    name: str
    step: int
    measure: float
    values: dict[str, float]

    def event(self) -> Event:
        """``{name, step, measure, values, text: {en, zh}, remedy: {en, zh}}``."""
        return Event(
            kind="diagnosis",
            data={
                "name": self.name,
                "step": self.step,
                "measure": self.measure,
                "values": self.values,
                "text": both(f"diagnosis.{self.name}", **self.values),
                "remedy": both(f"remedy.{self.name}", **self.values),
            },
        )


@dataclass
class Curves:
    """What is remembered of a run: bounded, however long it is."""

    subject: Subject
    step: int = 0
    rate: float = 0.0
    epoch: float = 0.0
    first: list[float] = field(default_factory=list)
    """The first losses."""
    losses: deque[float] = field(default_factory=lambda: deque(maxlen=_FLAT_WINDOW))
    norms: deque[float] = field(default_factory=lambda: deque(maxlen=_NORMS))
    speeds: deque[float] = field(default_factory=lambda: deque(maxlen=_SPEEDS))
    lowest: tuple[float, float] | None = None
    """The lowest mean of ``_WINDOW`` losses, and its standard error."""
    calm: float | None = None
    """Lowest median of ``_NORMS`` gradient norms."""
    early_norm: float | None = None
    """Median of the first ``_NORMS`` gradient norms."""
    level_groups: deque[float] = field(default_factory=lambda: deque(maxlen=_LEVEL_STEPS))
    """Shares of groups whose answers were all worth the same."""
    reward: float = 0.0
    """Mean reward of the last step."""
    valid: list[tuple[int, float]] = field(default_factory=list)
    """The best validation and those after it, as (step, loss)."""
    first_valid: float | None = None
    train_at_best: float = 0.0
    """Mean training loss when the best validation was made."""

    def add_step(self, data: dict[str, Any]) -> None:
        """Take in a ``step`` event."""
        self.step, self.rate = data["step"], data["learning_rate"]
        self.epoch = data["epoch"]
        self.losses.append(data["loss"])
        if len(self.first) < _FLAT_WINDOW:
            self.first.append(data["loss"])
        self.norms.append(data["grad_norm"])
        self.speeds.append(data["tokens_per_second"])
        metrics = data.get("metrics", {})
        if "no_spread" in metrics:
            self.level_groups.append(metrics["no_spread"])
            self.reward = metrics["reward"]
        if len(self.losses) >= _WINDOW:
            now = (self.level, _error(self.recent))
            self.lowest = now if self.lowest is None else min(self.lowest, now)
        if len(self.norms) == _NORMS:
            norm = median(self.norms)
            self.calm = _least(self.calm, norm)
            self.early_norm = norm if self.early_norm is None else self.early_norm

    def add_validation(self, data: dict[str, Any]) -> None:
        """Take in a ``validation`` event."""
        point = (data["step"], data["loss"])
        self.first_valid = point[1] if self.first_valid is None else self.first_valid
        if not self.valid or point[1] <= self.valid[0][1]:
            self.valid = [point]
            self.train_at_best = self.level
        else:
            self.valid = [self.valid[0], *self.valid[1:][-1:], point]

    @property
    def recent(self) -> list[float]:
        """The last ``_WINDOW`` losses."""
        return list(self.losses)[-_WINDOW:]

    @property
    def level(self) -> float:
        """Their mean."""
        return fmean(self.recent) if self.losses else 0.0


Found = tuple[float, dict[str, float]]
"""A measure and the values for the sentence."""


def _spike(curves: Curves) -> Found | None:
    losses = list(curves.losses)
    before = losses[:-_SPIKE_STEPS][-_SPIKE_BEFORE:]
    if len(before) < _SPIKE_BEFORE:
        return None
    middle = median(before)
    noise = _SIGMA * median(abs(loss - middle) for loss in before)
    now = min(losses[-_SPIKE_STEPS:])
    if now <= max(max(before), middle + max(_SPIKE_NATS, _SPIKE_SIGMAS * noise)):
        return None
    values = {"before": middle, "now": now, "steps": _SPIKE_STEPS, "half": curves.rate / 2}
    return now - middle, values


def _divergence(curves: Curves) -> Found | None:
    if curves.lowest is None:
        return None
    (low, low_error), now = curves.lowest, curves.level
    noise = _DIVERGED_ERRORS * hypot(low_error, _error(curves.recent))
    if now <= low + max((_DIVERGED_RATIO - 1) * low + _DIVERGED_NATS, noise):
        return None
    return now - low, {"before": low, "now": now, "half": curves.rate / 2}


def _memorising(curves: Curves) -> Found | None:
    enough = len(curves.losses) >= _WINDOW and curves.epoch > 1
    if not enough or curves.level >= _MEMORISED:
        return None
    if curves.valid:
        step, loss = curves.valid[-1]
        # An older validation says nothing about the model of now: the next one will.
        if step < curves.step or loss < _EASY:
            return None
    values = {"now": curves.level, "epoch": curves.epoch, "rows": curves.subject.rows}
    return 1.0, values


def _overfitting(curves: Curves) -> Found | None:
    if len(curves.valid) < 3:
        return None
    (best_step, best), *later = curves.valid
    if min(loss for _, loss in later) <= best * _OVERFIT_RATIO + _OVERFIT_NATS:
        return None
    if curves.level >= curves.train_at_best:
        return None
    now = later[-1][1]
    return now - best, {"best": best, "best_step": best_step, "now": now}


def _vanishing(curves: Curves) -> Found | None:
    if len(curves.norms) < _NORMS or curves.early_norm is None:
        return None
    norm = max(curves.norms)
    if norm >= max(_VANISHED, _VANISHED_RATIO * curves.early_norm) or curves.level < _LOSS_LEFT:
        return None
    return 1.0, {"now": norm, "loss": curves.level}


def _exploding(curves: Curves) -> Found | None:
    if curves.calm is None:
        return None
    norm, limit = median(curves.norms), curves.subject.max_grad_norm
    if norm <= max(_EXPLODED_RATIO * curves.calm, _EXPLODED_LIMITS * limit):
        return None
    return norm, {"before": curves.calm, "now": norm, "limit": limit, "half": curves.rate / 2}


def _throughput(curves: Curves) -> Found | None:
    speeds = list(curves.speeds)
    if len(speeds) < _SPEEDS_LEAST:
        return None
    usual, now = median(speeds), max(speeds[-_SLOW_STEPS:])
    if now >= _SLOW_RATIO * usual:
        return None
    return usual / now, {"before": usual, "now": now}


def _flat(curves: Curves) -> Found | None:
    if curves.step < _FLAT_FIRST or curves.step % _FLAT_EVERY:
        return None
    window = min(_FLAT_WINDOW, curves.step // 2, len(curves.first))
    first, last = curves.first[:window], list(curves.losses)[-window:]
    before, now = fmean(first), fmean(last)
    fell = before - now + _FLAT_ERRORS * hypot(_error(first), _error(last))
    if fell >= _FLAT_SHARE * before or now < _LOSS_LEFT or _fell(curves, before):
        return None
    values = {"steps": curves.step, "before": before, "now": now, "rate": curves.rate}
    return 1.0, values


def _level(curves: Curves) -> Found | None:
    shares = curves.level_groups
    if len(shares) < _LEVEL_STEPS or fmean(shares) < _LEVEL_SHARE:
        return None
    values = {"percent": 100 * fmean(shares), "steps": _LEVEL_STEPS, "reward": curves.reward}
    return fmean(shares), values


def _fell(curves: Curves, before: float) -> bool:
    """Whether the loss was lower in between, or the validation loss has fallen."""
    if curves.lowest is not None and curves.lowest[0] < (1 - _FLAT_SHARE) * before:
        return True
    first = curves.first_valid
    return first is not None and curves.valid[0][1] < first * (1 - _FLAT_VALID_SHARE)


def _error(values: Sequence[float]) -> float:
    """Standard error of the mean. (``statistics.stdev`` is exact, and a hundred times slower.)"""
    count = len(values)
    if count < 2:
        return inf
    mean = fmean(values)
    return sqrt(sum((value - mean) ** 2 for value in values) / (count - 1) / count)


@dataclass(frozen=True)
class _Check:
    """When a check applies: after which kinds of event, to which methods (none named: all)."""

    run: Callable[[Curves], Found | None]
    on: frozenset[str] = frozenset({"step"})
    methods: frozenset[str] = frozenset()


_TEXT = frozenset({"sft", "pretrain"})  # their loss is the mean surprise per token
_SUPERVISED = _TEXT | {"dpo", "kto", "orpo", "simpo", "reward"}  # theirs falls when it goes well

CHECKS: dict[str, _Check] = {
    "spike": _Check(_spike, methods=_SUPERVISED),
    "divergence": _Check(_divergence, methods=_SUPERVISED),
    "memorising": _Check(_memorising, frozenset({"step", "validation"}), _TEXT),
    "overfitting": _Check(_overfitting, frozenset({"validation"}), _SUPERVISED),
    "vanishing": _Check(_vanishing, methods=_SUPERVISED),
    "exploding": _Check(_exploding),
    "throughput": _Check(_throughput),
    "flat": _Check(_flat, methods=_SUPERVISED),
    "level": _Check(_level, methods=frozenset({"grpo", "rloo"})),
}


class Diagnoser:
    """Watches one run; ``feed`` it every event in order."""

    def __init__(self, subject: Subject) -> None:
        self._curves = Curves(subject)
        self._told: dict[str, float] = {}
        self._checks = {
            name: check
            for name, check in CHECKS.items()
            if not check.methods or subject.method in check.methods
        }

    def feed(self, event: Event) -> list[Diagnosis]:
        """What this event newly shows, or shows to be much worse than when it was told."""
        if event.kind == "step":
            self._curves.add_step(event.data)
        elif event.kind == "validation":
            self._curves.add_validation(event.data)
        else:
            return []
        return [
            diagnosis
            for name, check in self._checks.items()
            if event.kind in check.on and (diagnosis := self._look(name, check))
        ]

    def _look(self, name: str, check: _Check) -> Diagnosis | None:
        found = check.run(self._curves)
        if found is None:
            return None
        measure, values = found
        if name in self._told and measure < _WORSE * self._told[name]:
            return None
        self._told[name] = measure
        return Diagnosis(name, self._curves.step, measure, values)


def _least(known: float | None, value: float) -> float:
    return value if known is None else min(known, value)
