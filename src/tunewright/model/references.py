"""What a reference names: a base, a tuned model, or a checkpoint of a run (RUN@STEP)."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from pathlib import Path

from tunewright.core.errors import ModelError, NotFoundError
from tunewright.core.events import Listener, ignore
from tunewright.core.records import Model, Run
from tunewright.core.store import Store
from tunewright.model.catalog import BUNDLED, Base, resolve_base
from tunewright.model.folders import read_json
from tunewright.model.tuners.files import head_file, replaces_weights

_STEP = re.compile(r"step-(\d{8})")


@dataclass(frozen=True)
class Foundation:
    """A base's weights, with the tuned models that are part of them.

    Attributes:
        base: the resolved base.
        folded: folders of those tuned models, oldest first.
    """

    base: Base
    folded: tuple[Path, ...] = ()

    @property
    def key(self) -> tuple[str, ...]:
        """Equal for equal weights."""
        return (self.base.digest, *map(str, self.folded))


@dataclass(frozen=True)
class Resolved:
    """A base with, maybe, tuned models on it.

    Attributes:
        name: what it is called in answers and reports.
        base: the resolved base.
        folders: of the tuned models on it, oldest first.
        renderer_hash: of the renderer that it was trained with, where recorded.
        model: the record, when it is a tuned model of the store.
    """

    name: str
    base: Base
    folders: tuple[Path, ...] = ()
    renderer_hash: str | None = None
    model: Model | None = None

    @property
    def adapter(self) -> Path | None:
        """What takes turns with others on the same weights, or None."""
        if not self.folders or replaces_weights(self.folders[-1]):
            return None
        return self.folders[-1]

    @property
    def scores(self) -> bool:
        """Whether it is a reward model, which gives numbers and no answers."""
        return bool(self.folders) and head_file(self.folders[-1]).is_file()

    @property
    def foundation(self) -> Foundation:
        """The weights below the adapter; models with equal ones can share them."""
        folded = self.folders if self.adapter is None else self.folders[:-1]
        return Foundation(self.base, folded)


def resolve_foundation(store: Store, name: str) -> Foundation:
    """The weights that go by a base's name, or by the id of a tuned model that is part of them.

    Raises:
        InputError: as for ``resolve``.
    """
    model = store.find(Model, name)
    if model is None:
        return Foundation(resolve_base(name, store.settings))
    resolved = _tuned(store, model)
    return Foundation(resolved.base, resolved.folders)


def foundation_name(store: Store, model: Model) -> str:
    """What ``resolve_foundation`` knows a tuned model's weights by."""
    if replaces_weights(store.folder(Model, model.id)):
        return model.id
    return model.folded[-1] if model.folded else model.base


def resolve(store: Store, reference: str, listen: Listener = ignore) -> Resolved:
    """Look a reference up; ``listen`` hears of a base that is copied first.

    Raises:
        NotFoundError: neither base, tuned model nor checkpoint.
        ModelError: the base is not usable, or is not the one the model was tuned on.
    """
    model = store.find(Model, reference)
    if model is not None:
        return _tuned(store, model, listen)
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
    return Resolved(reference, resolve_base(reference, store.settings, listen))


def resolve_responder(store: Store, reference: str, listen: Listener = ignore) -> Resolved:
    """``resolve`` for something that is to answer.

    Raises:
        NotFoundError, ModelError: as for ``resolve``.
        ModelError: it is a reward model.
    """
    found = resolve(store, reference, listen)
    if found.scores:
        raise ModelError(
            f"{found.name} is a reward model: it gives answers a number and writes none",
            f"Name a model that was trained to answer, or its base: {found.base.name}",
        )
    return found


def _looks_like_base(reference: str) -> bool:
    return (
        reference in BUNDLED
        or "/" in reference
        or reference.startswith((".", "~", "modelscope:"))
        or Path(reference).is_dir()
    )


def _tuned(store: Store, model: Model, listen: Listener = ignore) -> Resolved:
    base = resolve_base(model.base, store.settings, listen)
    if base.digest != model.base_digest:
        raise _other_base(model.name, model.base, model.base_digest, base.digest)
    folders = tuple(store.folder(Model, id) for id in (*model.folded, model.id))
    return Resolved(model.name, base, folders, model.renderer_hash, model)


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
    folders = (*(store.folder(Model, id) for id in run.folded), checkpoint / "adapter")
    return Resolved(f"{run.id}@{step}", base, folders, known.get("renderer"))


def _other_base(name: str, base: str, then: str, now: str) -> ModelError:
    return ModelError(
        f"{name} was tuned on another version of base {base!r} ({then[:12]}, now {now[:12]})",
        "Restore the base's files or tune again.",
    )
