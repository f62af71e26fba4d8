"""Checkpoints that can be asked for by name: models beside the tuned one, the last few of them."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from pathlib import Path

from tunewright.core.errors import InputError
from tunewright.core.records import Model, Run
from tunewright.core.store import Store
from tunewright.jobs.work import CHECKPOINT
from tunewright.model.folders import read_json
from tunewright.training.session import run_model_name

KEPT = 3
"""How many of a run's checkpoints stay usable, as with OpenAI."""


def checkpoint_name(store: Store, run: Run, step: int) -> str:
    """``ft:…:ckpt-step-N``."""
    return f"{run_model_name(store, run)}{CHECKPOINT}{step}"


def publish_checkpoint(store: Store, run: Run, step: int) -> str:
    """Make a checkpoint a model, and older ones of its run no longer one; returns its name.

    Its files are linked, not copied: a checkpoint is never changed once it is written.
    """
    name = checkpoint_name(store, run, step)
    if store.find(Model, name) is None:
        saved = store.folder(Run, run.id) / "checkpoints" / f"step-{step:08d}"
        identity = read_json(saved / "state.json")["identity"]
        model = Model(
            id=store.new_id(Model),
            name=name,
            base=run.base,
            base_digest=identity["base"],
            renderer_hash=identity["renderer"],
            run=run.id,
            step=step,
            parent=run.start,
            folded=run.folded,
        )
        with store.stage(Model, model.id) as folder:
            shutil.copytree(saved / "adapter", folder, dirs_exist_ok=True, copy_function=_link)
        store.add(model)
    _forget_older(store, run)
    return name


def _forget_older(store: Store, run: Run) -> None:
    mine = [m for m in store.list(Model) if m.run == run.id and CHECKPOINT in m.name]
    for model in sorted(mine, key=lambda m: -m.step)[KEPT:]:
        # One that other runs started from stays.
        with suppress(InputError):
            store.delete(Model, model.id)


def _link(source: str, target: str) -> str:
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
    return str(Path(target))
