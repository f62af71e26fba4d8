"""A job's files through the data gate: a dataset, or which row is wrong."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tunewright.config.base import merge
from tunewright.config.data import PrepareConfig
from tunewright.core.errors import DataError
from tunewright.core.events import Event
from tunewright.core.messages import RowKind
from tunewright.core.records import Dataset, File, FineTuningJob, Model
from tunewright.core.row_kinds import HOLDS
from tunewright.core.store import Store
from tunewright.data.collect import collect
from tunewright.data.inputs import display_names
from tunewright.data.prepare import prepare
from tunewright.data.records import Dropped
from tunewright.jobs.filestore import content_path, find_file
from tunewright.jobs.journal import Note
from tunewright.jobs.work import TRAINING, Close, Refused, Work

FEWEST = 10
"""Examples that a training file must hold."""
AS_THEY_ARE: Mapping[str, str] = {
    **dict.fromkeys(("html", "garbled", "trivial", "personal", "secrets", "control"), "keep"),
    **dict.fromkeys(("affixes", "case", "duplicates", "near_duplicates"), "keep"),
    **{"contradictions": "all", "boilerplate": "keep", "leakage": "keep"},
}
"""Actions that leave every row as it was uploaded: who uploads to an API has chosen the rows."""
_TOO_LONG = "longer than the context"
_KINDS: Mapping[str, RowKind] = {
    "sft": "conversation",
    "dpo": "preference",
    "orpo": "preference",
    "simpo": "preference",
    "reward": "preference",
    "kto": "rating",
    "pretrain": "text",
}
"""What the rows of a method's file must be; of other methods conversations."""
_OVERLAP = (
    "{} training example(s) ask what the validation file asks, too: the validation loss says little"
)
_SIDES = (("training_file", "Training"), ("validation_file", "Validation"))
_REWARDED = (
    " Rows to be graded end with an assistant's message that holds the reference answer;"
    " graders see it as item.reference_answer."
)


def validate(work: Work) -> Close:
    """Make the job's dataset and hand the job on to training.

    Raises:
        Refused: a file cannot be trained on.
        Interrupted: when asked to stop.
    """
    job = work.record
    for file_id in filter(None, (job.training_file, job.validation_file)):
        side = "training" if file_id == job.training_file else "validation"
        work.heart.tell(Note(f"Validating {side} file: {file_id}"))
    dataset, warnings = _dataset(work)
    for text in warnings:
        work.heart.tell(Note(text, "warn"))
    work.heart.tell(Note("Files validated, moving job to queued state"))
    work.note(dataset=dataset.id)

    def close() -> None:
        work.queue.hand_on(work.lease, TRAINING)

    return close


def _dataset(work: Work) -> tuple[Dataset, list[str]]:
    """The dataset, and what its owner should know; of files that are not valid none is made."""
    job, store = work.record, work.store

    def listen(event: Event) -> None:
        work.stop_if_asked()

    with _named_paths(work) as paths:
        config = _config(job, store, paths)
        with _told_of(config, job):
            found = collect(config, listen)
            _refuse_wrong_rows(config, job, found.dropped)
            _refuse_few(job, {"train": len(found.train), "dev": len(found.test)})
            _refuse_other_kind(job, found.train[0].kind)
            del found
            dataset = prepare(config, store, listen)
    # Rows that do not fit the base are told by rendering them.
    _refuse_few(job, dataset.splits, dataset.rows["dropped"].get(_TOO_LONG, 0))
    report = json.loads((store.folder(Dataset, dataset.id) / "report.json").read_bytes())
    return dataset, _warnings(dataset, report)


@contextmanager
def _told_of(config: PrepareConfig, job: FineTuningJob) -> Iterator[None]:
    """A file that cannot be read at all, by the name that its owner knows."""
    try:
        yield
    except DataError as error:
        message, names = error.message, _names(config)
        for file, name in names.items():
            message = message.replace(file, name)
        second = any(message.startswith(names[file]) for file in config.test_files)
        param, side = _SIDES[1 if second else 0]
        problem = f"{side} file {getattr(job, param)} is not valid. {message}"
        raise Refused(f"invalid_{param}", problem, param) from error


