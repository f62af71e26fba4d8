from __future__ import annotations

import dataclasses
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tunewright.core.messages import conversation
from tunewright.core.records import Dataset, Evaluation, Model, Run
from tunewright.evaluation.answers import Question
from tunewright.evaluation.asked import Asked
from tunewright.evaluation.gates.table import gates_json, judge, verdict_of
from tunewright.evaluation.lineage import Curve, Origin
from tunewright.evaluation.marking import marked
from tunewright.evaluation.page_answers import MOST_ANSWERS, answer_rows
from tunewright.evaluation.report import Report, render, summary
from tunewright.evaluation.results import Results
from tunewright.evaluation.texts import Texts

if TYPE_CHECKING:
    from playwright.sync_api import Browser

HOSTILE = "</td><script>window.hacked=1</script><img src=x onerror=window.hacked=1>\"'{{ 7*7 }}"


def report_of(results: Results, dataset: Dataset, language: str = "en") -> Report:
    gates = judge(results, dataset, Texts(language))
    record = Evaluation(
        id="ev_000000000001",
        created=0.0,
        version="1",
        dataset=dataset.id,
        models=results.responders,
        config=results.config.json_dict(),
        scores=results.scores(),
        deltas=results.field_of("delta"),
        intervals=results.field_of("interval"),
        general=results.general_shares(),
        gates=gates_json(gates),
        verdict=verdict_of(gates),
        report="report.html",
    )
    run = Run(
        id="run_000000000001",
        dataset=dataset.id,
        base="base",
        config={"epochs": 3.0, "lora": {"rank": 8, "targets": [HOSTILE]}, "max_steps": None},
        state="succeeded",
    )
    model = Model(
        id="mdl_000000000001",
        name="tuned",
        base="base",
        base_digest="d" * 64,
        renderer_hash="r",
        run=run.id,
        step=20,
    )
    origins = [
        Origin(name, "base", "d" * 64, *((model, run, 20) if name == "tuned" else ()))
        for name in results.responders
    ]
    curve = Curve([(step, 3 / step) for step in range(1, 30)], [(10, 0.4), (20, 0.2)])
    curves = [(origin, curve) for origin in origins if origin.run]
    return Report(record, results, gates, dataset, origins, curves, "f" * 64)


@pytest.fixture
def results(make_results: Any) -> Results:
    made: Results = make_results(
        general={"base": [True] * 60, "tuned": [True] * 59 + [False]},
        slices=("easy", "hard"),
        seen=[True] * 10,
        base=[False] * 40,
        tuned=[True] * 30 + [False] * 10,
    )
    return made


