"""The report in a few lines of plain text, for a terminal."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Mapping
from typing import Any

from tunewright.data import advice
from tunewright.data.advice import Advice
from tunewright.data.labels import Words

_SIGNS = {"stop": "✕", "care": "!", "info": "·"}
_UNSEEN = frozenset({"Cc", "Cf", "Cs", "Co", "Zl", "Zp"})


def report_lines(report: Mapping[str, Any], words: Words) -> list[str]:
    """Verdict, counts, each finding with what was done, lengths, and what to do next.

    The lines hold no markup and no control characters, whatever the data held.
    """
    return [inert(line) for line in _lines(report, words)]


def inert(text: str) -> str:
    """Text with control and invisible format characters shown as U+FFFD: a terminal obeys some."""
    return "".join(
        "\ufffd" if unicodedata.category(character) in _UNSEEN else character for character in text
    )


def _lines(report: Mapping[str, Any], words: Words) -> Iterator[str]:
    labels = words.labels
    yield f"{_mark(report['verdict'])} {labels[report['verdict']]}"
    yield from _counts(report, words)
    for reason in advice.reasons(report, words):
        if not reason.title:
            yield from _said(reason, words)
    for finding in advice.by_level(report["findings"]):
        yield from _said(advice.on_finding(finding, words), words)
    for remark in advice.remarks(report, words):
        yield from _said(remark, words)
    yield labels["token_line"].format(limit=report["limit"], **_plain(report["tokens"]))
    command = advice.next_command(report)
    yield f"{labels['next']}{labels['colon']}{command}" if command else labels["next_stop"]


def _counts(report: Mapping[str, Any], words: Words) -> Iterator[str]:
    rows, labels = report["rows"], words.labels
    yield "  " + labels["kept_rows"].format(
        kept=rows["kept"], read=rows["read"], **report["splits"]
    )
    more = (
        ("merged_rows", rows["merged"]),
        ("changed_count", rows["changed"]),
        ("mixed_rows", report["mixed"]),
    )
    yield from (f"  {labels[name].format(rows=count)}" for name, count in more if count)
    if rows["dropped"]:
        yield "  " + labels["left_out_rows"].format(count=sum(rows["dropped"].values()))
    for reason, count in sorted(rows["dropped"].items(), key=lambda item: -item[1]):
        yield f"  {count:>9,}  {words.reasons.get(reason, reason)}"


def _said(one: Advice, words: Words) -> Iterator[str]:
    heading = f"{one.title}{words.labels['colon']}" if one.title else ""
    yield f"{_mark(one.level)} {heading}{one.text}"
    how = [part for part in (one.done, one.otherwise, one.setting, one.more) if part]
    if how:
        yield f"    {' '.join(how)}"


def _mark(level: str) -> str:
    return _SIGNS.get(level, "✓")


def _plain(tokens: Mapping[str, Any]) -> dict[str, int]:
    return {name: value for name, value in tokens.items() if isinstance(value, int)}
