"""The evaluation stage: locked test questions → answers, comparison, gates, report."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tunewright import __version__
from tunewright.config.evaluation import EvaluateConfig
from tunewright.config.serving import GenerationConfig
from tunewright.core.dataset_io import read_rows
from tunewright.core.errors import ConfigError, DataError
from tunewright.core.events import Event, Listener, ignore
from tunewright.core.files import sha256_file, write_json_atomic, write_text_atomic
from tunewright.core.messages import supervised
from tunewright.core.records import Dataset, Evaluation
from tunewright.core.row_kinds import AS_CONVERSATIONS, HOLDS
from tunewright.core.store import Store
from tunewright.evaluation import report as reports
from tunewright.evaluation.answers import Question, Scored, ask, in_words, limited, question_of
from tunewright.evaluation.beside import read_beside
from tunewright.evaluation.classes import Classes, all_classes, classes_json
from tunewright.evaluation.gates import Gate, gates_json, judge, verdict_of
from tunewright.evaluation.lineage import Origin, curve_of, origin_of
from tunewright.evaluation.probe import probe_path, read_probe
from tunewright.evaluation.results import Asked, Results, gather
from tunewright.evaluation.texts import Texts
from tunewright.model.generation import TextModel, load_many
from tunewright.model.references import Foundation, resolve_responder

OUTPUTS = "outputs.jsonl"
GENERAL_OUTPUTS = "general.jsonl"
SEEN_OUTPUTS = "seen.jsonl"
REPORT = "report.html"
SUMMARY = "report.json"
MOST_SEEN = 64
"""Training rows asked again: enough to see a wide gap, few enough to cost little."""


def evaluate(config: EvaluateConfig, store: Store, listen: Listener = ignore) -> Evaluation:
    """Ask every responder the dataset's test questions and compare it with the first one.

    Emits ``progress`` events while it asks and ``done`` with the record.

    Raises:
        ConfigError: a responder is named twice.
        NotFoundError, ModelError: the dataset or a responder is unknown or cannot be used.
        DataError: the dataset holds no test questions, or no conversations at all.
    """
    _refuse_twins(config.models)
    dataset = store.get(Dataset, config.dataset)
    _refuse_other_rows(dataset)
    test = test_questions(store, dataset, config.limit, listen)
    beside = read_beside(config.beside, store)
    results, origins = _ask_all(config, store, dataset, test, listen)
    texts = Texts(store.settings.language)
    gates = judge(results, dataset, config, texts)
    classes = all_classes(dataset.labels, results)
    record = _record(config, dataset, results, origins, gates, classes)
    with store.stage(Evaluation, record.id) as folder:
        _write_outputs(folder / OUTPUTS, results.test)
        _write_outputs(folder / SEEN_OUTPUTS, results.seen)
        if results.general is not None:
            _write_outputs(folder / GENERAL_OUTPUTS, results.general)
        curves = [(o, c) for o in origins if o.run and (c := curve_of(store, o.run)) is not None]
        report = reports.Report(
            record,
            results,
            gates,
            dataset,
            origins,
            curves,
            sha256_file(folder / OUTPUTS),
            beside,
            classes,
        )
        write_text_atomic(folder / REPORT, reports.render(report, texts))
        write_json_atomic(folder / SUMMARY, reports.summary(report))
    store.add(record)
    listen(Event(kind="done", data=record.model_dump(mode="json")))
    return record


def test_questions(
    store: Store, dataset: Dataset, limit: int | None, listen: Listener
) -> list[Question]:
    """The locked test rows that have a reference answer, in words that can be compared.

    Raises:
        DataError: when there are none.
    """
    found = supervised(read_rows(store.folder(Dataset, dataset.id), "test"))
    rows = [row for row in found if in_words(row)]
    if len(rows) < len(found):
        text = (
            f"{len(found) - len(rows)} test rows end with a call of a tool; they are not asked, "
            "for answers are compared as text"
        )
        listen(Event(kind="note", data={"text": text}))
    if not rows:
        raise DataError(
            f"dataset {dataset.id} ({dataset.name}) has no test questions with an answer",
            "Prepare it again with --test-files FILE, or with a test share such as "
            "--set split.test=0.1.",
        )
    return [question_of(rows[index], str(index)) for index in limited(rows, limit)]


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


def _ask_all(
    config: EvaluateConfig,
    store: Store,
    dataset: Dataset,
    test: Sequence[Question],
    listen: Listener,
) -> tuple[Results, list[Origin]]:
    """Every responder's answers. All names are resolved before the first question is asked."""
    weights = {name: resolve_responder(store, name).foundation for name in config.models}
    origins = [origin_of(store, n, w.base.name, w.base.digest) for n, w in weights.items()]
    probe = probe_path(weights[config.models[0]].base.folder)
    general = read_probe(probe) if config.general else []
    seen = _seen_questions(store, dataset, config.seed)
    learners = {o.reference for o in origins[1:] if o.trained_on(dataset)}
    free = GenerationConfig(max_new_tokens=config.max_new_tokens)
    held = free.model_copy(update={"choices": dataset.labels if config.constrained else ()})
    answers: dict[str, dict[str, Sequence[Scored]]] = {"test": {}, "general": {}, "seen": {}}
    for reference, responder in _loaded(store, weights):
        sets = {"test": test, "general": general, "seen": seen if reference in learners else []}
        for names in (("test", "seen"), ("general",)) if held.choices else (tuple(sets),):
            questions = [question for name in names for question in sets[name]]
            how = free if names == ("general",) else held
            scored = ask(responder, questions, how, config.batch_size, listen)
            for name in names:
                count = len(sets[name])
                answers[name][reference], scored = scored[:count], scored[count:]
        del responder  # Its base makes room for the next one.
    results = gather(
        config,
        Asked(test, answers["test"]),
        Asked(general, answers["general"]) if general else None,
        Asked(seen, {name: given for name, given in answers["seen"].items() if given}),
    )
    return results, origins


def _loaded(store: Store, weights: Mapping[str, Foundation]) -> Iterator[tuple[str, TextModel]]:
    """The responders, those on the same weights together, which alone are in memory then."""
    for key in dict.fromkeys(foundation.key for foundation in weights.values()):
        names = [name for name, foundation in weights.items() if foundation.key == key]
        yield from zip(names, load_many(store, names), strict=True)


def _seen_questions(store: Store, dataset: Dataset, seed: int) -> list[Question]:
    """A sample of the team's own training rows."""
    rows = supervised(read_rows(store.folder(Dataset, dataset.id), "train"))
    own = [n for n, row in enumerate(rows) if row.origin == "own" and in_words(row)]
    chosen = sorted(random.Random(seed).sample(own, min(MOST_SEEN, len(own))))
    return [question_of(rows[index], str(index)) for index in chosen]


def _record(
    config: EvaluateConfig,
    dataset: Dataset,
    results: Results,
    origins: Sequence[Origin],
    gates: Sequence[Gate],
    classes: Mapping[str, Classes],
) -> Evaluation:
    return Evaluation(
        id=Store.new_id(Evaluation),
        version=__version__,
        dataset=dataset.id,
        models=config.models,
        config=config.json_dict(),
        scores=results.scores(),
        deltas=results.field_of("delta"),
        intervals=results.field_of("interval"),
        general=results.general_shares(),
        gates=gates_json(gates),
        classes=classes_json(classes),
        verdict=verdict_of(gates),
        report=REPORT,
        model_ids=tuple(dict.fromkeys(o.model.id for o in origins if o.model is not None)),
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