class Page(HTMLParser):
    """Collects what a page would load and checks that tags are closed in order."""

    VOID = ("meta", "link", "input", "br", "img")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.loads: list[str] = []
        self.tags: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.loads += [value or "" for name, value in attrs if name in ("src", "href")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_page_is_whole_and_fetches_nothing(
    results: Results, dataset: Dataset, language: str
) -> None:
    text = render(report_of(results, dataset, language), Texts(language))
    page = Page(text)
    assert text.startswith("<!doctype html>")
    assert page.open == []
    assert page.loads == ["data:,"]
    assert "http://" not in text
    assert "https://" not in text
    assert re.findall(r"url\(|@import", text) == []
    assert page.tags.count("section") == 7
    sentences = {
        "en": ("tuned is better than base: 75.0% of the test questions", "No general rows"),
        "zh": ("tuned 优于 base：测试题答对率 75.0%", "训练集没有混入通用数据"),
    }
    for sentence in sentences[language]:
        assert sentence in text
    assert (Texts("en" if language == "zh" else "zh")("answers") in text) is False


def hostile(results: Results) -> Results:
    """The same results with markup in every text that comes from outside."""
    question = Question("0", conversation(("user", HOSTILE)), HOSTILE, HOSTILE, HOSTILE)
    test = Asked(
        [question, *results.test.questions[1:]],
        {
            name: [dataclasses.replace(answers[0], text=HOSTILE + "x"), *answers[1:]]
            for name, answers in results.test.answers.items()
        },
        results.test.metrics,
    )
    return dataclasses.replace(results, test=test)


def test_outside_text_is_shown_never_obeyed(results: Results, dataset: Dataset) -> None:
    strange = dataset.model_copy(update={"name": HOSTILE, "files": (HOSTILE,)})
    text = render(report_of(hostile(results), strange), Texts("en"))
    page = Page(text)
    assert page.tags.count("script") == 1
    assert page.tags.count("img") == 0
    assert "{{ 7*7 }}" in text
    assert "49" not in re.sub(r"<style>.*?</style>|<svg.*?</svg>", "", text, flags=re.DOTALL)


def test_one_responder_alone_still_makes_a_page(make_results: Any, dataset: Dataset) -> None:
    alone = make_results(base=[True, False])
    text = render(report_of(alone, dataset), Texts("en"))
    assert Page(text).open == []
    assert "base was asked alone" in text


def test_several_challengers_are_all_shown(make_results: Any, dataset: Dataset) -> None:
    many = make_results(base=[False] * 12, first=[True] * 12, tuned=[False] * 12)
    text = render(report_of(many, dataset), Texts("en"))
    assert Page(text).tags.count("select") == 1
    assert "tuned is not better than base" in text


def test_a_refusal_of_another_gate_is_in_the_headline(make_results: Any, dataset: Dataset) -> None:
    forgot = {"base": [True] * 20, "tuned": [False] * 20}
    made = make_results(general=forgot, base=[False] * 20, tuned=[True] * 20)
    text = render(report_of(made, dataset), Texts("en"))
    assert "is better than base" in text
    assert "this gate said no: Forgetting" in text


def test_a_gate_that_the_verdict_waits_for_is_in_the_headline(
    make_results: Any, dataset: Dataset
) -> None:
    few = {"base": [True] * 20, "tuned": [True] * 20}
    made = make_results(general=few, base=[False] * 20, tuned=[True] * 20)
    report = report_of(made, dataset)
    assert report.record.verdict == "not enough evidence"
    text = render(report, Texts("en"))
    assert "is better than base" in text
    assert "cannot be answered yet: Forgetting" in text


def test_equal_results_make_equal_pages(results: Results, dataset: Dataset) -> None:
    first, second = (render(report_of(results, dataset), Texts("en")) for _ in range(2))
    assert first == second


def test_the_summary_is_plain_json(make_results: Any, results: Results, dataset: Dataset) -> None:
    shown = json.loads(json.dumps(summary(report_of(results, dataset)), allow_nan=False))
    assert shown["verdict"] == "pass"
    assert shown["headline"] == "exact"
    assert shown["questions"] == {"easy": 20, "hard": 20, "all": 40}
    assert shown["comparisons"]["tuned"]["exact"]["all"]["wins"] == 30
    assert shown["general_by_kind"]["tuned"]["exact"]["all"]["losses"] == 1
    assert shown["seen"] == {"base": 0.0, "tuned": 1.0}
    single = make_results(base=[False] * 3, tuned=[True] * 3, group_size=3)
    one_group = summary(report_of(single, dataset))
    assert one_group["comparisons"]["tuned"]["exact"]["all"]["standard_error"] is None
    json.dumps(one_group, allow_nan=False)


def test_a_long_list_keeps_the_changed_questions(make_results: Any) -> None:
    count = MOST_ANSWERS + 50
    changed = [False] * (count - 20) + [True] * 20
    rows = answer_rows(make_results(base=[False] * count, tuned=changed), Texts("en"))
    assert len(rows) == MOST_ANSWERS
    assert sum(list(row.outcomes) == ["win"] for row in rows) == 20


def test_marks_show_what_the_reference_lacks() -> None:
    assert marked("应当支付三倍工资", "应当支付双倍工资") == "应当支付<mark>三</mark>倍工资"
    assert marked("Two  MONTHS.", "two months") == "Two  MONTHS."
    assert marked("a <b> c", "a c") == "a <mark>&lt;b&gt; </mark>c"
    assert marked("x" * 3, "y") == "<mark>xxx</mark>"
    long = "字 " * 2000
    assert "<mark>" not in marked(long + "<", long)


def test_answers_carry_their_cut(make_results: Any, dataset: Dataset) -> None:
    made = make_results(base=[False] * 12, tuned=[False] * 12, finish="length", wrong="")
    text = render(report_of(made, dataset), Texts("en"))
    assert text.count('class="cut"') == 24
    assert text.count("(empty)") == 24


def test_the_page_filters_in_a_browser(
    results: Results, dataset: Dataset, browser: Browser, tmp_path: Path
) -> None:
    path = tmp_path / "report.html"
    path.write_text(render(report_of(hostile(results), dataset), Texts("en")), encoding="utf-8")
    problems: list[str] = []
    page = browser.new_page()
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda message: problems.append(message.text))
    page.goto(path.as_uri())
    shown = page.locator("#answers tbody tr:visible")
    counts = dict.fromkeys(("all", "win", "tie", "loss"), 0)
    for name in counts:
        page.click(f"button[value={name}]")
        counts[name] = shown.count()
    page.click("button[value=all]")
    page.fill("input[type=search]", "QUESTION 39")
    found = shown.count()
    page.fill("input[type=search]", "nowhere to be found")
    nothing = page.locator(".none").is_visible()
    hacked = page.evaluate("window.hacked")
    assert counts == {"all": 40, "win": 30, "tie": 10, "loss": 0}
    assert (found, nothing, hacked) == (1, True, None)
    assert problems == []
