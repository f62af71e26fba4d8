"""A checkpoint is complete or it is not there, whatever happens to the disk."""

from __future__ import annotations

import random
import resource
import shutil
from pathlib import Path

import pytest
import torch

from tunewright.core.errors import StorageError, TrainingError
from tunewright.training.checkpoints import (
    TrainState,
    checkpoint_path,
    list_checkpoints,
    newest_checkpoint,
    optimizer_tensors,
    prune,
    read_checkpoint,
    restore_optimizer,
    save_checkpoint,
)


def write_adapter(folder: Path) -> None:
    (folder / "adapter_model.safetensors").write_bytes(bytes(range(256)) * 16)
    (folder / "adapter_config.json").write_text("{}")


def save(folder: Path, step: int, **state: object) -> Path:
    tensors = {"w.exp_avg": torch.full((8,), float(step))}
    return save_checkpoint(folder, TrainState(step=step, **state), tensors, write_adapter)  # type: ignore[arg-type]


def test_the_newest_complete_one_is_found_and_keeps_its_state(tmp_path: Path) -> None:
    save(tmp_path, 5)
    save(tmp_path, 10, epoch=1, recent_losses=[0.1 + 0.2], best_loss=1 / 3, identity={"data": "x"})
    found = newest_checkpoint(tmp_path)
    assert found is not None
    assert found.state.step == 10
    assert found.state.recent_losses == [0.1 + 0.2]
    assert found.state.best_loss == 1 / 3
    assert found.state.identity == {"data": "x"}


def test_rubbish_beside_it_does_not_matter(tmp_path: Path) -> None:
    assert newest_checkpoint(tmp_path / "absent") is None
    assert newest_checkpoint(tmp_path) is None
    save(tmp_path, 5)
    (tmp_path / "step-00000020").mkdir()
    (tmp_path / "step-00000030").write_text("a file")
    (tmp_path / "step-x").mkdir()
    shutil.copytree(tmp_path / "step-00000005", tmp_path / ".tmp-1-step-00000040")
    found = newest_checkpoint(tmp_path)
    assert found is not None
    assert found.state.step == 5


@pytest.mark.parametrize("seed", range(24))
def test_any_damage_is_seen_and_the_previous_one_taken(tmp_path: Path, seed: int) -> None:
    save(tmp_path, 5)
    newest = save(tmp_path, 10)
    draw = random.Random(seed)
    victim = draw.choice(sorted(path for path in newest.rglob("*") if path.is_file()))
    data = bytearray(victim.read_bytes())
    match draw.choice(("flip", "cut", "empty", "remove")):
        case "flip":
            # In a hash or a name of the manifest, in a tensor, in the state: anywhere.
            data[draw.randrange(len(data))] ^= 1 << draw.randrange(7)
            victim.write_bytes(data)
        case "cut":
            victim.write_bytes(data[: draw.randrange(len(data) - 1)])
        case "empty":
            victim.write_bytes(b"")
        case "remove":
            victim.unlink()
    with pytest.raises(TrainingError):
        read_checkpoint(newest)
    found = newest_checkpoint(tmp_path)
    assert found is not None
    assert found.state.step == 5


def test_the_newest_and_the_best_are_kept(tmp_path: Path) -> None:
    for step in (1, 2, 3, 4, 5):
        save(tmp_path, step)
        prune(tmp_path, keep=2, best_step=2)
    assert [path.name[-1] for path in list_checkpoints(tmp_path)] == ["5", "4", "2"]


def test_a_refusing_disk_leaves_the_previous_checkpoint(tmp_path: Path) -> None:
    save(tmp_path, 5)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    # A real refusal by the kernel, like a full disk: no file may grow beyond 1 KiB.
    resource.setrlimit(resource.RLIMIT_FSIZE, (1024, before[1]))
    try:
        with pytest.raises(StorageError, match="cannot write"):
            save(tmp_path, 10)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000005"]
    found = newest_checkpoint(tmp_path)
    assert found is not None
    assert found.state.step == 5


def test_leftovers_of_a_kill_are_swept_and_a_damaged_same_step_replaced(tmp_path: Path) -> None:
    (tmp_path / ".tmp-999-step-00000005" / "adapter").mkdir(parents=True)
    checkpoint_path(tmp_path, 5).mkdir()
    save(tmp_path, 5)
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000005"]
    assert newest_checkpoint(tmp_path) is not None


def test_the_optimizer_comes_back_bit_for_bit(tmp_path: Path) -> None:
    def run(
        steps: int, optimizer: torch.optim.Optimizer, parameters: list[torch.nn.Parameter]
    ) -> None:
        for _ in range(steps):
            for parameter in parameters:
                parameter.grad = torch.sin(parameter.detach() * 3)
            optimizer.step()

    torch.manual_seed(0)
    start = [torch.randn(4, 3), torch.randn(5)]
    names = ["a.weight", "b.weight"]
    first = [torch.nn.Parameter(tensor.clone()) for tensor in start]
    one = torch.optim.AdamW(first, lr=0.1, fused=True)
    run(3, one, first)
    path = save_checkpoint(
        tmp_path, TrainState(step=3), optimizer_tensors(one, names), write_adapter
    )
    second = [torch.nn.Parameter(tensor.detach().clone()) for tensor in first]
    two = torch.optim.AdamW(second, lr=0.1, fused=True)
    restore_optimizer(two, names, read_checkpoint(path))
    run(3, one, first)
    run(3, two, second)
    for expected, actual in zip(first, second, strict=True):
        assert torch.equal(expected, actual)


def test_an_optimizer_of_other_parameters_is_refused(tmp_path: Path) -> None:
    parameter = torch.nn.Parameter(torch.zeros(8))
    optimizer = torch.optim.AdamW([parameter])
    checkpoint = read_checkpoint(save(tmp_path, 1))
    with pytest.raises(TrainingError, match=r"w\.exp_avg"):
        restore_optimizer(optimizer, ["other"], checkpoint)
