"""The HTML report: one self-contained page, and the same facts as JSON."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from tunewright.core.records import Dataset, Evaluation
from tunewright.evaluation import page, page_answers
from tunewright.evaluation.asked import ALL
from tunewright.evaluation.beside import Beside
from tunewright.evaluation.classes import Classes
from tunewright.evaluation.confusion import class_rows, matrix
from tunewright.evaluation.gates.base import Gate
from tunewright.evaluation.judgements import panel_json
from tunewright.evaluation.lineage import Curve, Origin
from tunewright.evaluation.memory import memory_of
from tunewright.evaluation.page_benchmarks import benchmark_parts
from tunewright.evaluation.page_judging import judging_part
from tunewright.evaluation.page_memory import memory_parts
from tunewright.evaluation.results import Results
from tunewright.evaluation.statistics.comparison import Comparison
from tunewright.evaluation.texts import Texts
from tunewright.evaluation.tiers import Tier

TEMPLATE = "report.html.j2"


@dataclass(frozen=True)
class Report:
    """All that a report is made from."""

    record: Evaluation
    results: Results
    gates: Sequence[Gate]
    dataset: Dataset
    origins: Sequence[Origin]
    curves: Sequence[tuple[Origin, Curve]]
    outputs_sha256: str
    beside: Sequence[Beside] = ()
    classes: Mapping[str, Classes] = field(default_factory=dict)
    """By responder, for datasets with labels."""
    tiers: Sequence[Tier] = ()
    """How far every test question is from what was trained on."""


def render(report: Report, texts: Texts) -> str:
    """The page. Everything from data, models and files is escaped; nothing is fetched."""
    environment = Environment(
        loader=PackageLoader("tunewright.evaluation"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    shown = {**_outcome(report, texts), **_background(report, texts)}
    return environment.get_template(TEMPLATE).render(t=texts, **shown) + "\n"


def _outcome(report: Report, texts: Texts) -> dict[str, Any]:
    """What the template shows of verdict, scores and answers."""
    results = report.results
    metric = results.test.metric(results.headline)
    headline = texts.label("metric", results.headline)
    title = texts("chart.scores", metric=headline)
    return {
        "record": report.record,
        "results": results,
        "gates": report.gates,
        "made": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(report.record.created)),
        "sentence": page.sentence(results, report.gates, texts),
        "interval_sentence": page.interval_sentence(results, report.gates, texts),
        "headline": headline,
        "scores_chart": page.dots_chart(
            results, results.test, results.headline, "slice", title, texts
        ),
        "score_tables": {
            name: page.score_rows(by_metric[results.headline], metric, "slice", texts)
            for name, by_metric in results.comparisons.items()
        },
        "metric_tables": {
            name: page.metric_rows(results, name, texts) for name in results.challengers
        },
        "alone": [] if results.challengers else page.alone_rows(results, texts),
        "answers": page_answers.answer_rows(results, texts),
        "extremes": page_answers.extremes(results, texts),
        "class_scores": class_rows(report.classes, texts),
        "matrices": [(name, matrix(one, texts)) for name, one in report.classes.items()],
    }


def _background(report: Report, texts: Texts) -> dict[str, Any]:
    """What the template shows of forgetting, memorising, training and lineage."""
    results, general = report.results, report.results.general
    title = texts("general.chart")
    exact = results.test.metric("exact")
    return {
        "dataset": report.dataset,
        "general_tables": {
            name: page.score_rows(by_metric["exact"], exact, "kind", texts)
            for name, by_metric in results.general_comparisons.items()
        },
        "general_chart": general
        and page.dots_chart(results, general, "exact", "kind", title, texts),
        "beside": report.beside,
        "benchmarks": benchmark_parts(results.benchmarks, texts),
        "judging": judging_part(results, texts),
        "memory": memory_parts(results, report.tiers, texts),
        "curves": [
            (origin.reference, page.curve_chart(curve, origin.step, texts))
            for origin, curve in report.curves
        ],
        "repeat": repeated(report, texts),
    }


def repeated(report: Report, texts: Texts) -> dict[str, Any]:
    """All that it takes to make the evaluation again."""
    record, dataset = report.record, report.dataset
    rows = {**dict.fromkeys(("train", "dev", "test"), 0), **dataset.splits}
    return {
        "command": page.command_line(record),
        "dataset": f"{dataset.id} ({dataset.name}) · {dataset.digest}",
        "rows": texts(
            "repeat.rows.are",
            train=rows["train"],
            dev=rows["dev"],
            test=rows["test"],
            mixed=dataset.mixed,
        ),
        "files": texts("join").join(dataset.files),
        "outputs": report.outputs_sha256,
        "responders": [(o.reference, page.origin_facts(o, texts)) for o in report.origins],
        "settings": page.settings(record.config),
        "recipes": [
            (o.reference, page.settings(o.run.config)) for o in report.origins if o.run is not None
        ],
    }


def summary(report: Report) -> dict[str, Any]:
    """``report.json``: the record, and per slice all that was measured."""
    results = report.results
    return {
        **report.record.model_dump(mode="json"),
        "headline": results.headline,
        "comparisons": _comparisons(results.comparisons),
        "general_by_kind": _comparisons(results.general_comparisons),
        "adjusted_p": results.adjusted,
        "seen": {name: results.seen.mean(name, results.headline) for name in results.seen.answers},
        "memory": _memory(report),
        "judging": panel_json(results),
        "questions": {
            name: len(results.test.indices(name)) for name in results.test.slices() if name != ALL
        }
        | {ALL: len(results.test.questions)},
        "outputs_sha256": report.outputs_sha256,
    }


def _memory(report: Report) -> dict[str, Any]:
    """``{challenger: {metric, seen: {score, interval, questions}, paraphrase: …}}``."""
    found = {
        name: memory_of(report.results, name, report.tiers) for name in report.results.challengers
    }
    return {
        name: {"metric": one.metric, **{step: rung.json() for step, rung in one.steps.items()}}
        for name, one in found.items()
        if one is not None
    }


def _comparisons(comparisons: Mapping[str, Mapping[str, Mapping[str, Comparison]]]) -> Any:
    return {
        responder: {
            metric: {name: _finite(asdict(one)) for name, one in by_slice.items()}
            for metric, by_slice in by_metric.items()
        }
        for responder, by_metric in comparisons.items()
    }


def _finite(values: dict[str, Any]) -> dict[str, Any]:
    """JSON has no infinity, which is the standard error of a single group."""
    return {
        key: None if isinstance(value, float) and not math.isfinite(value) else value
        for key, value in values.items()
    }
