"""Exports as our own routes tell of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from tunewright.api.objects import Exact
from tunewright.core.records import Export
from tunewright.core.store import Store
from tunewright.deployment.catalog import public_base_name
from tunewright.export.record import standing

PLACES = ("model", "output", "overwrite")
"""Settings that a client has no say in, and is not told: where on this machine something is."""


class ExportError(Exact):
    """Why there is no export, or why it is not to be used."""

    message: str


class ExportObject(Exact):
    """A model as files for other programs."""

    id: str
    object: Literal["export"]
    created_at: int
    finished_at: int | None
    model: str
    format: str
    status: Literal["queued", "running", "succeeded", "failed"]
    error: ExportError | None
    bytes: int
    """Of all its files."""
    folder: str
    """Its name among the server's exports."""
    parity: dict[str, Any] | None
    """The figures of its comparison with the model; null where it was not compared."""
    settings: dict[str, Any]
    """By the names of the options of `tunewright export`."""
    manifest: dict[str, Any]
    """What it was made of: base, run, dataset, evaluation, and versions."""


class ExportDeleted(Exact):
    """An export that is not there any more."""

    id: str
    object: Literal["export"]
    deleted: Literal[True]


def export_object(store: Store, record: Export) -> dict[str, Any]:
    """An ``ExportObject``."""
    state, error = standing(store, record)
    base = record.manifest.get("base")
    manifest = {**record.manifest, **({"base": public_base_name(base)} if base else {})}
    return {
        "id": record.id,
        "object": "export",
        "created_at": int(record.created),
        "finished_at": None if record.finished is None else int(record.finished),
        "model": record.model,
        "format": record.format,
        "status": state,
        "error": None if error is None else {"message": error},
        "bytes": record.bytes,
        "folder": Path(record.path).name,
        "parity": record.parity,
        "settings": {k: v for k, v in record.settings.items() if k not in PLACES},
        "manifest": manifest,
    }
