"""The frozen records that stages return; each names its parents, so lineage is in the store."""

from __future__ import annotations

import time
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from tunewright.core.messages import RowKind
from tunewright.core.scopes import ANY_MODEL


class Record(BaseModel):
    """What all records share. ``id`` is ``<prefix>_<12 hex digits>``.

    Of ``timed`` kinds it is prefix, ``joint`` and 24 digits that begin with the time: their lists
    are in the order of ids, so that a cursor means the same when what it names is gone.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: ClassVar[str]
    prefix: ClassVar[str]
    folder: ClassVar[str]
    joint: ClassVar[str] = "_"
    timed: ClassVar[bool] = False

    id: str
    created: float = Field(default_factory=time.time)
    version: str = ""
    project: str | None = None
    """Whom it belongs to; None for what was made on this machine's command line."""

    def parents(self) -> tuple[str, ...]:
        """Ids of the records that this one was made from."""
        return ()


class Dataset(Record):
    """Immutable, content-addressed rows; the folder holds ``<split>.jsonl`` and the report."""

    kind: ClassVar[str] = "dataset"
    prefix: ClassVar[str] = "ds"
    folder: ClassVar[str] = "datasets"

    name: str
    files: tuple[str, ...]
    digest: str
    config: dict[str, Any]
    content: RowKind = "conversation"
    """What its rows are; decides which methods can learn from it."""
    rows: dict[str, Any]
    """``{read, kept, merged, dropped: {reason: n}, changed, truncated}``;
    read = kept + merged + sum(dropped). A long text row is stored as several."""
    splits: dict[str, int]
    """Rows per split; general rows mixed into train are counted in ``mixed``."""
    mixed: int = 0
    base: str
    tokens: dict[str, Any]
    """Token-length summary under ``base``: ``{p5, p50, p95, max, total, supervised,
    measured}``; rows beyond the measured ones count with estimates."""
    labels: tuple[str, ...] = ()
    """The classes, where every row is a text with its class; answers are one of them."""


RunState = Literal["running", "succeeded", "failed", "stopped"]


class Run(Record):
    """One training run; the folder holds ``events.jsonl``, ``config.json``, ``checkpoints/``."""

    kind: ClassVar[str] = "run"
    prefix: ClassVar[str] = "run"
    folder: ClassVar[str] = "runs"

    dataset: str
    base: str
    config: dict[str, Any]
    start: str | None = None
    """Id of the tuned model that it started from."""
    folded: tuple[str, ...] = ()
    """Ids of the tuned models that became part of the base first, oldest first."""
    state: RunState
    summary: dict[str, Any] = Field(default_factory=dict)
    """Once ended: steps, trained_tokens, tokens_per_second, first_step_seconds,
    peak_memory_bytes, train_loss, valid_loss, best_checkpoint."""
    error: str | None = None

    def parents(self) -> tuple[str, ...]:
        return (self.dataset, *([self.start] if self.start else []))


class Model(Record):
    """A base with what was trained; the folder holds an adapter or changed weights."""

    kind: ClassVar[str] = "model"
    prefix: ClassVar[str] = "mdl"
    folder: ClassVar[str] = "models"

    name: str
    """What clients ask for, e.g. ``ft:nano:acme:legal:3f9c2a``."""
    base: str
    base_digest: str
    renderer_hash: str
    run: str
    """Id of the run; empty for an adapter that was trained elsewhere and taken over."""
    step: int
    parent: str | None = None
    """Id of the tuned model that its training started from."""
    folded: tuple[str, ...] = ()
    """Ids of the tuned models below it that are part of its base, oldest first; a parent whose
    own adapter went on being trained is not among them."""
    method: str | None = None
    """How it was trained; None for models of versions that did not note it."""
    labels: tuple[str, ...] = ()
    """The classes of the dataset that it learnt, where that has some."""

    def parents(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(filter(None, (self.run, self.parent, *self.folded))))


Verdict = Literal["pass", "fail", "not enough evidence"]


