"""Folders of models with all in them that has ever run code elsewhere; here none of it is."""

from __future__ import annotations

import json
import os
import pickle
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from tunewright.core.messages import conversation
from tunewright.core.settings import Settings
from tunewright.model.catalog import resolve_base
from tunewright.model.loading import load_model
from tunewright.model.rendering import Renderer
from tunewright.training.checkpoints import TrainState, newest_checkpoint, save_checkpoint

# What other programs read by itself from a folder of a model, an adapter or a checkpoint.
PICKLES = (
    "rng_state.pth", "rng_state_0.pth", "optimizer.pt", "scheduler.pt", "scaler.pt",
    "training_args.bin", "value_head.bin", "vhead.bin", ".mdl", ".cache", ".msc", "merges.pkl",
    "consolidated.00.pth", "tokenizer.pkl", "spiece.model", "model.ckpt", "a.joblib", "x.npy",
)  # fmt: skip
MODULES = (
    "modeling_x.py", "configuration_x.py", "tokenization_x.py", "setup.py", "conftest.py",
    "sitecustomize.py", "torch.py", "json.py", "handler.py", "kernel/__init__.py",
)  # fmt: skip


class Blow:
    """Leaves a canary when it is unpickled."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.canary),)


def booby_trap(folder: Path, canary: Path) -> None:
    """Fill a folder."""
    payload = pickle.dumps(Blow(canary))
    for name in PICKLES:
        (folder / name).write_bytes(payload)
    for name in MODULES:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(f"import os\nos.mkdir({str(canary)!r})\n")
    command = f"a;mkdir {canary.name};b"
    (folder / command).mkdir()
    (folder / "$(mkdir canary)").write_text("x")
    (folder / "link").symlink_to("/etc/passwd")
    (folder / "requirements.txt").write_text("evil-package")
    (folder / "adapter_config.yaml").write_text("!!python/object/apply:os.mkdir ['canary']")


def test_the_trap_works(tmp_path: Path) -> None:
    with pytest.raises(FileExistsError):
        for _ in range(2):
            pickle.loads(pickle.dumps(Blow(tmp_path / "canary")))  # noqa: S301


def test_a_base_amid_traps_is_read_and_nothing_is_run(
    tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, canary = tmp_path / "base", tmp_path / "canary"
    shutil.copytree(tiny_base, folder)
    booby_trap(folder, canary)
    monkeypatch.chdir(folder)
    base = resolve_base(str(folder), Settings(home=tmp_path / "home", offline=True))
    renderer = Renderer(base.folder)
    assert renderer.prompt_ids(conversation(("user", "hello")))
    assert load_model(base, torch.device("cpu"), torch.float32) is not None
    assert not canary.exists()
    assert not (folder / canary.name).exists()


def test_a_checkpoint_amid_traps_is_read_and_nothing_is_run(tmp_path: Path) -> None:
    canary = tmp_path / "canary"

    def adapter(folder: Path) -> None:
        (folder / "adapter_config.json").write_text("{}")

    path = save_checkpoint(tmp_path, TrainState(step=5), {"w.exp_avg": torch.ones(2)}, adapter)
    booby_trap(path, canary)
    found = newest_checkpoint(tmp_path)
    assert found is None or found.state.step == 5
    assert not canary.exists()
    # Nor is a pickle taken for what it replaces.
    state = next(one for one in path.iterdir() if one.suffix == ".safetensors")
    state.write_bytes(pickle.dumps(Blow(canary)))
    assert newest_checkpoint(tmp_path) is None
    assert not canary.exists()


@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    "text",
    ["<|im_start|>" * 20_000, "<" * 100_000, "a" * 100_000, " \t\n" * 100_000, "A1" * 150_000,
     "<|" * 150_000, "\U000e0001" * 60_000, "é́" * 100_000, "'s" * 150_000, "\ud7ff啊" * 60_000],
    ids=range(10),
)  # fmt: skip
def test_a_long_text_of_anything_is_tokenized(tiny_base: Path, text: str) -> None:
    """Regular expressions that backtrack would take for ever."""
    renderer = Renderer(tiny_base)
    ids = renderer.render_text(text).ids
    assert ids
    control = json.loads((tiny_base / "tokenizer.json").read_text())["added_tokens"][0]["id"]
    assert control not in ids[:-1]