@contextmanager
def _named_paths(work: Work) -> Iterator[list[Path]]:
    """The files under the names that their owner knows, the training file first."""
    job, store = work.record, work.store
    parent = store.folder(FineTuningJob, job.id)
    parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix="files-", dir=parent) as folder:
        paths = []
        for param, side in _SIDES:
            file_id = getattr(job, param)
            if file_id is None:
                continue
            file = find_file(store, file_id, job.project or "")
            if file is None:
                raise Refused(f"invalid_{param}", f"{side} file {file_id} is gone.", param)
            path = Path(folder) / side.lower() / _with_ending(file)
            path.parent.mkdir()
            os.link(content_path(store, file), path)
            paths.append(path)
        yield paths


def _with_ending(file: File) -> str:
    """A name without an ending is taken for JSONL, which is what such files hold."""
    return file.name if Path(file.name).suffix else f"{file.name}.jsonl"


def _config(job: FineTuningJob, store: Store, paths: Sequence[Path]) -> PrepareConfig:
    model = store.by_id(Model, job.start)
    values: dict[str, Any] = {
        "files": (str(paths[0]),),
        "test_files": tuple(map(str, paths[1:])),
        "base": model.base if model else job.start,
        "checks": merge(dict(AS_THEY_ARE), job.checks),
        "split": {"dev": 0.0, "test": 0.0, "named": "dev"},
    }
    return PrepareConfig.build(values)


def _names(config: PrepareConfig) -> dict[str, str]:
    """Path → what rows and messages call the file."""
    return display_names((*config.files, *config.test_files))


def _refuse_wrong_rows(
    config: PrepareConfig, job: FineTuningJob, dropped: Sequence[Dropped]
) -> None:
    """A row that cannot be learnt fails the job: its owner meant it to be learnt."""
    names = _names(config)
    for (param, side), files in zip(_SIDES, (config.files, config.test_files), strict=True):
        known = {names[file] for file in files}
        wrong = [row for row in dropped if row.file in known]
        if wrong:
            named = "; ".join(f"row {row.row}: {row.reason}{_excerpt(row)}" for row in wrong[:3])
            more = f"; and {len(wrong) - 3} more rows" if len(wrong) > 3 else ""
            hint = _REWARDED if job.method == "reinforcement" else ""
            message = f"{side} file {getattr(job, param)} is not valid. {named}{more}.{hint}"
            raise Refused(f"invalid_{param}", message, param)


def _excerpt(row: Dropped) -> str:
    return f" ({row.text[:120]})" if row.text else ""


def _refuse_few(job: FineTuningJob, found: Mapping[str, int], long: int = 0) -> None:
    for (param, side), split, fewest in zip(_SIDES, ("train", "dev"), (FEWEST, 1), strict=True):
        if getattr(job, param) is not None and found[split] < fewest:
            beside = f" {long} more are longer than the base's context." if long else ""
            raise Refused(
                "invalid_n_examples",
                f"{side} file has {found[split]} example(s), but must have at least {fewest}"
                f" example{'s' if fewest > 1 else ''}.{beside}",
                param,
            )


def _refuse_other_kind(job: FineTuningJob, found: RowKind) -> None:
    method = job.recipe["method"]
    wanted = _KINDS.get(method, "conversation")
    if found != wanted:
        raise Refused(
            "invalid_training_file",
            f"Training file {job.training_file} holds {HOLDS[found]}; method {job.method}"
            f" ({method}) learns from {HOLDS[wanted]}.",
            "training_file",
        )


def _warnings(dataset: Dataset, report: Mapping[str, Any]) -> list[str]:
    """What the data gate found, in sentences; and rows that are left out."""
    found = [finding for finding in report["findings"] if finding["level"] != "info"]
    lines = [
        _OVERLAP.format(finding["rows"])
        if finding["check"] == "leakage"
        else f"{finding['title']['en']}: {finding['says']['en']}"
        for finding in found
    ]
    long = dataset.rows["dropped"].get(_TOO_LONG, 0)
    if long:
        lines.append(f"{long} example(s) are longer than the base's context and are left out")
    return lines
