"""What a reference names: a base, a tuned model, or a checkpoint of a run (RUN@STEP)."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from pathlib import Path

from tunewright.core.errors import ModelError, NotFoundError
from tunewright.core.records import Model, Run
from tunewright.core.store import Store
from tunewright.model.catalog import BUNDLED, Base, resolve_base
from tunewright.model.folders import read_json

_STEP = re.compile(r"step-(\d{8})")


@dataclass(frozen=True)
class Resolved:
    """A base with, maybe, an adapter on it.

    Attributes:
        name: what it is called in answers and reports.
        base: the resolved base.
        adapter: the adapter's folder, or None for the bare base.
        renderer_hash: of the renderer that the adapter was trained with, where recorded.
    """

    name: str
    base: Base
    adapter: Path | None = None
    renderer_hash: str | None = None


def resolve(store: Store, reference: str) -> Resolved:
    """Look a reference up.

    Raises:
        NotFoundError: neither base, tuned model nor checkpoint.
        ModelError: the base is not usable, or is not the one the model was tuned on.
    """
    model = store.find(Model, reference)
    if model is not None:
        return _tuned(store, model)
    run, at, step = reference.rpartition("@")
    if at and store.find(Run, run) is not None:
        return _checkpoint(store, store.get(Run, run), step)
    if not _looks_like_base(reference):
        known = [*BUNDLED, *(m.name for m in store.list(Model)), *(m.id for m in store.list(Model))]
        close = difflib.get_close_matches(reference, known, n=3, cutoff=0.4) or known[:3]
        raise NotFoundError(
            f"{reference!r} is neither a base, a tuned model nor a checkpoint (RUN@STEP)",
            f"Known: {', '.join(dict.fromkeys(close))}",
        )
    return Resolved(reference, resolve_base(reference, store.settings))


def _looks_like_base(reference: str) -> bool:
    return (
        reference in BUNDLED
        or "/" in reference
        or reference.startswith((".", "~", "modelscope:"))
        or Path(reference).is_dir()
    )


def _tuned(store: Store, model: Model) -> Resolved:
    base = resolve_base(model.base, store.settings)
    if base.digest != model.base_digest:
        raise _other_base(model.name, model.base, model.base_digest, base.digest)
    return Resolved(model.name, base, store.folder(Model, model.id), model.renderer_hash)


def _checkpoint(store: Store, run: Run, step: str) -> Resolved:
    folder = store.folder(Run, run.id) / "checkpoints"
    steps = sorted(
        int(match[1])
        for path in folder.glob("step-*")
        if (match := _STEP.fullmatch(path.name)) and (path / "adapter").is_dir()
    )
    if not step.isdigit() or int(step) not in steps:
        raise NotFoundError(
            f"run {run.id} has no checkpoint at step {step!r}",
            f"Steps: {', '.join(map(str, steps)) or 'none yet'}",
        )
    checkpoint = folder / f"step-{int(step):08d}"
    base = resolve_base(run.base, store.settings)
    state = checkpoint / "state.json"
    known = read_json(state).get("identity", {}) if state.is_file() else {}
    if known.get("base", base.digest) != base.digest:
        raise _other_base(f"{run.id}@{step}", run.base, known["base"], base.digest)
    adapter = checkpoint / "adapter"
    return Resolved(f"{run.id}@{step}", base, adapter, known.get("renderer"))


def _other_base(name: str, base: str, then: str, now: str) -> ModelError:
    return ModelError(
        f"{name} was tuned on another version of base {base!r} ({then[:12]}, now {now[:12]})",
        "Restore the base's files or tune again.",
    )
