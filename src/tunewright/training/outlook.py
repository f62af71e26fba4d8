"""The estimate of a run that is about to begin, from its base's config and its own batches."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from tunewright.config.training import TrainConfig
from tunewright.core.errors import ModelError
from tunewright.model.folders import read_json
from tunewright.model.shapes import Shape, shape_of
from tunewright.model.tuners.files import PEFT_SETTINGS, read_settings, tuner_of
from tunewright.training.batches import Sampler, Unit
from tunewright.training.estimates import (
    Batch,
    DeviceName,
    Estimate,
    Precision,
    estimate,
    timed,
)
from tunewright.training.machine import multiplying_speed
from tunewright.training.recipes import Facts


def shape_in(folder: Path) -> Shape | None:
    """Sizes of the base in a folder; None for an architecture whose sizes cannot be told."""
    try:
        return shape_of(read_json(folder / "config.json"))
    except ModelError:
        return None


def stored_bytes(folder: Path) -> int:
    """Bytes of the base's weights on disk."""
    return sum(path.stat().st_size for path in folder.glob("*.safetensors"))


def facts_of(units: Sequence[Unit]) -> Facts:
    """What there is to learn from."""
    lengths = sorted(map(len, units))
    return Facts(
        rows=len(lengths),
        tokens=sum(lengths),
        supervised=sum(unit.learnt for unit in units),
        longest=lengths[-1],
        usual=lengths[len(lengths) // 2],
    )


def rank_in(folder: Path) -> int | None:
    """Rank of a folder's LoRA adapter; None for anything else."""
    if tuner_of(folder) != "lora":
        return None
    found = read_settings(folder, PEFT_SETTINGS).get("r")
    return found if isinstance(found, int) else None


def outlook(
    folder: Path,
    config: TrainConfig,
    units: Sequence[Unit],
    sampler: Sampler,
    tokens: int,
    device: torch.device,
    dtype: torch.dtype,
) -> Estimate | None:
    """What a run will take; None for an architecture whose sizes cannot be told.

    Args:
        folder: of the base.
        config: the recipe.
        units: what is trained on.
        sampler: divides them into batches.
        tokens: that the whole run trains on.
        device: where it runs.
        dtype: of the arithmetic.
    """
    shape = shape_in(folder)
    if shape is None:
        return None
    place: DeviceName = "cuda" if device.type == "cuda" else "cpu"
    precision: Precision = "bfloat16" if dtype == torch.bfloat16 else "float32"
    batch = largest_batch(units, sampler)
    plan = estimate(shape, config, batch, place, precision, stored=stored_bytes(folder))
    return timed(plan, tokens, multiplying_speed(device, dtype), place)


def largest_batch(units: Sequence[Unit], sampler: Sampler) -> Batch:
    """The batch of the first epoch with the most tokens; the others differ in their mixture."""
    batches = sampler.epoch(0)
    most = max(batches, key=lambda batch: sum(len(units[index]) for index in batch))
    documents = [one for index in most for one in units[index].documents]
    return Batch(
        tokens=sum(map(len, documents)),
        learnt=max(sum(units[index].learnt for index in batch) for batch in batches),
        length=round(sum(len(one) ** 2 for one in documents) / sum(map(len, documents))),
    )
