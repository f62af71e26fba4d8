"""What the report's template shows of public benchmarks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tunewright.evaluation.benchmarks.scores import Scores, Tally, scores_json
from tunewright.evaluation.texts import Texts, p_text, percent, points


@dataclass(frozen=True, slots=True)
class BenchmarkRow:
    """A category or a subject: its questions, and everybody's share with its interval."""

    label: str
    questions: str
    cells: Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class AgainstRow:
    """A challenger's difference from the first responder."""

    responder: str
    delta: str
    bounds: str
    outcomes: tuple[int, int, int]
    p: str
    tone: str


@dataclass(frozen=True, slots=True)
class BenchmarkPart:
    """One benchmark's tables.

    Attributes:
        title: with what was asked.
        notes: how it was asked, and what was left out.
        rows: all questions, the mean of subjects, the categories.
        subjects: one row each.
        against: the challengers' differences.
    """

    title: str
    notes: Sequence[str]
    rows: Sequence[BenchmarkRow]
    subjects: Sequence[BenchmarkRow]
    against: Sequence[AgainstRow]


def benchmark_parts(all_scores: Sequence[Scores], texts: Texts) -> list[BenchmarkPart]:
    """Everything that was asked, in the order in which it was named."""
    found = scores_json(all_scores)
    return [_part(one, found[one.benchmark.key], texts) for one in all_scores]


def _part(one: Scores, found: Mapping[str, Any], texts: Texts) -> BenchmarkPart:
    def row(label: str, subjects: Sequence[str] | None) -> BenchmarkRow:
        tallies = [one.tally(name, subjects) for name in one.responders]
        return BenchmarkRow(label, f"{tallies[0].questions:,}", [_cell(each) for each in tallies])

    means = [(percent(one.mean_of_subjects(name)), "") for name in one.responders]
    rows = [
        row(texts("benchmarks.all"), None),
        BenchmarkRow(texts("benchmarks.mean"), "", means),
        *(row(texts.label("category", name), has) for name, has in one.categories.items()),
    ]
    return BenchmarkPart(
        one.benchmark.title,
        _notes(one, texts),
        rows,
        [row(_named(one, key, texts), [key]) for key in one.subjects],
        [_against(one, name, seen) for name, seen in found["against"].items()],
    )


def _named(one: Scores, key: str, texts: Texts) -> str:
    """A subject in the page's language, as far as it was published in it."""
    return one.benchmark.names[key] if texts.language == "zh" else key.replace("_", " ")


def _cell(tally: Tally) -> tuple[str, str]:
    low, high = tally.interval
    return percent(tally.share), f"{percent(low)} … {percent(high)}"


def _against(one: Scores, name: str, seen: Mapping[str, Any]) -> AgainstRow:
    low, high = seen["interval"]
    same = len(one.benchmark.questions) - seen["gained"] - seen["lost"]
    return AgainstRow(
        name,
        points(seen["delta"]),
        f"{points(low)} … {points(high)}",
        (seen["gained"], same, seen["lost"]),
        p_text(seen["p_holm"]).removeprefix("=\u00a0"),
        "good" if low > 0 else "bad" if high < 0 else "flat",
    )


def _notes(one: Scores, texts: Texts) -> list[str]:
    asked = one.benchmark
    how = texts(
        "benchmarks.likelihood" if asked.by_letter else "benchmarks.answer",
        questions=f"{len(asked.questions):,}",
        split=asked.split,
        shots=asked.shots,
    )
    notes = [how]
    if asked.shortened:
        notes.append(texts("benchmarks.shortened", count=asked.shortened))
    if asked.left_out:
        notes.append(texts("benchmarks.left_out", count=asked.left_out))
    for name in one.responders:
        if count := one.unread(name):
            notes.append(texts("benchmarks.unread", model=name, count=count))
    return notes
