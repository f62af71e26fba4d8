"""Exports in the store: what was made, of what, where it is, and whether it is still there.

A record appears once its folder is whole; an export that is interrupted leaves none.
"""

from __future__ import annotations

import shutil
import time
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tunewright import __version__
from tunewright.core.errors import InputError, NotFoundError
from tunewright.core.files import disk_errors, fsync_folder, sha256_file
from tunewright.core.queue import Queue
from tunewright.core.records import Export, Run
from tunewright.core.store import Store
from tunewright.evaluation.verdicts import newest_evaluation

if TYPE_CHECKING:
    from tunewright.config.export import ExportConfig
    from tunewright.export.formats import Exported
    from tunewright.model.references import Resolved

CARD = "README.md"
"""The model card in an export's folder."""
Whereabouts = Literal["there", "gone", "changed"]


def note_export(
    store: Store, made: Exported, found: Resolved, config: ExportConfig, record_id: str | None
) -> Export:
    """Put an export into the store; records of what lay in its place before are dropped.

    Args:
        store: where it belongs.
        made: the export.
        found: what it was made from.
        config: how.
        record_id: of the record that was made when it was asked for, if it was.
    """
    model = found.model
    record = Export(
        id=record_id or Store.new_id(Export),
        model=found.name,
        model_id=model.id if model else None,
        format=made.format,
        path=str(made.folder),
        bytes=made.bytes,
        state="succeeded" if made.passed else "failed",
        error=None if made.passed else "it does not answer as its model does",
        parity=None if made.parity is None else _summary(made.parity),
        settings=config.json_dict(),
        manifest=_manifest(store, made, found),
        card_sha256=sha256_file(made.folder / CARD),
        finished=time.time(),
    )
    with store.transaction():
        for other in store.list(Export):
            if other.path == record.path and other.id != record.id:
                store.delete(Export, other.id)
        asked = store.by_id(Export, record.id)
        if asked is None:
            store.add(record)
        else:
            kept = {"created": asked.created, "version": asked.version, "project": asked.project}
            store.update(record.model_copy(update=kept))
    return record


def standing(store: Store, record: Export) -> tuple[str, str | None]:
    """``(state, error)``: queued, running, succeeded or failed, and why it failed."""
    if record.state != "queued":
        return record.state, record.error
    try:
        entry = Queue(store).get(record.id)
    except NotFoundError:
        return "queued", None
    if entry.state in ("queued", "running"):
        return entry.state, None
    return "failed", str((entry.error or {}).get("message", "it was given up"))


def whereabouts(record: Export) -> Whereabouts:
    """Whether an export's folder is where it was put, and still is this export's."""
    card = Path(record.path) / CARD
    if not card.is_file():
        return "gone"
    return "there" if sha256_file(card) == record.card_sha256 else "changed"


def delete_export(store: Store, record: Export) -> None:
    """Forget an export and remove its folder; one that is being made is broken off.

    Raises:
        InputError: something else lies there by now; nothing is removed.
        StorageError: the disk refuses; the record stays.
    """
    where = whereabouts(record)
    folder = Path(record.path)
    if where == "changed":
        raise InputError(
            f"{folder} is another than export {record.id} was: its {CARD} has changed",
            "Move it away; the record can be deleted then.",
        )
    if where == "there":
        with disk_errors(folder):
            # Out of its name first: whoever looks sees a whole folder or none.
            doomed = folder.with_name(f".{folder.name}.deleted")
            shutil.rmtree(doomed, ignore_errors=True)
            folder.rename(doomed)
            fsync_folder(folder.parent)
            shutil.rmtree(doomed)
    with store.transaction():
        Queue(store).forget(record.id)
        store.delete(Export, record.id)


def _manifest(store: Store, made: Exported, found: Resolved) -> dict[str, Any]:
    model = found.model
    run = store.by_id(Run, model.run) if model else None
    evaluation = newest_evaluation(store, model) if model else None
    return {
        "base": found.base.name,
        "base_digest": found.base.digest,
        "renderer_hash": found.renderer_hash,
        "run": run.id if run else None,
        "dataset": run.dataset if run else None,
        "evaluation": evaluation.id if evaluation else None,
        "precision": made.plan.precision,
        "tunewright": __version__,
        **{package: version(package) for package in ("torch", "transformers", "safetensors")},
    }


def _summary(parity: dict[str, Any]) -> dict[str, Any]:
    """The figures of ``parity.json`` that tell an export from another."""
    answers, tokens = parity["answers"], parity["tokens"]
    return {
        "passed": parity["passed"],
        "failures": parity["failures"],
        "prompts": parity["prompts"],
        "largest_logit_difference": parity["logits"]["largest_difference"],
        "mean_divergence": parity["logits"]["mean_divergence"],
        "token_agreement": tokens["agreement"],
        "asked": answers["asked"],
        "identical": answers["identical"],
        "same_ending": answers["same_ending"],
        "first_difference": parity.get("first_difference"),
    }
