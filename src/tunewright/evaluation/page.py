"""What the report's template shows, worked out beforehand: the template holds no logic."""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from tunewright.config.evaluation import EvaluateConfig
from tunewright.core.nested import flat
from tunewright.core.records import Evaluation
from tunewright.evaluation import charts
from tunewright.evaluation.asked import ALL, Asked
from tunewright.evaluation.gates.base import Gate
from tunewright.evaluation.lineage import Curve, Origin
from tunewright.evaluation.results import Results
from tunewright.evaluation.scorers.base import Metric
from tunewright.evaluation.statistics.comparison import Comparison
from tunewright.evaluation.texts import Texts, difference, p_text, points, shown, signed

_LEAST_REACH = 0.05
_SAYS = {"exact": "says.better", "char_f1": "says.better.overlap"}


@dataclass(frozen=True, slots=True)
class ScoreRow:
    """One row of a challenger's table: a slice, or a metric with what it means."""

    label: str
    questions: int
    before: str
    after: str
    delta: str
    low: str
    high: str
    whisker: Markup
    outcomes: tuple[int, int, int]
    p: str
    tone: str
    meaning: str = ""


# The verdict -----------------------------------------------------------------------------------


def sentence(results: Results, gates: Sequence[Gate], texts: Texts) -> str:
    """The verdict in one plain sentence, about the challenger that the verdict hangs on."""
    chosen = _chosen(gates)
    if chosen is not None:
        return texts("says.checkpoint", model=chosen.responder)
    if not results.challengers:
        return texts("says.alone", model=results.baseline)
    gate = _decisive(gates)
    metric = results.test.metric(results.headline)
    seen = results.comparisons[gate.responder][results.headline][ALL]
    if gate.passed:
        key = _SAYS.get(results.headline, "says.better.metric")
    else:
        key = "says.worse" if gate.passed is False else "says.open"
    said = texts(
        key,
        model=gate.responder,
        base=results.baseline,
        metric=texts.label("metric", metric.name),
        score=shown(metric, seen.score),
        before=shown(metric, seen.baseline),
    )
    said_no = [g.name for g in gates if g.passed is False and g.name != "improvement"]
    if gate.passed and said_no:
        names = texts("join").join(texts(f"gate.{name}") for name in dict.fromkeys(said_no))
        said += " " + texts("says.blocked", gates=names)
    elif gate.passed and (waits := [g.name for g in gates if g.passed is None and g.blocks]):
        names = texts("join").join(texts(f"gate.{name}") for name in dict.fromkeys(waits))
        said += " " + texts("says.waits", gates=names)
    return said


def _chosen(gates: Sequence[Gate]) -> Gate | None:
    return next((gate for gate in gates if gate.name == "checkpoint"), None)


def _decisive(gates: Sequence[Gate]) -> Gate:
    """The improvement gate that speaks against the verdict soonest: no, then open, then yes."""
    order = (False, None, True)
    improvements = [gate for gate in gates if gate.name == "improvement"]
    return min(improvements, key=lambda gate: order.index(gate.passed))


def interval_sentence(results: Results, gates: Sequence[Gate], texts: Texts) -> str:
    """The size of the difference behind ``sentence``."""
    if not results.challengers or _chosen(gates) is not None:
        return ""
    metric = results.test.metric(results.headline)
    seen = results.comparisons[_decisive(gates).responder][results.headline][ALL]
    bound = _bound(metric)
    return texts(
        "says.interval",
        delta=difference(metric, seen.delta, texts),
        low=bound(seen.low),
        high=bound(seen.high),
        questions=seen.questions,
        groups=seen.groups,
    )


# Scores ----------------------------------------------------------------------------------------


def score_rows(
    by_slice: Mapping[str, Comparison], metric: Metric, family: str, texts: Texts
) -> list[ScoreRow]:
    """A challenger's table for one metric by slice; ``family`` names the slices' labels."""
    reach = max(_LEAST_REACH, *(_reach(one) for one in by_slice.values()))
    return [
        _row(texts.label(family, name), seen, metric, reach, seen.p)
        for name, seen in by_slice.items()
    ]


