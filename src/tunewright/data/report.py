"""The report of a dataset: one JSON document, and the same as a page that needs no network."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from tunewright.core.messages import SPLITS, Split
from tunewright.core.records import Dataset
from tunewright.data import page
from tunewright.data.advice import finding_json, judge
from tunewright.data.charts import bins
from tunewright.data.checks.base import Check, Finding
from tunewright.data.checks.table import CHECKS
from tunewright.data.collect import Collection
from tunewright.data.labels import Words
from tunewright.data.measure import Length
from tunewright.data.mix import BUNDLED
from tunewright.data.recipe import command_line, recipe_yaml
from tunewright.data.records import Draft
from tunewright.data.rendered import rendered_rows
from tunewright.data.split import MIN_GROUPS
from tunewright.model.rendering import Renderer

_SHOWN = 5
_MANY_LONG = 0.05
"""More rows than this share left out for their length: the base is the wrong one, or the rows."""


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


def build_report(
    dataset: Dataset,
    prepared: Prepared,
    renderer: Renderer,
    checks: Sequence[Check] = CHECKS,
) -> dict[str, Any]:
    """The report as JSON values, in no language but where texts are given in each.

    Keys, stable:

    - ``verdict``: ``ready``, ``care`` (ready, with warnings) or ``stop`` (not ready);
      ``reasons``: what it rests on, the worst first: ``{check, level}`` for one of ``findings``,
      ``{kind, level, …}`` for one of ``warnings``.
    - ``dataset, name, base, content, config``: as in the record; ``limit``: the longest row
      allowed, in tokens; ``recipe``, ``command``: what makes the dataset again.
    - ``rows``: ``{read, kept, merged, dropped: {reason: n}, changed, truncated}`` with
      read = kept + merged + all dropped; ``changed``: ``{check: rows}``.
    - ``splits``: own rows by split; ``groups``: distinct questions; ``split_groups``: the same
      by split; ``mixed``: rows mixed into training; ``mixed_by_set``; ``slices``: test rows by
      slice; ``labels``: ``{label: {split: rows}}`` of classification rows.
    - ``findings``: ``[{check, level, rows, action, actions, option, title, says, does, facts,
      examples, figure}]`` in the order of the checks; ``title``, ``says`` and ``does`` by
      language; ``option`` is the name of the setting that chooses among ``actions``, or null.
    - ``warnings``: ``[{kind, level, …}]``; ``words.*.json`` holds the sentence of each kind.
    - ``files``: how each was read.
    - ``tokens``: ``{p5, p50, p95, max, total, supervised, histogram, supervised_histogram,
      longest}``, histograms as ``[{from, to, rows}]`` with inclusive bounds.
    - ``examples``: rows as the model sees them, ``[{file, row, length, tokens, supervised,
      parts}]``; a part is ``{role, pieces: [[text, learned]], more}``.
    - ``dropped_examples``: ``{reason: [row]}``; ``changed_examples``: ``{check: [row]}``; the
      full lists are ``dropped.jsonl`` and ``changed.jsonl`` beside the report.
    """
    kept = prepared.kept
    by_name = {check.name: check for check in checks}
    findings = [finding_json(found, by_name[found.check]) for found in prepared.findings]
    groups = len({draft.group for draft, _ in kept})
    warnings = _warnings(dataset, prepared, groups, renderer.note)
    verdict, reasons = judge(findings, warnings)
    return {
        "verdict": verdict,
        "reasons": reasons,
        **_identity(dataset),
        "limit": prepared.limit,
        "rows": dataset.rows,
        **_divided(dataset, prepared, groups),
        "findings": findings,
        "warnings": warnings,
        "files": [asdict(file) for file in prepared.collection.files],
        "tokens": _tokens(dataset, kept),
        "examples": rendered_rows(kept, renderer),
        **_left_out_and_changed(prepared.collection),
    }


def render_html(report: dict[str, Any], language: str) -> str:
    """The report as one self-contained page; all that users wrote is escaped."""
    words = Words.of(language)
    shown = page.shown(report, words)
    return (
        _templates()
        .get_template("report.html")
        .render(report=report, words=words.labels, say=words.say, say_all=words.say_all, **shown)
    )


@cache  # compiling the templates takes longer than filling them in
def _templates() -> Environment:
    return Environment(
        loader=PackageLoader("tunewright.data", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _warnings(
    dataset: Dataset, prepared: Prepared, groups: int, note: str
) -> list[dict[str, object]]:
    """What no check looks for; those of level ``care`` speak against training right away."""
    found: list[dict[str, object]] = []
    if groups < MIN_GROUPS:
        found.append({"kind": "few questions", "groups": groups, "level": "care"})
    elif not dataset.splits["test"]:
        found.append({"kind": "no test", "level": "care"})
    if 2 * dataset.rows["kept"] < dataset.rows["read"]:
        found.append({"kind": "mostly dropped", "level": "care"})
    long = dataset.rows["dropped"].get("longer than the context", 0)
    if long > _MANY_LONG * dataset.rows["read"]:
        found.append({"kind": "many long", "rows": long, "limit": prepared.limit, "level": "care"})
    if dataset.mixed < prepared.mix_wanted:
        wanted = prepared.mix_wanted
        found.append(
            {"kind": "fewer general", "wanted": wanted, "mixed": dataset.mixed, "level": "info"}
        )
    if note:
        found.append({"kind": "base", "text": note, "level": "info"})
    return found


def _identity(dataset: Dataset) -> dict[str, Any]:
    """Which dataset this is, and what makes it again."""
    return {
        "dataset": dataset.id,
        "name": dataset.name,
        "base": dataset.base,
        "content": dataset.content,
        "config": dataset.config,
        "recipe": recipe_yaml(dataset.config),
        "command": command_line(dataset.config),
    }


def _divided(dataset: Dataset, prepared: Prepared, groups: int) -> dict[str, Any]:
    """How the rows are divided."""
    splits = prepared.splits
    own = {s: [draft for draft in splits[s] if draft.origin == "own"] for s in SPLITS}
    labels: dict[str, dict[str, int]] = {}
    for split, drafts in own.items():
        for label, rows in Counter(d.label for d in drafts if d.label is not None).items():
            labels.setdefault(label, dict.fromkeys(SPLITS, 0))[split] = rows
    return {
        "splits": dataset.splits,
        "groups": groups,
        "split_groups": {s: len({draft.group for draft in own[s]}) for s in SPLITS},
        "mixed": dataset.mixed,
        "mixed_by_set": _ordered(
            # A mixed row's file is "set/file"; that of a bundled row has no set before it.
            draft.file.partition("/")[0] if "/" in draft.file else BUNDLED
            for draft in splits["train"]
            if draft.origin == "general"
        ),
        "slices": _ordered(draft.slice for draft in splits["test"] if draft.slice),
        "labels": dict(sorted(labels.items(), key=lambda item: -sum(item[1].values()))),
    }


def _tokens(dataset: Dataset, kept: list[tuple[Draft, Length]]) -> dict[str, Any]:
    longest, length = max(kept, key=lambda pair: pair[1].tokens)
    return {
        **dataset.tokens,
        "histogram": bins([length.tokens for _, length in kept]),
        "supervised_histogram": bins([length.supervised for _, length in kept]),
        "longest": {"file": longest.file, "row": longest.number, "tokens": length.tokens},
    }


def _left_out_and_changed(collection: Collection) -> dict[str, Any]:
    # A row changed twice by one check counts once.
    places = {(row.check, row.file, row.row): None for row in collection.changed}
    return {
        "changed": _ordered(check for check, _, _ in places),
        "dropped_examples": _first((row.reason, row.json_dict()) for row in collection.dropped),
        "changed_examples": _first((row.check, row.json_dict()) for row in collection.changed),
    }


def _first(rows: Iterable[tuple[str, dict[str, Any]]]) -> dict[str, list[dict[str, Any]]]:
    """The first few rows under each name."""
    result: dict[str, list[dict[str, Any]]] = {}
    for name, row in rows:
        shown = result.setdefault(name, [])
        if len(shown) < _SHOWN:
            shown.append(row)
    return result


def _ordered(names: Iterable[str]) -> dict[str, int]:
    """How often each name occurs, the commonest first."""
    return dict(Counter(names).most_common())
