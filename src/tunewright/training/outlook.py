"""How a run that is about to begin fits its machine, by its base's config and its own batches."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from tunewright.config.training import TrainConfig
from tunewright.core.errors import InputError, ModelError
from tunewright.model.folders import read_json
from tunewright.model.shapes import Shape, shape_of
from tunewright.model.tuners.files import PEFT_SETTINGS, read_settings, tuner_of
from tunewright.training.batches import Sampler, Unit
from tunewright.training.choice import Choice, Need, choose
from tunewright.training.estimates import Batch
from tunewright.training.machine import Machine
from tunewright.training.parts import parts_of
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


def fitted(
    config: TrainConfig,
    folder: Path,
    units: Sequence[Unit],
    machine: Machine,
    *,
    divides: bool,
) -> Choice | None:
    """How a run fits its machine; None for an architecture whose sizes cannot be told.

    Args:
        config: the recipe.
        folder: of the base.
        units: what the model reads and learns.
        machine: where it runs.
        divides: whether the method can learn a step's batch in parts.
    """
    shape = shape_in(folder)
    if shape is None:
        return None
    sampler = Sampler(tuple(map(len, units)), config.batch_tokens, config.seed)
    steps = [[units[index] for index in batch] for batch in sampler.epoch(0)]
    need = Need(shape, facts_of(units), stored_bytes(folder), divides, partial(largest_pass, steps))
    return choose(config, need, machine)


def refuse_misfit(choice: Choice, machine: Machine) -> None:
    """Refuse what the memory does not hold, unless that is wanted.

    Raises:
        InputError: saying what would fit.
    """
    if choice.fits or choice.config.memory.force:
        return
    said, *ways = [text.en for text in choice.instead]
    raise InputError(
        f"this run does not fit the memory of {machine.name}: {said}",
        "\n  ".join(("What would:", *ways, "memory.force=true begins all the same")),
    )


def largest_pass(steps: Sequence[Sequence[Unit]], tokens: int) -> Batch:
    """The largest part of any step when parts have at most so many tokens.

    The steps are those of the first epoch; others differ in their mixture.
    """
    parts = [part for step in steps for part in parts_of(step, tokens)]
    documents = [
        document
        for unit in max(parts, key=lambda part: sum(map(len, part)))
        for document in unit.documents
    ]
    lengths = list(map(len, documents))
    return Batch(
        tokens=sum(lengths),
        learnt=max(sum(unit.learnt for unit in part) for part in parts),
        length=round(sum(length**2 for length in lengths) / sum(lengths)),
    )


def tight(choice: Choice, machine: Machine) -> bool:
    """Whether a rehearsal is worth its time: on a GPU, or where the plan takes half of the rest."""
    return machine.device == "cuda" or choice.estimate.memory.peak > machine.memory / 2
