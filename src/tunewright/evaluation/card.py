"""The model card: what an evaluation found, in Markdown, to go along with the model."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from tunewright.core.markdown import plain, table
from tunewright.evaluation import page
from tunewright.evaluation.gates.base import Gate
from tunewright.evaluation.page import ScoreRow
from tunewright.evaluation.report import Report, repeated
from tunewright.evaluation.texts import Texts


def card(report: Report, texts: Texts) -> str:
    """Verdict, gates, scores, forgetting, lineage and recipe; every text from outside is plain."""
    record, results = report.record, report.results
    names = texts("join").join(results.responders)
    said = page.sentence(results, report.gates, texts)
    size = page.interval_sentence(results, report.gates, texts)
    lines = [
        f"# {plain(texts('page.title', models=names))}",
        f"**{texts(f'verdict.{record.verdict}')}** — {plain(said)} {plain(size)}".rstrip(),
        *(_gate(gate, texts) for gate in report.gates),
        f"## {texts('scores')}",
        *_scores(report, texts),
        *_general(report, texts),
        f"## {texts('repeat')}",
        *_origins(report, texts),
    ]
    return "\n\n".join(lines) + "\n"


def _gate(gate: Gate, texts: Texts) -> str:
    state = texts(f"passed.{gate.passed}")
    said = " ".join(part for part in (gate.evidence, gate.prescription) if part)
    name = texts(f"gate.{gate.name}")
    return f"- **{name}** ({state}; {plain(gate.responder)}): {plain(said)}"


def _scores(report: Report, texts: Texts) -> Iterator[str]:
    results = report.results
    if not results.challengers:
        heads = [texts(key) for key in ("metric", "score", "interval")]
        rows = page.alone_rows(results, texts)
        yield table(heads, ((label, score, bounds) for label, _, score, bounds in rows))
    for name in results.challengers:
        yield f"### {plain(name)}"
        yield _compared(page.metric_rows(results, name, texts), "metric", "p.holm", texts)


def _general(report: Report, texts: Texts) -> Iterator[str]:
    results = report.results
    if not results.general_comparisons:
        return
    yield f"## {texts('general')}"
    for name, by_metric in results.general_comparisons.items():
        rows = page.score_rows(by_metric["exact"], results.test.metric("exact"), "kind", texts)
        yield f"### {plain(name)}"
        yield _compared(rows, "kind", "p", texts)


def _compared(rows: Iterable[ScoreRow], first: str, p: str, texts: Texts) -> str:
    keys = (first, "questions", "base", "tuned", "delta", "interval", "outcomes", p)
    return table(
        [texts(key) for key in keys],
        (
            (
                row.label, str(row.questions), row.before, row.after, row.delta,
                f"{row.low} … {row.high}", " / ".join(map(str, row.outcomes)), row.p,
            )
            for row in rows
        ),
    )  # fmt: skip


def _origins(report: Report, texts: Texts) -> Iterator[str]:
    """Everything needed to repeat it, as on the page."""
    found = repeated(report, texts)
    facts = [(texts(f"repeat.{key}"), found[key]) for key in ("command", "dataset", "rows")]
    facts += [(texts("repeat.files"), found["files"]), (texts("repeat.outputs"), found["outputs"])]
    yield _list(facts)
    for name, own in found["responders"]:
        yield f"### {plain(name)}"
        yield _list(own)
    for name, recipe in found["recipes"]:
        yield f"### {texts('repeat.recipe')}: {plain(name)}"
        yield _list(recipe)


def _list(facts: Iterable[tuple[str, str]]) -> str:
    return "\n".join(f"- {plain(key)}: {plain(value)}" for key, value in facts)
