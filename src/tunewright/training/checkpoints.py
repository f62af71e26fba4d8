"""Checkpoints that are either complete or not there.

A checkpoint is a folder ``step-00000050/``:

    adapter/             the adapter in PEFT's format
    optimizer.safetensors  both running means of AdamW per parameter, and their step
    state.json           where the run stands
    manifest.json        SHA-256 of every file above, written last

It is written under a temporary name, flushed to disk and renamed, so a kill or a power cut at
any moment leaves the previous checkpoint or the new one. Whoever reads one checks the manifest
first, and takes the next older one when a byte differs.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from pydantic import TypeAdapter, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from tunewright.core.errors import StorageError, TrainingError
from tunewright.core.files import (
    disk_errors,
    fsync_folder,
    fsync_tree,
    make_folder,
    sha256_file,
    write_json_atomic,
)
from tunewright.training.disk import is_full

Failpoint = Callable[[str], None]
"""Called when a save has come to a point; what it does there shows what a crash would leave."""
POINTS = ("begun", "adapter", "optimizer", "state", "manifest", "flushed", "renamed")
"""The points of one save, in order: after each write, the flush and the rename."""
_NAME = re.compile(r"step-(\d{8,})")
_TEMPORARY = ".tmp-"
_MANIFEST = "manifest.json"


@dataclass
class TrainState:
    """Where a run stands after a step: all that the next step depends on besides the weights.

    Randomness needs no entry: the order of rows comes from the seed and the epoch, dropout from
    the seed and the step.
    """

    step: int = 0
    epoch: int = 0
    batch: int = 0
    """Batches of this epoch already done."""
    tokens: int = 0
    """Tokens trained on so far."""
    seconds: float = 0.0
    """Seconds spent in steps so far, the first step of each process left out."""
    timed_tokens: int = 0
    """Tokens trained on in those seconds."""
    recent_losses: list[float] = field(default_factory=list)
    """Losses of the last steps, oldest first."""
    valid_loss: float | None = None
    """Newest validation loss."""
    smoothed_loss: float | None = None
    """Running mean of the training loss."""
    best_loss: float | None = None
    best_step: int | None = None
    worse: int = 0
    """Validations since the best one."""
    first_step_seconds: float | None = None
    micro_tokens: int | None = None
    """Most tokens of a part since memory ran out; None where it never did."""
    threads: int = field(default_factory=torch.get_num_threads)
    """Threads that sums were divided over: with another number they round differently."""
    identity: dict[str, str] = field(default_factory=dict)
    """Digests of config, data and base: a checkpoint continues only the run it came from."""


@dataclass(frozen=True)
class Checkpoint:
    """A complete, verified checkpoint."""

    folder: Path
    state: TrainState

    @property
    def adapter(self) -> Path:
        """Folder of the adapter."""
        return self.folder / "adapter"


@dataclass(frozen=True)
class Search:
    """The newest complete checkpoint of a folder, and what is wrong with newer ones."""

    checkpoint: Checkpoint | None
    damaged: tuple[str, ...]


def passing(point: str) -> None:
    """The failpoint of real life."""


def checkpoint_path(folder: Path, step: int) -> Path:
    """Where the checkpoint of a step is."""
    return folder / f"step-{step:08d}"


def save_checkpoint(
    folder: Path,
    state: TrainState,
    optimizer: dict[str, Tensor],
    write_adapter: Callable[[Path], None],
    at: Failpoint = passing,
) -> Path:
    """Write one checkpoint as a whole.

    Args:
        folder: the run's ``checkpoints`` folder.
        state: where the run stands.
        optimizer: the optimizer's tensors by name, see ``optimizer_tensors``.
        write_adapter: writes the adapter's files into the folder it is given.
        at: called with the name of each point that a crash may hit, see ``POINTS``.

    Raises:
        StorageError: when the disk refuses; earlier checkpoints are untouched.
    """
    final = checkpoint_path(folder, state.step)
    temporary = folder / f"{_TEMPORARY}{os.getpid()}-{final.name}"
    with disk_errors(folder):
        make_folder(folder)
        _sweep(folder)
        try:
            (temporary / "adapter").mkdir(parents=True)
            at("begun")
            write_adapter(temporary / "adapter")
            at("adapter")
            # Straight from the tensors: as bytes they would be held twice more.
            save_file(optimizer, temporary / "optimizer.safetensors")
            at("optimizer")
            write_json_atomic(temporary / "state.json", asdict(state))
            at("state")
            write_json_atomic(temporary / _MANIFEST, _hashes(temporary))
            at("manifest")
            fsync_tree(temporary)
            at("flushed")
            # A damaged checkpoint of the same step, redone after a resume.
            shutil.rmtree(final, ignore_errors=True)
            temporary.rename(final)
            at("renamed")
            fsync_folder(folder)
        except SafetensorError as error:
            problem = "the disk is full" if is_full(error) else str(error)
            raise StorageError(
                f"cannot write {temporary}: {problem}", "Free some space, then resume the run."
            ) from error
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    return final


def list_checkpoints(folder: Path) -> list[Path]:
    """Folders that carry a checkpoint's name, newest step first, complete or not."""
    if not folder.is_dir():
        return []
    found = [(int(m[1]), p) for p in folder.iterdir() if (m := _NAME.fullmatch(p.name))]
    return [path for _, path in sorted(found, reverse=True)]


