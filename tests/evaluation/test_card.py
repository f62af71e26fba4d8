"""The model card: Markdown with the verdict, the scores and what repeats them."""

from __future__ import annotations

from typing import Any

import pytest

from tunewright.core.markdown import plain
from tunewright.core.records import Dataset
from tunewright.evaluation.card import card
from tunewright.evaluation.results import Results
from tunewright.evaluation.texts import Texts

from .test_report import report_of, results

__all__ = ["results"]


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_card_says_what_the_page_says(
    results: Results, dataset: Dataset, language: str
) -> None:
    report, texts = report_of(results, dataset, language), Texts(language)
    found = card(report, texts)
    assert found.startswith("# ")
    assert f"**{texts(f'verdict.{report.record.verdict}')}**" in found
    for gate in report.gates:
        assert plain(gate.evidence) in found
    for name in results.challengers:
        assert f"### {plain(name)}" in found
    assert dataset.digest in found.replace("\\", "")
    # Every line of a table has as many cells as its head.
    tables = [line for line in found.splitlines() if line.startswith("|")]
    assert len({line.replace("\\|", "").count("|") for line in tables}) == 1
    assert any("…" in line for line in tables)


def test_one_responder_alone_has_a_card(make_results: Any, dataset: Dataset) -> None:
    results = make_results(base=[True, False])
    found = card(report_of(results, dataset), Texts("en"))
    assert "Score" in found
