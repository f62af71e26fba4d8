"""The report of a dataset: one JSON document, and the same as a page that needs no network."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from tunewright.core.messages import Split
from tunewright.core.records import Dataset
from tunewright.data.checks.base import Finding, excerpt
from tunewright.data.collect import Collection
from tunewright.data.labels import Words
from tunewright.data.measure import Length, histogram
from tunewright.data.records import Draft
from tunewright.data.split import MIN_GROUPS
from tunewright.model.rendering import Renderer

_SHOWN = 5
_EXAMPLE_TOKENS = 400
_SVG = {"width": 720, "height": 160}


@dataclass(frozen=True)
class Prepared:
    """All that a report speaks of.

    Attributes:
        collection: rows read and left out.
        findings: what the checks found.
        kept: own rows with their lengths, in every split.
        splits: the same rows and the general ones, by split.
        mix_wanted: rows of other sets asked for.
        limit: longest row allowed, in tokens.
    """

    collection: Collection
    findings: list[Finding]
    kept: list[tuple[Draft, Length]]
    splits: dict[Split, list[Draft]]
    mix_wanted: int
    limit: int


def build_report(dataset: Dataset, prepared: Prepared, renderer: Renderer) -> dict[str, Any]:
    """The report as JSON values."""
    kept = prepared.kept
    groups = len({draft.group for draft, _ in kept})
    longest = max(kept, key=lambda pair: pair[1].tokens)
    return {
        "dataset": dataset.id,
        "name": dataset.name,
        "base": dataset.base,
        "limit": prepared.limit,
        "rows": dataset.rows,
        "splits": dataset.splits,
        "mixed": dataset.mixed,
        "groups": groups,
        "files": [asdict(file) for file in prepared.collection.files],
        "warnings": _warnings(dataset, prepared, groups, renderer.note),
        "tokens": {
            **dataset.tokens,
            "histogram": histogram([length for _, length in kept]),
            "longest": {**_place(longest[0]), "tokens": longest[1].tokens},
        },
        "slices": _slices(prepared.splits["test"]),
        "dropped_examples": _examples(prepared.collection),
        "example": _rendered(kept, renderer),
        "config": dataset.config,
    }


def render_html(report: dict[str, Any], language: str) -> str:
    """The report as one self-contained page; all that users wrote is escaped."""
    environment = Environment(
        loader=PackageLoader("tunewright.data", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    words = Words.of(language)
    rows = report["rows"]
    return environment.get_template("report.html").render(
        report=report,
        words=words.labels,
        reasons=words.reasons,
        say=words.say,
        say_all=words.say_all,
        encoding_reason=words.facts.__getitem__,
        verdict=words.labels["verdict"].format(
            kept=rows["kept"], read=rows["read"], **report["splits"]
        ),
        state="care" if any(w["care"] for w in report["warnings"]) else "ready",
        flow=_flow(report, words),
        bars=_bars(report["tokens"]["histogram"]),
        svg=_SVG,
    )


def _warnings(
    dataset: Dataset, prepared: Prepared, groups: int, note: str
) -> list[dict[str, object]]:
    """What a person should know; those with ``care`` speak against training right away."""
    found: list[dict[str, object]] = []
    if groups < MIN_GROUPS:
        found.append({"kind": "few questions", "groups": groups, "care": True})
    elif not dataset.splits["test"]:
        found.append({"kind": "no test", "care": True})
    if 2 * dataset.rows["kept"] < dataset.rows["read"]:
        found.append({"kind": "mostly dropped", "care": True})
    if dataset.mixed < prepared.mix_wanted:
        wanted = prepared.mix_wanted
        found.append(
            {"kind": "fewer general", "wanted": wanted, "mixed": dataset.mixed, "care": False}
        )
    if note:
        found.append({"kind": "base", "text": note, "care": False})
    return found


def _slices(test: list[Draft]) -> dict[str, int]:
    return dict(Counter(draft.slice for draft in test if draft.slice).most_common())


def _examples(collection: Collection) -> dict[str, list[dict[str, Any]]]:
    result: dict[str, list[dict[str, Any]]] = {reason: [] for reason in collection.counts()}
    for row in collection.dropped:
        if len(result[row.reason]) < _SHOWN:
            result[row.reason].append(row.json_dict())
    return result


def _rendered(kept: list[tuple[Draft, Length]], renderer: Renderer) -> dict[str, Any]:
    """A row of ordinary length, token by token, with the tokens that are learned marked."""
    short = [pair for pair in kept if pair[1].tokens <= _EXAMPLE_TOKENS] or kept
    by_length = sorted(short, key=lambda pair: pair[1].tokens)
    draft = by_length[len(by_length) // 2][0]
    pieces = renderer.tokens_with_mask(draft.conversation())
    return {
        **_place(draft),
        "question": excerpt(draft.question),
        "pieces": [list(piece) for piece in pieces[: 2 * _EXAMPLE_TOKENS]],
        "more": max(0, len(pieces) - 2 * _EXAMPLE_TOKENS),
    }


def _place(draft: Draft) -> dict[str, Any]:
    return {"file": draft.file, "row": draft.number}


def _flow(report: dict[str, Any], words: Words) -> list[dict[str, Any]]:
    """Every row once: first what is kept, by split, then what is left out, by reason."""
    rows, labels = report["rows"], words.labels
    read = max(1, rows["read"])
    kept = [
        {"label": f"{labels['kept']} · {labels[name]}", "count": count, "style": name}
        for name, count in report["splits"].items()
        if count
    ]
    dropped = [
        {"label": words.reasons[reason], "count": count, "style": "dropped"}
        for reason, count in rows["dropped"].items()
    ]
    return [{**line, "percent": 100 * int(line["count"]) / read} for line in kept + dropped]


def _bars(bins: list[dict[str, int]]) -> list[dict[str, Any]]:
    """Histogram bins as rectangles of the page's SVG."""
    if not bins:
        return []
    step = _SVG["width"] / len(bins)
    peak = max(entry["rows"] for entry in bins)
    bars = []
    for place, entry in enumerate(bins):
        height = entry["rows"] / peak * (_SVG["height"] - 4)
        bars.append(
            {
                "x": round(place * step + 1, 1),
                "y": round(_SVG["height"] - height, 1),
                "width": round(step - 2, 1),
                # A bin with a single row among thousands still shows.
                "height": round(max(height, 1.5 if entry["rows"] else 0), 1),
                "title": f"{entry['from']}-{entry['to']}: {entry['rows']}",
            }
        )
    return bars
