"""All that one run is made of."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import Parameter

from tunewright.config.training import TrainConfig
from tunewright.core.messages import Source
from tunewright.training.batches import Sampler, Unit
from tunewright.training.drawing import Drawing
from tunewright.training.methods.base import Method
from tunewright.training.preview import Preview


@dataclass(frozen=True)
class Job:
    """All that one run is made of.

    Attributes:
        config: the recipe.
        model: the base with its adapter attached, on ``device``, as the method trains it.
        parameters: what is trained, by name.
        method: how batches and losses are made.
        train: units to learn from.
        dev: units to watch; may be empty.
        sources: where the rows that ``train`` was made of came from.
        sampler: the order of ``train``.
        steps: optimizer steps of the whole run.
        peak_rate: highest learning rate.
        device: where the model is.
        write_adapter: writes the adapter's files into a folder.
        read_adapter: puts the weights of such a folder back.
        reference: the model as it was before any training, while the context is open.
        identity: digests that a checkpoint must share to be resumed.
        started: ``time.perf_counter()`` when the stage began.
        factors: learning rates of parameters, as multiples of the run's, where not 1.
        continued: whether the adapter that the run started from goes on being trained.
        preview: answers a few questions at every validation, if wanted.
        drawing: draws answers, for methods that learn from the model's own.
        starting: what was trained as it began, for those of them that compare with it.
        rehearse: whether the longest step, validation and a save are tried before the first step.
    """

    config: TrainConfig
    model: Any
    parameters: dict[str, Parameter]
    method: Method[Any, Any]
    train: Sequence[Unit]
    dev: Sequence[Unit]
    sources: Sequence[Source]
    sampler: Sampler
    steps: int
    peak_rate: float
    device: torch.device
    write_adapter: Callable[[Path], None]
    read_adapter: Callable[[Path], None]
    reference: Callable[[], AbstractContextManager[Any]]
    identity: dict[str, str]
    started: float
    factors: Mapping[str, float] = field(default_factory=dict)
    continued: bool = False
    preview: Preview | None = None
    drawing: Drawing | None = None
    starting: Mapping[str, Tensor] = field(default_factory=dict)
    rehearse: bool = False
