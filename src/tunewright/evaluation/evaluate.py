"""The evaluation stage: locked test questions → answers, comparison, gates, report."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tunewright import __version__
from tunewright.config.evaluation import EvaluateConfig
from tunewright.core.dataset_io import read_rows
from tunewright.core.errors import ConfigError, DataError
from tunewright.core.events import Event, Listener, ignore
from tunewright.core.files import sha256_file, write_json_atomic, write_text_atomic
from tunewright.core.messages import Split
from tunewright.core.records import Dataset, Evaluation, Model
from tunewright.core.row_kinds import AS_CONVERSATIONS, HOLDS
from tunewright.core.store import Store
from tunewright.evaluation import report as reports
from tunewright.evaluation.asked import Asked
from tunewright.evaluation.asking import (
    Overlap,
    Questioning,
    dataset_questions,
    met_questions,
    sets_of,
)
from tunewright.evaluation.benchmarks.asked import benchmarks_for, write_answers
from tunewright.evaluation.benchmarks.scores import scores_json
from tunewright.evaluation.beside import read_beside
from tunewright.evaluation.card import card
from tunewright.evaluation.checkpoints import Choice, choosing, decide_checkpoint, short_list
from tunewright.evaluation.classes import Classes, all_classes, classes_json
from tunewright.evaluation.gates.base import Evidence, Gate
from tunewright.evaluation.gates.table import gates_json, judge, verdict_of
from tunewright.evaluation.judgements import judgements
from tunewright.evaluation.lineage import curve_of, origin_of
from tunewright.evaluation.responders.local import Local
from tunewright.evaluation.responders.table import open_responders
from tunewright.evaluation.results import Results
from tunewright.evaluation.texts import Texts

OUTPUTS = "outputs.jsonl"
GENERAL_OUTPUTS = "general.jsonl"
SEEN_OUTPUTS = "seen.jsonl"
SAFETY_OUTPUTS = "safety.jsonl"
BENCHMARK_OUTPUTS = "benchmarks.jsonl"
JUDGEMENTS = "judgements.jsonl"
REPORT = "report.html"
SUMMARY = "report.json"
CARD = "card.md"


def evaluate(
    config: EvaluateConfig,
    store: Store,
    listen: Listener = ignore,
    overlap: Overlap | None = None,
) -> Evaluation:
    """Ask every responder the dataset's test questions and compare it with the first one.

    Answers are kept as they come: a stopped evaluation goes on where it was, and another one with
    one more model asks only that model. With ``config.checkpoints`` the run's checkpoints are
    asked the dev questions, and the best of them becomes the run's newest model.

    Emits ``progress`` events while it asks and ``done`` with the record.

    Args:
        config: what to ask whom.
        store: holds dataset and models; gets the evaluation.
        listen: hears the events.
        overlap: finds test questions in training questions; without it nobody looks.

    Raises:
        ConfigError: a responder is named twice, or cannot be read; a scorer lacks something.
        NotFoundError, ModelError: the dataset or a responder is unknown or cannot be used.
        DataError: the dataset holds no test questions, or no conversations at all.
        EndpointError: an endpoint stopped answering; what it answered is kept.
    """
    choice = short_list(store, config.checkpoints) if config.checkpoints else None
    asked, config = config, choosing(config, choice) if choice else config
    _refuse_twins(config.models)
    dataset = store.get(Dataset, config.dataset)
    _refuse_other_rows(dataset)
    questioning = _questioning(config, store, dataset, "dev" if choice else "test", listen)
    beside = read_beside(config.beside, store)
    results = questioning.results()
    texts = Texts(store.settings.language)
    gates, promoted = _judged(questioning, results, choice, overlap, texts)
    record = _record(asked, questioning, results, gates, promoted)
    with store.stage(Evaluation, record.id) as folder:
        _write_all(folder, results)
        origins = questioning.origins
        report = reports.Report(
            record,
            results,
            gates,
            dataset,
            origins,
            [(o, c) for o in origins if o.run and (c := curve_of(store, o.run)) is not None],
            sha256_file(folder / OUTPUTS),
            beside,
            all_classes(dataset.labels, results),
            questioning.sets.tiers,
        )
        write_text_atomic(folder / REPORT, reports.render(report, texts))
        write_json_atomic(folder / SUMMARY, reports.summary(report))
        write_text_atomic(folder / CARD, card(report, texts))
    store.add(record)
    listen(Event(kind="done", data=record.model_dump(mode="json")))
    return record


def read_outputs(folder: Path) -> list[dict[str, Any]]:
    """One dictionary per responder and test row, as written in ``outputs.jsonl``.

    Keys: responder, row, slice, group, question, reference, answer, finish_reason, scores, and
    probability where answers were held to labels.
    """
    with open(folder / OUTPUTS, encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def _refuse_other_rows(dataset: Dataset) -> None:
    if dataset.content != "conversation":
        raise DataError(
            f"dataset {dataset.name} holds {HOLDS[dataset.content]}; evaluate asks the questions "
            "of conversations and compares the answers",
            AS_CONVERSATIONS[dataset.content],
        )


def _refuse_twins(models: Sequence[str]) -> None:
    for name in models:
        if models.count(name) > 1:
            raise ConfigError(
                f"option 'models': {name!r} is named twice", "Name every model once, base first."
            )


def _questioning(
    config: EvaluateConfig, store: Store, dataset: Dataset, split: Split, listen: Listener
) -> Questioning:
    """Everything that is asked and everybody who is; nothing is loaded or asked yet."""
    responders, weights = open_responders(config, store, dataset, listen)
    calls = all(isinstance(one, Local) and one.calls for one in responders)
    test = dataset_questions(store, dataset, split, config.limit, listen, calls)
    origins = [origin_of(store, responder) for responder in responders]
    train = read_rows(store.folder(Dataset, dataset.id), "train")
    sets = replace(
        sets_of(config, test, train, dataset, responders[0]),
        benchmarks=benchmarks_for(config.benchmarks, responders, config.max_new_tokens),
    )
    return Questioning(config, store, dataset, responders, origins, weights, sets, listen)


def _judged(
    questioning: Questioning,
    results: Results,
    choice: Choice | None,
    overlap: Overlap | None,
    texts: Texts,
) -> tuple[list[Gate], Model | None]:
    if choice is not None:
        gate, model = decide_checkpoint(questioning.store, choice, results, texts)
        return [gate], model
    dataset, test = questioning.dataset, questioning.sets.test
    met = met_questions(questioning.store, questioning.origins, test, overlap) if overlap else {}
    held = bool(dataset.labels) and questioning.config.constrained
    # What was tuned is to be judged; a base with examples or another base is there to be compared.
    tuned = [origin.reference for origin in questioning.origins[1:] if origin.run is not None]
    recipes = {one.reference: one.run.config for one in questioning.origins if one.run is not None}
    more = Evidence(questioning.sets.tiers, met, held, tuned, recipes)
    return judge(results, dataset, texts, more), None


def _record(
    asked: EvaluateConfig,
    questioning: Questioning,
    results: Results,
    gates: Sequence[Gate],
    promoted: Model | None,
) -> Evaluation:
    config, dataset = questioning.config, questioning.dataset
    classes: Mapping[str, Classes] = all_classes(dataset.labels, results)
    models = [origin.model for origin in questioning.origins]
    baseline = models[0]
    return Evaluation(
        id=Store.new_id(Evaluation),
        version=__version__,
        dataset=dataset.id,
        models=config.models,
        config=asked.json_dict(),
        scores=results.scores(),
        deltas=results.field_of("delta"),
        intervals=results.field_of("interval"),
        general=results.general_shares(),
        gates=gates_json(gates),
        classes=classes_json(classes),
        benchmarks=scores_json(results.benchmarks),
        verdict=verdict_of(gates),
        report=REPORT,
        model_ids=tuple(dict.fromkeys(m.id for m in (*models, promoted) if m is not None)),
        baseline_id=None if baseline is None else baseline.id,
    )


def _write_all(folder: Path, results: Results) -> None:
    _write_outputs(folder / OUTPUTS, results.test)
    _write_outputs(folder / SEEN_OUTPUTS, results.seen)
    if results.general is not None:
        _write_outputs(folder / GENERAL_OUTPUTS, results.general)
    if results.safety is not None:
        _write_outputs(folder / SAFETY_OUTPUTS, results.safety)
    if results.benchmarks:
        write_answers(folder / BENCHMARK_OUTPUTS, results.benchmarks)
    if results.panel is not None:
        with open(folder / JUDGEMENTS, "w", encoding="utf-8", newline="\n") as file:
            file.writelines(
                json.dumps(one, ensure_ascii=False) + "\n" for one in judgements(results)
            )


def _write_outputs(path: Path, asked: Asked) -> None:
    """One JSON object per responder and question."""
    with open(path, "w", encoding="utf-8", newline="\n") as file:
        for responder, answers in asked.answers.items():
            for question, answer in zip(asked.questions, answers, strict=True):
                line: dict[str, Any] = {
                    "responder": responder,
                    "row": question.id,
                    "slice": question.slice,
                    "group": question.group,
                    "question": question.prompt.question,
                    "reference": question.reference,
                    "answer": answer.text,
                    "finish_reason": answer.finish_reason,
                    "scores": answer.scores,
                }
                if answer.probability is not None:
                    line["probability"] = answer.probability
                file.write(json.dumps(line, ensure_ascii=False) + "\n")