def metric_rows(results: Results, responder: str, texts: Texts) -> list[ScoreRow]:
    """A challenger's table over all questions by metric; p values are adjusted by Holm."""
    found = results.comparisons[responder]
    adjusted = results.adjusted[responder]
    shares = [_reach(found[m.name][ALL]) for m in results.metrics if m.name in found and m.share]
    reach = max([_LEAST_REACH, *shares])
    return [
        _row(
            texts.label("metric", metric.name),
            seen,
            metric,
            reach if metric.share else _reach(seen),
            adjusted[metric.name],
            texts.label("metric", f"{metric.name}.is"),
        )
        for metric in results.metrics
        if metric.name in found and (seen := found[metric.name][ALL])
    ]


def alone_rows(results: Results, texts: Texts) -> list[tuple[str, str, str, str]]:
    """``(label, meaning, score, interval)`` by metric of somebody who was asked alone."""
    test, name = results.test, results.baseline
    rows = []
    for metric in results.metrics:
        score = test.mean(name, metric.name)
        if score is None:
            continue
        low, high = test.mean_interval(name, metric.name, ALL, results.config)
        bounds = f"{shown(metric, low)} … {shown(metric, high)}"
        label = texts.label("metric", metric.name)
        rows.append(
            (label, texts.label("metric", f"{metric.name}.is"), shown(metric, score), bounds)
        )
    return rows


def _row(
    label: str, seen: Comparison, metric: Metric, reach: float, p: float, meaning: str = ""
) -> ScoreRow:
    bound = _bound(metric)
    low, high = seen.gain_interval
    tone = "good" if low > 0 else "bad" if high < 0 else "flat"
    return ScoreRow(
        label,
        seen.questions,
        shown(metric, seen.baseline),
        shown(metric, seen.score),
        bound(seen.delta),
        bound(seen.low),
        bound(seen.high),
        charts.whisker(seen.delta, seen.low, seen.high, reach, tone),
        (seen.wins, seen.ties, seen.losses),
        p_text(p).removeprefix("=\u00a0"),
        tone,
        "" if meaning.startswith("metric.") else meaning,
    )


def _bound(metric: Metric) -> Any:
    return points if metric.share else signed


def _reach(seen: Comparison) -> float:
    ends = [abs(one) for one in seen.interval if math.isfinite(one)]
    return max([1e-9, abs(seen.delta), *ends])


def dots_chart(
    results: Results, asked: Asked, metric: str, family: str, title: str, texts: Texts
) -> Markup | None:
    """Every responder's score by slice with its interval; None for what is no share."""
    if not asked.metric(metric).share:
        return None
    rows = [
        charts.DotRow(
            texts.label(family, name),
            [
                charts.Dot(score, asked.mean_interval(one, metric, name, results.config))
                for one in results.responders
                if (score := asked.mean(one, metric, name)) is not None
            ],
        )
        for name in asked.slices()
    ]
    return charts.dots([row for row in rows if row.dots], title)


def curve_chart(curve: Curve, step: int | None, texts: Texts) -> Markup:
    """The training curve with the evaluated checkpoint marked."""
    used = texts("curve.used", step=step) if step is not None else ""
    labels = charts.CurveLabels(texts("curve"), texts("curve.step"), used)
    return charts.loss_chart(curve.train, curve.validation, step, labels)


# How to repeat it ------------------------------------------------------------------------------


def settings(config: dict[str, Any]) -> list[tuple[str, str]]:
    """A nested config as ``(dotted name, value)`` pairs, as people read them."""
    return [(name, _setting(value)) for name, value in flat(config).items()]


def _setting(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    return "" if value is None else str(value)


def command_line(record: Evaluation) -> str:
    """The command that repeats the evaluation."""
    words = ["tunewright", "evaluate", "--dataset", record.dataset]
    asked = EvaluateConfig.model_validate(record.config)
    if asked.checkpoints is None:
        for name in record.models:
            words += ["--models", name]
    usual = flat(EvaluateConfig(dataset="", models=("",)).json_dict())
    for name, value in sorted(flat(asked.json_dict()).items()):
        if name not in ("dataset", "models") and value != usual.get(name):
            words += ["--set", f"{name}={json.dumps(value)}"]
    return shlex.join(words)


def origin_facts(origin: Origin, texts: Texts) -> list[tuple[str, str]]:
    """Where one responder comes from."""
    facts = [(texts("repeat.base"), f"{origin.base} · {origin.base_digest}")]
    if origin.model is not None:
        facts.insert(0, (texts("model"), origin.model.id))
    if origin.run is not None:
        step = f" @ {origin.step}" if origin.step is not None else ""
        facts.append((texts("repeat.run"), f"{origin.run.id}{step}"))
    return facts