def newest_checkpoint(folder: Path) -> Checkpoint | None:
    """The newest complete checkpoint, whatever else lies in the folder."""
    return search_checkpoints(folder).checkpoint


def search_checkpoints(folder: Path) -> Search:
    """The newest complete checkpoint, and for each newer one that is not what is wrong with it."""
    damaged: list[str] = []
    for path in list_checkpoints(folder):
        try:
            return Search(read_checkpoint(path), tuple(damaged))
        except TrainingError as error:
            damaged.append(error.message)
    return Search(None, tuple(damaged))


def read_checkpoint(path: Path) -> Checkpoint:
    """Verify a checkpoint and read its state.

    Raises:
        TrainingError: when a file is missing or differs from the manifest, naming it.
    """
    problem = _damage(path)
    if problem:
        raise TrainingError(f"checkpoint {path} is not complete: {problem}")
    try:
        state = TypeAdapter(TrainState).validate_json((path / "state.json").read_bytes())
    except ValidationError as error:
        raise TrainingError(f"checkpoint {path}: state.json: {error.errors()[0]['msg']}") from None
    return Checkpoint(path, state)


def forget_lost_best(folder: Path, checkpoint: Checkpoint) -> str | None:
    """Forget a best checkpoint that cannot be read any more; what was wrong with it, or None.

    Without this a run would end by publishing something that is not there.
    """
    state = checkpoint.state
    if state.best_step is None or state.best_step == state.step:
        return None
    try:
        read_checkpoint(checkpoint_path(folder, state.best_step))
    except TrainingError as error:
        state.best_step = state.best_loss = None
        state.worse = 0
        return error.message
    return None


def prune(folder: Path, keep: int, best_step: int | None) -> None:
    """Remove all but the ``keep`` newest checkpoints and the best one."""
    best = None if best_step is None else checkpoint_path(folder, best_step)
    for path in list_checkpoints(folder)[keep:]:
        if path != best:
            shutil.rmtree(path, ignore_errors=True)


def optimizer_tensors(optimizer: torch.optim.Optimizer, names: list[str]) -> dict[str, Tensor]:
    """AdamW's state as ``{"<parameter>.<entry>": tensor}``; ``names`` in the parameters' order."""
    tensors = {}
    for index, entries in optimizer.state_dict()["state"].items():
        for key, value in entries.items():
            tensors[f"{names[index]}.{key}"] = value.detach().cpu().contiguous()
    return tensors


def restore_optimizer(
    optimizer: torch.optim.Optimizer, names: list[str], checkpoint: Checkpoint
) -> None:
    """Put back what ``optimizer_tensors`` gave.

    Raises:
        TrainingError: when the checkpoint holds other parameters.
    """
    state: dict[int, dict[str, Tensor]] = {}
    places = {name: index for index, name in enumerate(names)}
    with safe_open(checkpoint.folder / "optimizer.safetensors", framework="pt") as file:
        for name in file.keys():  # noqa: SIM118 - the handle is not a mapping
            parameter, _, key = name.rpartition(".")
            if parameter not in places:
                raise TrainingError(f"checkpoint {checkpoint.folder} has no place for {name}")
            state.setdefault(places[parameter], {})[key] = file.get_tensor(name)
    if state and len(state) != len(names):
        raise TrainingError(f"checkpoint {checkpoint.folder}: {len(names) - len(state)} missing")
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})


def _hashes(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): sha256_file(path) for path in files}


def _damage(path: Path) -> str | None:
    """What is wrong with a checkpoint folder, or None."""
    try:
        manifest = json.loads((path / _MANIFEST).read_bytes())
        for name, expected in manifest.items():
            if sha256_file(path / name) != expected:
                return f"{name} has changed since it was written"
    except FileNotFoundError as error:
        return f"{Path(error.filename).name} is missing"
    except (OSError, ValueError, AttributeError) as error:
        return f"{_MANIFEST} cannot be read ({error})"
    return None if "state.json" in manifest else "state.json is not in the manifest"


def _sweep(folder: Path) -> None:
    """Remove what earlier processes left half-written; the run's lock says that we are alone."""
    for path in folder.glob(f"{_TEMPORARY}*"):
        shutil.rmtree(path, ignore_errors=True)
