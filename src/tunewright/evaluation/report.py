"""The HTML report: one self-contained page, and the same facts as JSON."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from tunewright.core.records import Dataset, Evaluation
from tunewright.evaluation import page
from tunewright.evaluation.beside import Beside
from tunewright.evaluation.classes import Classes
from tunewright.evaluation.confusion import class_rows, matrix
from tunewright.evaluation.gates import Gate
from tunewright.evaluation.lineage import Curve, Origin
from tunewright.evaluation.results import ALL, Results
from tunewright.evaluation.texts import Texts

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
    headline = texts(f"metric.{results.headline}")
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
            name: page.score_rows(by_metric[results.headline], "slice", texts)
            for name, by_metric in results.comparisons.items()
        },
        "metrics": page.metric_rows(results, texts),
        "answers": page.answer_rows(results, texts),
        "class_scores": class_rows(report.classes, texts),
        "matrices": [(name, matrix(one, texts)) for name, one in report.classes.items()],
    }


def _background(report: Report, texts: Texts) -> dict[str, Any]:
    """What the template shows of forgetting, memorising, training and lineage."""
    results, general = report.results, report.results.general
    title = texts("general.chart")
    return {
        "dataset": report.dataset,
        "general_tables": {
            name: page.score_rows(by_metric["exact"], "kind", texts)
            for name, by_metric in results.general_comparisons.items()
        },
        "general_chart": general
        and page.dots_chart(results, general, "exact", "kind", title, texts),
        "beside": report.beside,
        "memory": page.memory_rows(results, texts),
        "curves": [
            (origin.reference, page.curve_chart(curve, origin.step, texts))
            for origin, curve in report.curves
        ],
        "repeat": _repeat(report, texts),
    }


def _repeat(report: Report, texts: Texts) -> dict[str, Any]:
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
        "seen": {name: results.seen.mean(name, results.headline) for name in results.seen.answers},
        "questions": {
            name: len(results.test.indices(name)) for name in results.test.slices() if name != ALL
        }
        | {ALL: len(results.test.questions)},
        "outputs_sha256": report.outputs_sha256,
    }


def _comparisons(comparisons: Any) -> dict[str, Any]:
    return {
        responder: {
            metric: {name: _finite(asdict(one)) for name, one in by_slice.items()}
            for metric, by_slice in by_metric.items()
        }
        for responder, by_metric in comparisons.items()
    }


def _finite(values: dict[str, Any]) -> dict[str, Any]:
    """JSON has no infinity, which is the standard error of a single group."""
    return {key: None if value == float("inf") else value for key, value in values.items()}
