"""One step's batch in parts that fit the memory, with the gradient of the whole.

A loss is a sum of means. What its means are divided by is known of all parts before the first one
runs (``Method.counts``), so that every part contributes its exact share: gradients add up to that
of the whole batch, whatever the parts' sizes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import Any

import torch
from torch import Tensor

from tunewright.training.batches import PackedBatch, Unit, pack
from tunewright.training.memory import out_of_memory
from tunewright.training.methods.base import Mean, Method, Outcome


class TooLarge(Exception):  # noqa: N818 - it is answered, never shown
    """Memory ran out; ``units`` are what went through the model at that moment."""

    def __init__(self, units: Sequence[Unit]) -> None:
        super().__init__()
        self.units = units


@dataclass(frozen=True)
class Gathered:
    """A step's passes, joined: gradients lie in the parameters.

    Attributes:
        outcome: what the method made of the whole batch; not differentiable.
        tokens: that went through the model.
    """

    outcome: Outcome
    tokens: int


def parts_of(units: Sequence[Unit], most: int) -> list[list[Unit]]:
    """Units in order, in parts of at most ``most`` tokens; a longer unit stands alone."""
    return [[units[place] for place in part] for part in pack(list(map(len, units)), most, None)]


def gather(
    method: Method[Any, Any], model: Any, units: Sequence[Unit], most: int, device: torch.device
) -> Gathered:
    """Forward and backward passes of one step.

    Args:
        method: divides its loss, or takes the units as one.
        model: in training mode; gradients are added to what its parameters hold.
        units: of the step.
        most: tokens in a part.
        device: where the model is.

    Raises:
        TooLarge: memory ran out; gradients are incomplete.
    """
    parts = parts_of(units, most) if type(method).divides() else [list(units)]
    batches = [method.collate(part) for part in parts]
    counts = _counts(method, batches)
    found: Outcome | None = None
    for part, batch in zip(parts, batches, strict=True):
        with fitting(part):
            outcome = method.loss(model, batch.to(device))
            share = outcome.loss if counts is None else _share(outcome, counts)
            share.backward()  # type: ignore[no-untyped-call]
            # Nothing of a part's graph is kept while the next one runs.
            outcome = detached(outcome)
        found = outcome if found is None else joined(found, outcome)
        del share
    if found is None:
        raise ValueError("a step needs at least one unit")
    return Gathered(found, sum(batch.tokens for batch in batches))


def tell(
    method: Method[Any, Any], model: Any, units: Sequence[Unit], device: torch.device
) -> Outcome:
    """What the method makes of units, without gradients.

    Raises:
        TooLarge: memory ran out.
    """
    with fitting(units), torch.inference_mode():
        return method.loss(model, method.collate(units).to(device))


@contextmanager
def fitting(units: Sequence[Unit]) -> Iterator[None]:
    """Turns every way in which libraries say that memory ran out into ``TooLarge``."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not out_of_memory(error):
            raise
        raise TooLarge(units) from error


def joined(one: Outcome, other: Outcome) -> Outcome:
    """Two parts' outcomes as though they had been one batch."""
    terms = tuple(_sum(*pair) for pair in zip(one.terms, other.terms, strict=True))
    metrics = dict(one.metrics)
    for name, mean in other.metrics.items():
        metrics[name] = _sum(metrics[name], mean) if name in metrics else mean
    return Outcome(terms, metrics)


def _sum(one: Mean, other: Mean) -> Mean:
    return Mean(one.total + other.total, one.count + other.count)


def _counts(method: Method[Any, Any], batches: Sequence[PackedBatch]) -> list[int] | None:
    """What the means over all parts are divided by; None where there is but one part."""
    if len(batches) == 1:
        return None
    return [sum(each) for each in zip(*map(method.counts, batches), strict=True)]


def _share(outcome: Outcome, counts: Sequence[int]) -> Tensor:
    """A part's share of the whole batch's loss."""
    pairs = zip(outcome.terms, counts, strict=True)
    return reduce(add, (term.total / count for term, count in pairs))


def detached(outcome: Outcome) -> Outcome:
    """The numbers of an outcome without the graph that they came from."""
    terms = tuple(Mean(term.total.detach(), term.count) for term in outcome.terms)
    metrics = {
        name: Mean(mean.total.detach(), mean.count) for name, mean in outcome.metrics.items()
    }
    return Outcome(terms, metrics)
