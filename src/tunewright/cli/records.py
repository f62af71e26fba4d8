"""``datasets``, ``models``, ``evaluations``, ``exports``, …: list, show, delete."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from tunewright.cli.display import Terminal
from tunewright.cli.options import Common, common_options
from tunewright.cli.tables import listing
from tunewright.cli.units import size
from tunewright.core.errors import ConfigError
from tunewright.core.queue import Queue
from tunewright.core.records import (
    Dataset,
    Evaluation,
    Export,
    File,
    FineTuningJob,
    Model,
    Record,
    Run,
)
from tunewright.core.store import Store
from tunewright.export.record import delete_export as remove_export
from tunewright.export.record import standing, whereabouts
from tunewright.training.history import run_is_alive

Columns = dict[str, Callable[[Store, Any], str]]
"""Heading → what stands below it for a record of a store."""

_DATASET: Columns = {
    "name": lambda _, r: r.name,
    "kept": lambda _, r: f"{r.rows['kept']}/{r.rows['read']}",
    "train/dev/test": lambda _, r: "/".join(str(n) for n in r.splits.values()),
}
_RUN: Columns = {
    "base": lambda _, r: r.base,
    "dataset": lambda _, r: r.dataset,
    "state": lambda store, r: _run_state(store, r),
    "steps": lambda _, r: str(r.summary.get("steps", "")),
    "validation loss": lambda _, r: _loss(r.summary.get("valid_loss")),
}
_MODEL: Columns = {
    "name": lambda _, r: r.name,
    "base": lambda _, r: r.base,
    "run": lambda _, r: r.run,
    "step": lambda _, r: str(r.step),
}
_EVALUATION: Columns = {
    "models": lambda _, r: " vs ".join(r.models),
    "dataset": lambda _, r: r.dataset,
    "verdict": lambda _, r: r.verdict,
}
_EXPORT: Columns = {
    "model": lambda _, r: r.model,
    "format": lambda _, r: r.format,
    "size": lambda _, r: size(r.bytes),
    "state": lambda store, r: _export_state(store, r),
    "parity": lambda _, r: _export_parity(r),
}
_FILE: Columns = {
    "name": lambda _, r: r.name,
    "purpose": lambda _, r: r.purpose,
    "bytes": lambda _, r: f"{r.bytes:,}",
    "project": lambda _, r: r.project or "",
}
_JOB: Columns = {
    "model": lambda _, r: r.model,
    "method": lambda _, r: r.method,
    "state": lambda store, r: Queue(store).get(r.id).state,
    "tuned model": lambda _, r: r.fine_tuned_model or "",
    "project": lambda _, r: r.project or "",
}


def _export_state(store: Store, record: Export) -> str:
    state, _ = standing(store, record)
    where = whereabouts(record)
    return state if where == "there" or not record.bytes else f"{state}, folder {where}"


def _export_parity(record: Export) -> str:
    if record.parity is None:
        return "not compared"
    return f"{record.parity['identical']}/{record.parity['asked']} identical"


def _loss(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _group(cls: type[Record], columns: Columns, deletes: bool = True) -> click.Group:
    verbs = "List, show or delete" if deletes else "List or show"
    group = click.Group(cls.folder, help=f"{verbs} {cls.folder}.")

    @group.command("list", help=f"All {cls.folder}, newest first.")
    @common_options
    def list_records(common: Common) -> None:
        store = common.store()
        records = store.list(cls)
        table = listing("id", *columns, "created")
        for record in records:
            cells = (read(store, record) for read in columns.values())
            table.add_row(record.id, *cells, _date(record.created))
        console = Console(stderr=True, emoji=False)
        console.print(table if records else f"There are no {cls.folder} yet.")
        common.finish({cls.folder: [record.model_dump(mode="json") for record in records]})

    @group.command("show", help=f"One of the {cls.folder}, by id, name or 'latest'.")
    @click.argument("reference")
    @common_options
    def show(common: Common, reference: str) -> None:
        store = common.store()
        record = store.get(cls, reference)
        facts = {
            **record.model_dump(mode="json"),
            "folder": str(getattr(record, "path", store.folder(cls, record.id))),
            **({"whereabouts": whereabouts(record)} if isinstance(record, Export) else {}),
            "parents": list(record.parents()),
            "children": list(store.children(record.id)),
        }
        common.show(facts)

    if not deletes:
        return group

    @group.command("delete", help=f"Remove one of the {cls.folder} that nothing else needs.")
    @click.argument("reference")
    @common_options
    def delete(common: Common, reference: str) -> None:
        store = common.store()
        record = store.get(cls, reference)
        store.delete(cls, record.id)
        click.echo(f"Deleted {cls.kind} {record.id}.", err=True)
        common.finish({"deleted": record.id})

    return group


def _run_state(store: Store, run: Run) -> str:
    """A killed process leaves its run marked as running; only its lock tells."""
    if run.state != "running" or run_is_alive(store.folder(Run, run.id)):
        return run.state
    return "interrupted (train --resume)"


def _date(created: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(created))


datasets = _group(Dataset, _DATASET)
runs = _group(Run, _RUN)
models = _group(Model, _MODEL)


@models.command("import")
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--base", required=True, metavar="BASE", help="The base that it was trained on.")
@click.option("--name", metavar="NAME", help="Middle part of its name; else the folder's name.")
@common_options
def import_model(common: Common, folder: Path, base: str, name: str | None) -> None:
    """Take over a LoRA adapter in PEFT's format that was trained elsewhere.

    Adapters of ChatGLM3's own code (query_key_value) become adapters of the native classes.
    """
    # The tensors' libraries take seconds to import.
    from tunewright.model.imports import import_adapter

    with Terminal() as terminal:
        record = import_adapter(folder, base, common.store(), name, terminal)
    click.echo(f"Model {record.name}\nNext: tunewright chat {record.name}", err=True)
    common.finish({"model": record.name, "id": record.id, "base": record.base})


evaluations = _group(Evaluation, _EVALUATION)
exports = _group(Export, _EXPORT, deletes=False)
exports.help = "List, show or delete exports."


@exports.command("delete")
@click.argument("reference")
@click.option("--yes", is_flag=True, help="Do not ask.")
@common_options
def delete_export(common: Common, reference: str, yes: bool) -> None:
    """Remove an export with its folder."""
    store = common.store()
    record = store.get(Export, reference)
    there = whereabouts(record) == "there"
    if there and not yes:
        if not sys.stdin.isatty():
            raise ConfigError(f"{record.path} would be removed", "Say so with --yes.")
        click.confirm(f"Remove {record.path} ({size(record.bytes)})?", abort=True, err=True)
    remove_export(store, record)
    click.echo(f"Deleted export {record.id}{'' if there else ', whose folder was gone'}.", err=True)
    common.finish({"deleted": record.id})


files = _group(File, _FILE)
jobs = _group(FineTuningJob, _JOB, deletes=False)
