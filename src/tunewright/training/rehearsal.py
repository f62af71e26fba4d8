"""What could end a run late, tried before its first step."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch
from torch.nn import Parameter

from tunewright.training.batches import Sampler, Unit
from tunewright.training.checkpoints import TrainState, save_checkpoint
from tunewright.training.disk import DiskPatience

_FOLDER = "rehearsal"


def longest_batch(units: Sequence[Unit], sampler: Sampler) -> list[Unit]:
    """The batch of the first epoch with the most tokens; the others differ in their mixture."""
    most = max(sampler.epoch(0), key=lambda batch: sum(len(units[index]) for index in batch))
    return [units[index] for index in most]


def rehearse_save(
    run_folder: Path,
    state: TrainState,
    parameters: Mapping[str, Parameter],
    write_adapter: Callable[[Path], None],
    disk: DiskPatience,
) -> None:
    """Write a checkpoint as large as a real one, and remove it.

    Args:
        run_folder: where a folder may be made for it.
        state: where the run stands.
        parameters: what is trained; its optimizer state is imagined.
        write_adapter: writes the adapter's files.
        disk: waits on a full disk.

    Raises:
        StorageError: the disk refuses.
    """
    folder = run_folder / _FOLDER
    moments = {
        f"{name}.{key}": torch.zeros(parameter.shape)
        for name, parameter in parameters.items()
        for key in ("exp_avg", "exp_avg_sq")
    }
    needed = sum(one.nbytes for one in (*moments.values(), *parameters.values()))
    try:
        disk(lambda: save_checkpoint(folder, state, moments, write_adapter), needed=needed)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