class Evaluation(Record):
    """Scored, paired outputs on one locked test set; the folder holds outputs and the report."""

    kind: ClassVar[str] = "evaluation"
    prefix: ClassVar[str] = "ev"
    folder: ClassVar[str] = "evaluations"

    dataset: str
    models: tuple[str, ...]
    """Responders as asked for; the first is what the others are compared with."""
    config: dict[str, Any]
    scores: dict[str, Any]
    """``{responder: {metric: {slice or "all": mean in 0..1}}}``."""
    deltas: dict[str, Any]
    """``{responder: {metric: {slice or "all": difference from the first responder}}}``."""
    intervals: dict[str, Any]
    """As ``deltas``, each value ``[low, high]`` of the paired 95 % interval."""
    general: dict[str, float]
    """``{responder: share of the general probe answered right}``, empty when not asked for."""
    gates: dict[str, Any]
    """``{gate: {passed: bool or None, evidence: str, prescription: str}}``."""
    classes: dict[str, Any] = Field(default_factory=dict)
    """Of a dataset with labels: ``{labels: [...], responders: {name: {accuracy, macro_f1,
    by_label: {label: {precision, recall, f1, rows}}, matrix: [[...]]}}}``, see ``evaluation``."""
    benchmarks: dict[str, Any] = Field(default_factory=dict)
    """``{benchmark: {title, split, by, shots, responders: {name: {accuracy, interval, categories,
    subjects, …}}, against: {name: {delta, interval, p, p_holm, …}}}}``, where any was asked."""
    verdict: Verdict
    report: str
    """Path of the HTML report, relative to the record's folder."""
    model_ids: tuple[str, ...] = ()
    baseline_id: str | None = None
    """Of the tuned model that the others are compared with, if it is one."""

    def parents(self) -> tuple[str, ...]:
        return (self.dataset, *self.model_ids)


class File(Record):
    """A file that a client uploaded, or that a job made; the folder holds ``content``."""

    kind: ClassVar[str] = "file"
    prefix: ClassVar[str] = "file"
    folder: ClassVar[str] = "files"
    joint: ClassVar[str] = "-"
    timed: ClassVar[bool] = True

    name: str
    """As the client called it; no path."""
    purpose: str
    bytes: int
    sha256: str
    expires: float | None = None
    """Unix time from which on it is gone, or None."""


UploadState = Literal["pending", "completed", "cancelled"]


class Upload(Record):
    """A large file on its way in parts; the folder holds ``<part id>`` files until it is whole."""

    kind: ClassVar[str] = "upload"
    prefix: ClassVar[str] = "upload"
    folder: ClassVar[str] = "uploads"
    timed: ClassVar[bool] = True

    name: str
    purpose: str
    bytes: int
    expires: float
    file_seconds: int | None = None
    """How long the file is to live once it is whole, or None."""
    state: UploadState = "pending"
    file: str | None = None
    """Id of the file, once whole."""


class FineTuningJob(Record):
    """A request for a tuned model by OpenAI's API; where it stands is in the queue.

    Its worker alone changes it; the folder holds the worker's log.
    """

    kind: ClassVar[str] = "job"
    prefix: ClassVar[str] = "ftjob"
    folder: ClassVar[str] = "jobs"
    joint: ClassVar[str] = "-"
    timed: ClassVar[bool] = True

    model: str
    """The public name to start from, as asked for."""
    start: str
    """What that name stood for: a base as ``resolve_base`` knows it, or a model's id."""
    training_file: str
    validation_file: str | None = None
    method: str
    """As OpenAI calls it: supervised, dpo or reinforcement."""
    hyperparameters: dict[str, Any]
    """As asked for, ``auto`` where the run chooses; once it began, what it chose."""
    suffix: str | None = None
    seed: int
    metadata: dict[str, str] | None = None
    recipe: dict[str, Any]
    """Options of the run but its dataset, as they were given."""
    checks: dict[str, Any]
    """What the data gate is to do about what it finds."""
    options: dict[str, Any] | None = None
    """Our own options, as asked for."""
    dataset: str | None = None
    run: str | None = None
    fine_tuned_model: str | None = None
    trained_tokens: int | None = None
    result_files: tuple[str, ...] = ()
    estimated_finish: float | None = None


class CheckpointPermission(Record):
    """Leave for another project to use a model or checkpoint."""

    kind: ClassVar[str] = "checkpoint permission"
    prefix: ClassVar[str] = "cp"
    folder: ClassVar[str] = "permissions"
    timed: ClassVar[bool] = True

    checkpoint: str
    """Public name of the model or checkpoint."""
    grantee: str
    """The project that may use it."""


