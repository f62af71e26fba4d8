"""Benchmarks in the report: both languages, escaped, and nothing where none was asked."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from tunewright.config.serving import GenerationConfig
from tunewright.core.messages import conversation
from tunewright.evaluation.answers import Question
from tunewright.evaluation.benchmarks.questions import Benchmark
from tunewright.evaluation.benchmarks.scores import Scores
from tunewright.evaluation.page_benchmarks import benchmark_parts
from tunewright.evaluation.responders.base import Said
from tunewright.evaluation.texts import Texts


def scores() -> Scores:
    questions = [
        Question(f"law/{n}", conversation(("user", "?")), "A", "college_law", f"law/{n}")
        for n in range(40)
    ]
    how = GenerationConfig(choices=("A", "B", "C", "D"))
    categories = {"Humanities": ["college_law"], "China specific": ["other"]}
    names = {"college_law": "大学法律"}
    asked = Benchmark("cmmlu", "CMMLU", "test", questions, categories, names, how, 5, 3, 2)
    said = {
        "base": [Said("A" if n < 30 else "B", "stop") for n in range(40)],
        "<b>tuned": [Said("A" if n < 10 else "?", "stop") for n in range(40)],
    }
    return Scores(asked, said)


@pytest.mark.parametrize(
    ("language", "words"),
    [
        ("en", ["All questions", "Mean of subjects", "Humanities", "college law", "3 of them"]),
        ("zh", ["全部题目", "各科目平均", "人文", "大学法律", "其中 3 道"]),
    ],
)
def test_rows_and_notes(language: str, words: list[str]) -> None:
    part = benchmark_parts([scores()], Texts(language))[0]
    labels = [row.label for row in (*part.rows, *part.subjects)]
    assert labels == words[:4]
    assert any(words[4] in note for note in part.notes)
    assert len(part.notes) == 4  # how, shortened, left out, answers without a letter
    assert part.rows[0].cells[0][0] == "75.0%"
    assert part.rows[0].cells[1][0] == "25.0%"
    (row,) = part.against
    assert (row.delta, row.outcomes, row.tone) == ("−50.0", (0, 20, 20), "bad")
    assert row.p == "<\u00a00.001"


def test_the_whole_page_holds_them(make_results: Any) -> None:
    results = make_results(base=[True] * 20, **{"<b>tuned": [True] * 20})
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("tunewright.evaluation"), autoescape=True, undefined=StrictUndefined
    )
    texts = Texts("en")
    shown = dataclasses.replace(results, benchmarks=[scores()])
    html = environment.get_template("benchmarks.html.j2").render(
        t=texts, results=shown, benchmarks=benchmark_parts(shown.benchmarks, texts)
    )
    assert "CMMLU" in html
    assert "&lt;b&gt;tuned" in html
    assert "<b>tuned" not in html
