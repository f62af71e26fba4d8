"""What every method does, and what a loss is made of."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from operator import add
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

import torch
from torch import Tensor
from torch.nn import Parameter

from tunewright.config.training import TrainConfig
from tunewright.core.dataset_io import read_rows
from tunewright.core.messages import Passage, Row, RowKind, Split, supervised
from tunewright.training.batches import PackedBatch, Progress, Renderer, Sampler, Unit

if TYPE_CHECKING:
    from tunewright.model.rendering import Renderer as FullRenderer

_FEW, _ENOUGH = 4, 8  # answers or pairs per step: published recipes take 16 to 128


@dataclass(frozen=True)
class Mean:
    """A mean as what it is made of, so that means over several batches can be joined exactly.

    Attributes:
        total: the sum, a scalar.
        count: what it is divided by: tokens, pairs or answers.
    """

    total: Tensor
    count: int

    @property
    def value(self) -> Tensor:
        """The mean."""
        return self.total / self.count


@dataclass(frozen=True)
class Outcome:
    """What a method makes of a batch.

    Attributes:
        terms: the loss is the sum of these means; differentiable, float32.
        metrics: what else is worth watching, by name; not differentiable.
    """

    terms: tuple[Mean, ...]
    metrics: Mapping[str, Mean] = field(default_factory=dict)

    @property
    def loss(self) -> Tensor:
        """The loss of the batch, a scalar."""
        return reduce(add, (term.value for term in self.terms))

    def numbers(self) -> dict[str, float]:
        """The metrics as numbers; a device is waited for once, not once per metric."""
        present = {name: mean for name, mean in self.metrics.items() if mean.count}
        if not present:
            return {}
        values = torch.stack([mean.value.float() for mean in present.values()]).tolist()
        return dict(zip(present, values, strict=True))


class Tally:
    """Outcomes of several batches, joined as though they were one."""

    def __init__(self) -> None:
        self._terms: list[tuple[float, int]] = []
        self._metrics: dict[str, tuple[float, int]] = {}

    def add(self, outcome: Outcome) -> None:
        """Take one more batch in."""
        terms = [(term.total.item(), term.count) for term in outcome.terms]
        before = self._terms or [(0.0, 0)] * len(terms)
        self._terms = [_joined(*pair) for pair in zip(before, terms, strict=True)]
        for name, mean in outcome.metrics.items():
            known = self._metrics.get(name, (0.0, 0))
            self._metrics[name] = _joined(known, (mean.total.item(), mean.count))

    @property
    def loss(self) -> float:
        """The loss over all of them."""
        return math.fsum(total / count for total, count in self._terms)

    def numbers(self) -> dict[str, float]:
        """The metrics over all of them."""
        return {name: total / count for name, (total, count) in self._metrics.items() if count}


def _joined(one: tuple[float, int], other: tuple[float, int]) -> tuple[float, int]:
    return one[0] + other[0], one[1] + other[1]


def few_per_batch(
    units: Sequence[Unit], batch_tokens: int, each: int, name: str
) -> tuple[str, ...]:
    """A note when a step sees so few answers that it learns from their chance.

    Args:
        units: what is learnt from.
        batch_tokens: tokens per step.
        each: how many of what ``name`` names are in a unit.
        name: what is counted.
    """
    mean = sum(map(len, units)) / len(units)
    held = max(1, batch_tokens // mean) * each
    if held >= _FEW or len(units) * each < 2 * _ENOUGH:
        return ()
    wanted = math.ceil(_ENOUGH / each * mean / 256) * 256
    return (
        f"a step sees few {name}, about {held:.0f}; batch_tokens={wanted} would show it {_ENOUGH},"
        " for steadier steps",
    )


@dataclass(frozen=True)
class Extension:
    """A model as a method trains it.

    Attributes:
        model: what ``Method.loss`` gets.
        parameters: what the method adds to what the tuner trains, by name.
    """

    model: Any
    parameters: dict[str, Parameter] = field(default_factory=dict)


Share = tuple[float, str]
"""A learning rate as a multiple of that of sft, and where the number comes from."""


@dataclass(frozen=True)
class Rate:
    """A method's usual learning rate.

    Attributes:
        small: for bases of less than 50 million weights.
        large: for others.
    """

    small: Share = (1.0, "")
    large: Share = (1.0, "")

    def at(self, parameters: int) -> Share:
        """That for a base of so many weights."""
        return self.small if parameters < _SMALL else self.large


_SMALL = 50_000_000

UnitT = TypeVar("UnitT", bound=Unit)
BatchT = TypeVar("BatchT", bound=PackedBatch)


class Method(ABC, Generic[UnitT, BatchT]):
    """One way to learn from rows.

    Args:
        config: the recipe; a method reads its own group of it.

    Attributes:
        kinds: the kinds of rows that it learns from.
        rate: its usual learning rate.
        epochs: its usual number of passes over the rows.
        epochs_reason: why.
        fewest: the fewest rows that it can learn from.
        refers: whether it needs to know what the model said before it was trained.
        draws: whether it learns from answers that the model draws while it is trained.
    """

    kinds: ClassVar[frozenset[RowKind]]
    rate: ClassVar[Rate] = Rate()
    epochs: ClassVar[float] = 3.0
    epochs_reason: ClassVar[str] = ""
    fewest: ClassVar[int] = 1
    refers: ClassVar[bool] = False
    draws: ClassVar[bool] = False

    def __init__(self, config: TrainConfig) -> None:
        self.config = config

    def read(self, folder: Path, split: Split) -> tuple[Sequence[Row | Passage], int]:
        """A split's rows that can be learnt from, and how many others it has.

        Raises:
            DataError: when a line is not a row.
        """
        found = read_rows(folder, split)
        rows = supervised(found)
        return rows, len(found) - len(rows)

    @abstractmethod
    def examples(self, rows: Sequence[Any], renderer: Renderer, progress: Progress) -> list[UnitT]:
        """What is learnt from rows, as token ids; rows without anything to learn are left out.

        Raises:
            DataError: a row that cannot be learnt from, naming it.
        """

    @abstractmethod
    def collate(self, units: Sequence[UnitT]) -> BatchT:
        """Units → the tensors of one batch, on the CPU."""

    @abstractmethod
    def loss(self, model: Any, batch: BatchT) -> Outcome:
        """What the model makes of a batch; with gradients where they are enabled."""

    def counts(self, batch: BatchT) -> tuple[int, ...]:
        """What the means of ``loss`` are divided by, told before the model runs.

        A method that tells them can learn a step's batch in parts. One that looks at its batch as
        a whole leaves this out, and its batches stay whole.
        """
        raise TypeError(f"the loss of {type(self).__name__} cannot be divided")

    @classmethod
    def divides(cls) -> bool:
        """Whether a batch can be learnt in parts."""
        return cls.counts is not Method.counts

    def sampler(self, units: Sequence[UnitT]) -> Sampler:
        """Which units form which step."""
        return Sampler(tuple(map(len, units)), self.config.batch_tokens, self.config.seed)

    def workload(self, units: Sequence[UnitT]) -> Sequence[Unit]:
        """What the model reads and learns for units, for estimates of memory."""
        return units

    def refer(self, units: Sequence[UnitT], log_probs: Sequence[Sequence[float]]) -> list[UnitT]:
        """The units with what the starting model says.

        Args:
            units: as ``examples`` gave them.
            log_probs: for each unit the summed log-probabilities of its documents' learnt tokens.
        """
        raise TypeError(f"{type(self).__name__} needs no reference")

    def extend(self, model: Any, renderer: FullRenderer, start: Path | None) -> Extension:
        """Put on the model what the method needs besides the tuner's weights.

        Args:
            model: with what the tuner trains attached.
            renderer: of the base.
            start: folder of the tuned model that the run starts from, if any.
        """
        return Extension(model)

    def save(self, extension: Extension, folder: Path) -> None:
        """Write what ``extend`` added into a tuned model's folder."""

    def restore(self, extension: Extension, folder: Path) -> None:
        """Put back what ``save`` wrote.

        Raises:
            ModelError: missing or damaged.
        """

    def notes(self, units: Sequence[UnitT]) -> tuple[str, ...]:
        """What the user should know about these examples before the run goes on."""
        return ()