class ApiKey(Record):
    """Leave to use the server; the secret is nowhere, its hash in a table of its own."""

    kind: ClassVar[str] = "key"
    prefix: ClassVar[str] = "key"
    folder: ClassVar[str] = "keys"

    name: str
    shown: str
    """How the secret begins, for telling keys apart."""
    scopes: tuple[str, ...]
    """What it opens, see ``core.api_keys.SCOPES``."""
    limits: dict[str, int]
    """Its own limits by the names of ``LimitsConfig``; the server's hold for the rest."""
    models: tuple[str, ...] = (ANY_MODEL,)
    """Which it may ask, as ``core.scopes.names_one_of`` understands them."""
    expires: float | None = None
    revoked: float | None = None
    """Unix time since when it opens nothing, or None."""


class Deployment(Record):
    """A public name and what answers under it, as its latest revision says.

    Every revision is kept in a table of its own, see ``core.deployments``.
    """

    kind: ClassVar[str] = "deployment"
    prefix: ClassVar[str] = "dep"
    folder: ClassVar[str] = "deployments"

    name: str
    """What clients ask for."""
    settings: dict[str, Any]
    """As ``DeployConfig`` holds them; tuned models go by their ids."""
    evidence: dict[str, dict[str, str | None]] = Field(default_factory=dict)
    """``{id of a tuned model: {evaluation: id, override: reason}}``: why it may be served."""
    parity: dict[str, dict[str, str]] = Field(default_factory=dict)
    """``{id of a tuned model: {comparison: id, state: passed, failed or not_compared, reason}}``:
    whether it is served as it was trained, as far as that is known."""
    on: bool = True
    """Whether it answers."""
    off_by: Literal["person", "health"] | None = None
    """Who switched it off; what the health rule did, it undoes."""
    revision: int = 1
    change: str
    """What this revision changed: created, changed, on, off, promoted, rolled back, …"""
    by: str
    """Who: ``cli:<user>``, ``key:<id>``, or the rule."""
    reason: str | None = None
    changed: float = Field(default_factory=time.time)
    """Unix time of this revision."""

    def parents(self) -> tuple[str, ...]:
        known = (entry.get("evaluation") for entry in self.evidence.values())
        return tuple(dict.fromkeys((*self.evidence, *(one for one in known if one))))


class Export(Record):
    """A model as files for other programs.

    The record appears once the folder is whole, or when a client of the API asks for it; it then
    waits in the queue. The folder is where ``path`` says.
    """

    kind: ClassVar[str] = "export"
    prefix: ClassVar[str] = "exp"
    folder: ClassVar[str] = "exports"
    timed: ClassVar[bool] = True

    model: str
    """The model's name."""
    model_id: str | None = None
    """Of a tuned model."""
    format: str
    path: str
    bytes: int = 0
    """Of all its files."""
    state: Literal["queued", "succeeded", "failed"]
    error: str | None = None
    """Why it failed: it could not be made, or does not answer as its model does."""
    parity: dict[str, Any] | None = None
    """``{passed, failures, prompts, largest_logit_difference, mean_divergence, token_agreement,
    asked, identical, same_ending, first_difference}``; None where it was not compared."""
    settings: dict[str, Any]
    manifest: dict[str, Any] = Field(default_factory=dict)
    """``{base, base_digest, renderer_hash, run, dataset, evaluation, precision}`` and versions."""
    card_sha256: str = ""
    """Of the model card in its folder, by which it is known again."""
    finished: float | None = None

    def parents(self) -> tuple[str, ...]:
        return (self.model_id,) if self.model_id else ()


class Comparison(Record):
    """A tuned model as servers answer with it, beside the model as it was trained.

    Until it has an outcome, where it stands is in the queue.
    """

    kind: ClassVar[str] = "comparison"
    prefix: ClassVar[str] = "cmp"
    folder: ClassVar[str] = "comparisons"

    model: str
    """Id of the tuned model; no parent of this record, which must not keep it from going."""
    served: dict[str, Any]
    """How: ``{tunewright, torch, transformers, device, precision, kv_tokens, base, renderer,
    server}``."""
    outcome: Literal["passed", "failed", "not_compared"] | None = None
    reason: str = ""
    """The outcome in words."""
    report: dict[str, Any] = Field(default_factory=dict)
    """What ``tunewright parity --json`` tells."""
    finished: float | None = None


RECORDS: tuple[type[Record], ...] = (
    *(Dataset, Run, Model, Evaluation),
    *(File, Upload, FineTuningJob, CheckpointPermission),
    *(ApiKey, Deployment, Comparison, Export),
)
