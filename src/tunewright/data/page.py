"""What the report's template shows, worked out beforehand: the template holds no logic."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import groupby
from typing import Any

from markupsafe import Markup, escape

from tunewright.core.messages import SPLITS
from tunewright.data import advice, charts
from tunewright.data.advice import Advice
from tunewright.data.labels import Words

_REASONS = 9
_BARS = 12
_FILES = 5
_SIZE_CHECKS = ("size", "diversity")
_WORD = re.compile(r"\s+|[a-zA-Z]+|\d|.", re.DOTALL)
_LEAST_ALIKE = 0.3
_ICONS = {"stop": "✕", "care": "!", "info": "i", "ready": "✓"}
Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Choice:
    """One thing that can be done about a finding."""

    name: str
    does: str
    taken: bool
    recommended: bool
    option: str


@dataclass(frozen=True, slots=True)
class Side:
    """One row of an example: where it stands, and its text."""

    place: str
    text: Markup


@dataclass(frozen=True, slots=True)
class Bar:
    """A name with its count and the share of the largest bar, in percent."""

    label: str
    count: int
    share: float
    percent: str


@dataclass(frozen=True, slots=True)
class Card:
    """One finding."""

    icon: str
    advice: Advice
    rows: int
    percent: str
    choices: Sequence[Choice]
    examples: Sequence[tuple[Side, ...]]
    bars: Sequence[tuple[str, Sequence[Bar]]]
    sizes: Sequence[tuple[str, Markup]]


def shown(report: Row, words: Words) -> dict[str, Any]:
    """Everything that the template needs beside the report itself."""
    findings = advice.by_level(report["findings"])
    titles = {found["check"]: found["title"][words.labels["language"]] for found in findings}
    return {
        "icons": _ICONS,
        "files_open": _FILES,
        "reasons": advice.reasons(report, words),
        "remarks": advice.remarks(report, words),
        "next_command": advice.next_command(report),
        "flow_chart": flow_chart(report, words),
        "flow_rows": flow_rows(report, words),
        "changed": [(titles.get(check, check), n) for check, n in report["changed"].items()],
        "cards": [card(found, report["rows"]["read"], words) for found in findings],
        "size_advice": [
            advice.on_finding(found, words) for found in findings if found["check"] in _SIZE_CHECKS
        ],
        "lengths_chart": lengths_chart(report, words),
        "supervised_chart": supervised_chart(report, words),
        "split_rows": split_rows(report),
        "slices": bars(report["slices"]),
        "mixed": bars(report["mixed_by_set"]),
        "labels": label_bars(report["labels"]),
        "examples": [
            {**row, "parts": [{**part, "html": tokens(part["pieces"])} for part in row["parts"]]}
            for row in report["examples"]
        ],
        "dropped": [
            (words.reasons.get(reason, reason), report["rows"]["dropped"][reason], rows)
            for reason, rows in report["dropped_examples"].items()
        ],
        "changed_rows": [
            (titles.get(check, check), report["changed"][check], rows)
            for check, rows in report["changed_examples"].items()
        ],
        "encoding_reason": lambda kind: words.facts.get(kind, kind),
    }


def percent(count: int, whole: int) -> str:
    """``12.3 %``; what is there but hardly to be seen is ``< 0.1 %``."""
    share = 100 * count / max(1, whole)
    if 0 < share < 0.05:
        return "< 0.1\u00a0%"
    if 99.95 <= share < 100:
        return "> 99.9\u00a0%"
    return f"{share:.1f}\u00a0%"


# Where every row went ----------------------------------------------------------------------------


def _streams(report: Row, words: Words) -> list[charts.Stream]:
    rows, labels = report["rows"], words.labels
    kept = [charts.Part(labels[split], report["splits"][split], split) for split in SPLITS]
    dropped = [
        charts.Part(words.reasons.get(reason, reason), count, "dropped")
        for reason, count in sorted(rows["dropped"].items(), key=lambda item: -item[1])
    ]
    if len(dropped) > _REASONS:
        rest = sum(part.count for part in dropped[_REASONS - 1 :])
        label = labels["other_reasons"].format(count=len(dropped) - _REASONS + 1)
        dropped = [*dropped[: _REASONS - 1], charts.Part(label, rest, "dropped")]
    merged = charts.Part(labels["merged_into"], rows["merged"], "merged")
    return [
        charts.Stream(labels["kept"], "kept", kept),
        charts.Stream(labels["merged"], "merged", [merged]),
        charts.Stream(labels["left_out"], "dropped", dropped),
    ]


def flow_rows(report: Row, words: Words) -> list[tuple[str, str, int, str, float]]:
    """The flow as a table: ``(label, style, rows, percent as text, percent)``; it adds up."""
    read = report["rows"]["read"]
    return [
        (part.label, part.style, part.count, percent(part.count, read), 100 * part.count / read)
        for stream in _streams(report, words)
        for part in stream.parts
        if part.count
    ]


def flow_chart(report: Row, words: Words) -> Markup:
    """The flow as a picture."""
    read = charts.Part(words.labels["rows_read"], report["rows"]["read"], "read")
    told = ", ".join(f"{label} {count:,}" for label, _, count, _, _ in flow_rows(report, words))
    return charts.flow(read, _streams(report, words), f"{read.label} {read.count:,}: {told}")


# Findings ----------------------------------------------------------------------------------------


def card(finding: Row, read: int, words: Words) -> Card:
    """One finding as the page shows it."""
    language = words.labels["language"]
    does = {action: texts[language] for action, texts in finding["does"].items()}
    option, actions = finding["option"], finding["actions"]
    choices = [
        Choice(
            action,
            does[action],
            action == finding["action"],
            action == actions[0],
            f"--set {option}={action}" if option else "",
        )
        for action in actions
    ]
    figures = _figures(finding["figure"] or {}, words)
    return Card(
        _ICONS[finding["level"]],
        advice.on_finding(finding, words),
        finding["rows"],
        percent(finding["rows"], read),
        choices if len(choices) > 1 else [],
        [_sides(example, words) for example in finding["examples"]],
        [
            (title, bars(values))
            for title, values in figures
            if isinstance(values, Mapping) and any(values.values())
        ],
        [
            (title, charts.sizes(values, title or finding["title"][language]))
            for title, values in figures
            if not isinstance(values, Mapping) and values
        ],
    )


def _figures(figure: Row, words: Words) -> list[tuple[str, Mapping[str, int] | Sequence[int]]]:
    """A finding's figure as titled charts.

    A figure is ``{name: count}`` or ``{title: values}``, values being ``{name: count}``,
    ``[[name, count]]`` or ``[count]``. The words name what is not the user's own.
    """
    plain = {str(k): v for k, v in figure.items() if isinstance(v, int)}
    found: list[tuple[str, Mapping[str, int] | Sequence[int]]] = [("", plain)] if plain else []
    for key, values in figure.items():
        title = words.labels.get(f"figure_{key}", str(key))
        if isinstance(values, Mapping):
            names = {k: words.labels.get(f"figure_{key}_{k}", str(k)) for k in values}
            found.append((title, {names[k]: v for k, v in values.items()}))
        elif isinstance(values, Sequence) and not isinstance(values, str):
            pairs = [value for value in values if isinstance(value, Sequence)]
            found.append((title, {str(pair[0]): pair[1] for pair in pairs} if pairs else values))
    return found


def bars(counts: Mapping[str, int]) -> list[Bar]:
    """Counts as bars in their own order, at most a dozen; nothing is no bar."""
    largest, whole = max(counts.values(), default=1), sum(counts.values())
    return [
        Bar(label, count, 100 * count / largest, percent(count, whole))
        for label, count in list(counts.items())[:_BARS]
        if count
    ]


def label_bars(labels: Mapping[str, Mapping[str, int]]) -> list[tuple[str, int, list[Any]]]:
    """``(label, rows, [(split, rows, percent of the largest label)])``, at most a dozen."""
    largest = max((sum(splits.values()) for splits in labels.values()), default=1)
    return [
        (
            label,
            sum(splits.values()),
            [(split, count, 100 * count / largest) for split, count in splits.items() if count],
        )
        for label, splits in list(labels.items())[:_BARS]
    ]


def _sides(example: Row, words: Words) -> tuple[Side, ...]:
    place = words.labels["place"].format
    here = place(file=example["file"], row=example["row"])
    if not example["other"]:
        return (Side(here, escape(example["text"])),)
    file, row, text = example["other"]
    left, right = compared(example["text"], text)
    return Side(here, left), Side(place(file=file, row=row), right)


def compared(left: str, right: str) -> tuple[Markup, Markup]:
    """Two texts as HTML, escaped, with ``<mark>`` around what the other one does not have.

    Texts that have little in common stay unmarked: their difference is all of them.
    """
    a, b = _WORD.findall(left), _WORD.findall(right)
    matcher = SequenceMatcher(a=a, b=b, autojunk=False)
    if matcher.ratio() < _LEAST_ALIKE:
        return escape(left), escape(right)
    blocks = matcher.get_matching_blocks()
    same_a = {block.a + offset for block in blocks for offset in range(block.size)}
    same_b = {block.b + offset for block in blocks for offset in range(block.size)}
    return _marked(a, same_a), _marked(b, same_b)


def _marked(words: Sequence[str], same: set[int]) -> Markup:
    runs = groupby(range(len(words)), key=same.__contains__)
    return Markup("").join(
        escape(text) if plain else Markup("<mark>{}</mark>").format(text)
        for plain, places in runs
        for text in ["".join(words[place] for place in places)]
    )


# Tokens and lengths ------------------------------------------------------------------------------


def lengths_chart(report: Row, words: Words) -> Markup:
    """Tokens per row, with the median, the 95th percentile and the longest row allowed."""
    found, labels = report["tokens"], words.labels
    markers = [
        charts.Marker(found["p50"], f"{labels['median']} {found['p50']:,}"),
        charts.Marker(found["p95"], f"{labels['p95']} {found['p95']:,}"),
        charts.Marker(report["limit"], f"{labels['limit']} {report['limit']:,}", "limit"),
    ]
    return charts.histogram(found["histogram"], labels["lengths"], "all", markers)


def supervised_chart(report: Row, words: Words) -> Markup:
    """Learned tokens per row."""
    found = report["tokens"]["supervised_histogram"]
    return charts.histogram(found, words.labels["supervised"], "learned", [])


def split_rows(report: Row) -> list[tuple[str, int, str, int]]:
    """``(split, rows, percent of the kept rows, distinct questions)``."""
    kept = report["rows"]["kept"]
    return [
        (name, report["splits"][name], percent(report["splits"][name], kept), groups)
        for name, groups in report["split_groups"].items()
    ]


def tokens(pieces: Sequence[tuple[str, bool]]) -> Markup:
    """Tokens as one ``<span>`` each, the learned ones marked; line ends get a visible sign."""
    sign = Markup('<i aria-hidden="true">↵</i>\n')
    return Markup("").join(
        Markup("<span{}>{}</span>").format(
            Markup(' class="learned"') if learned else "", escape(text).replace("\n", sign)
        )
        for text, learned in pieces
    )
