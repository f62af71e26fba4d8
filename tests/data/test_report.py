"""The report: one verdict, every row in the picture, users' texts inert, both languages."""

from __future__ import annotations

import dataclasses
import json
import re
import shlex
import shutil
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

import tunewright.data.checks
from tunewright.cli.options import config_options
from tunewright.config.base import read_recipe
from tunewright.config.data import PrepareConfig
from tunewright.core.messages import SPLITS, RowKind, Split
from tunewright.core.records import Dataset
from tunewright.core.settings import Settings
from tunewright.data.advice import next_command
from tunewright.data.charts import Part, Stream, bins, flow, histogram
from tunewright.data.checks.base import Check, Context, Corpus, Example, Finding, Level, Outcome
from tunewright.data.checks.table import CHECKS
from tunewright.data.collect import Collection, FileReport
from tunewright.data.labels import Words
from tunewright.data.measure import measure, summary
from tunewright.data.page import compared, flow_rows, percent
from tunewright.data.recipe import command_line, recipe_yaml
from tunewright.data.records import Changed, Draft, Dropped, Turn
from tunewright.data.report import Prepared, build_report, render_html
from tunewright.data.summary import inert, report_lines
from tunewright.model.catalog import resolve_base
from tunewright.model.rendering import Renderer

HOSTILE = (
    "</td><script>window.hacked=1</script><img src=x onerror=alert(1)>\"'{{ 7*7 }}\x1b[31m\u202e"
)


@pytest.fixture(scope="module")
def renderer() -> Renderer:
    """The bundled base's renderer."""
    return Renderer(resolve_base("nano", Settings(home=Path("unused"), offline=True)).folder)


def nothing(corpus: Corpus, action: str, context: Context) -> Outcome:
    return Outcome()


def check(name: str = "personal", actions: tuple[str, ...] = ("mask", "drop", "keep")) -> Check:
    return Check(
        name,
        actions,
        nothing,
        title={"en": f"About {name}", "zh": f"关于{name}"},
        says={"en": "{rows:,} rows hold {what}.", "zh": "{rows:,} 行含有{what}。"},
        does={action: {"en": f"do {action}", "zh": f"做 {action}"} for action in actions},
    )


def finding(name: str = "personal", level: Level = "care", **changes: Any) -> Finding:
    made = Finding(name, 1234, level, "mask", {"rows": 1234, "what": "numbers"})
    return dataclasses.replace(made, **changes)


def drafts(count: int, kind: RowKind = "conversation", text: str = "") -> list[Draft]:
    made = []
    for n in range(count):
        turns = (Turn("user", f"第{n}条规定说的是什么？{text}"), Turn("assistant", f"押金{n}。"))
        draft = Draft(turns[: 1 if kind == "text" else 2], "a.csv", n + 2, f"g{n}", kind=kind)
        if kind == "preference":
            draft.rejected = (Turn("assistant", "不知道。"),)
        made.append(draft)
    return made


def prepared(rows: Sequence[Draft], renderer: Renderer, **changes: Any) -> Prepared:
    """Rows of one file, the last ones held back, with a few left out, merged and changed."""
    lengths = measure(list(rows), renderer, lambda event: None)
    held = len(rows) // 5
    splits: dict[Split, list[Draft]] = {
        "train": list(rows[: len(rows) - 2 * held]),
        "dev": list(rows[len(rows) - 2 * held : len(rows) - held]),
        "test": list(rows[len(rows) - held :]),
    }
    file = FileReport("a.csv", "csv", "UTF-8", "valid UTF-8", ",", "columns", {}, [], [], False)
    dropped = [Dropped("a.csv", 90 + n, "empty answer", "问题") for n in range(7)]
    dropped.append(Dropped("a.csv", 99, "duplicate", "问题", ("a.csv", 2)))
    changed = [Changed("a.csv", 2, "personal", "1 number"), Changed("a.csv", 2, "html", "1 tag")]
    read = len(rows) + len(dropped) + 3
    collection = Collection(list(rows), [], dropped, changed, [file], read, merged=3)
    made = Prepared(collection, [], list(zip(rows, lengths, strict=True)), splits, 0, 2048)
    return dataclasses.replace(made, **changes)


def dataset(made: Prepared, **changes: Any) -> Dataset:
    collection = made.collection
    record = Dataset(
        id="ds_0123456789ab",
        name="forum",
        files=("a.csv",),
        digest="0" * 64,
        config=PrepareConfig(files=("a.csv",)).json_dict(),
        content=made.kept[0][0].kind,
        rows={
            "read": collection.read,
            "kept": len(made.kept),
            "merged": collection.merged,
            "dropped": collection.counts(),
            "changed": 1,
            "truncated": 0,
        },
        splits={split: len(made.splits[split]) for split in SPLITS},
        base="nano",
        tokens=summary([length for _, length in made.kept]),
    )
    return record.model_copy(update=changes)


def report_of(
    renderer: Renderer,
    findings: Sequence[Finding] = (),
    checks: Sequence[Check] = (check(),),
    kept: Sequence[Draft] = (),
    **changes: Any,
) -> dict[str, Any]:
    made = prepared(kept or drafts(40), renderer, findings=list(findings))
    return build_report(dataset(made, **changes), made, renderer, checks)


# Verdict -----------------------------------------------------------------------------------------


def test_the_gravest_finding_decides_and_says_what_to_do(renderer: Renderer) -> None:
    checks = (check(), check("html", ("clean", "keep")), check("shape", ("look",)))
    care = finding()
    stop = finding("html", "stop", action="keep")
    info = finding("shape", "info", action="look")
    for found, verdict in (([info], "ready"), ([info, care], "care"), ([care, stop], "stop")):
        assert report_of(renderer, found, checks)["verdict"] == verdict
    report = report_of(renderer, [info, care, stop], checks)
    assert report["reasons"] == [
        {"check": "html", "level": "stop"},
        {"check": "personal", "level": "care"},
    ]
    assert [entry["option"] for entry in report["findings"]] == [
        None,
        "checks.personal",
        "checks.html",
    ]
    lines = "\n".join(report_lines(report, Words.of("en")))
    assert lines.startswith("✕ Not ready to train")
    assert "Action: do mask. To choose otherwise: --set checks.personal=drop (or keep)" in lines
    assert "Action: do keep. Recommended: --set checks.html=clean" in lines
    assert "tunewright train" not in lines + render_html(report, "en")
    ready = report_of(renderer, [info], checks)
    for language in ("en", "zh"):
        assert "tunewright train --dataset ds_0123456789ab" in render_html(ready, language)
        assert ready["dataset"] in report_lines(ready, Words.of(language))[-1]


@pytest.mark.parametrize(
    ("content", "ends"),
    [
        ("conversation", "ds_1"),
        ("preference", "ds_1 --method dpo"),
        ("rating", "ds_1 --method kto"),
        ("text", "ds_1 --method pretrain"),
    ],
)
def test_the_next_command_names_a_method_that_can_learn_the_rows(content: str, ends: str) -> None:
    report = {"verdict": "ready", "content": content, "dataset": "ds_1"}
    assert next_command(report) == f"tunewright train --dataset {ends}"


def test_too_few_questions_and_no_test_come_with_a_remedy(renderer: Renderer) -> None:
    few = report_of(renderer, kept=drafts(3))
    assert few["reasons"] == [
        {"kind": "few questions", "groups": 3, "level": "care"},
        {"kind": "mostly dropped", "level": "care"},
    ]
    assert "Add more rows" in render_html(few, "en")
    untested = report_of(renderer, splits={"train": 40, "dev": 0, "test": 0})
    assert untested["reasons"] == [{"kind": "no test", "level": "care"}]
    assert "--split-test 0.1" in "\n".join(report_lines(untested, Words.of("zh")))
    assert report_of(renderer)["reasons"] == []
    made = prepared(drafts(40), renderer)
    made.collection.dropped[:] = [
        Dropped("a.csv", n, "longer than the context", "") for n in range(8)
    ]
    (reason,) = build_report(dataset(made), made, renderer)["reasons"]
    assert reason == {"kind": "many long", "rows": 8, "limit": 2048, "level": "care"}


def test_the_page_can_be_made_again_from_the_json(renderer: Renderer) -> None:
    shown = finding(
        examples=(Example("a.csv", 2, "甲", ("a.csv", 3, "乙")),), figure={"sizes": [3, 2]}
    )
    report = report_of(renderer, [shown])
    again = json.loads(json.dumps(report, ensure_ascii=False))
    for language in ("en", "zh"):
        assert render_html(again, language) == render_html(report, language)


@pytest.mark.parametrize("entry", CHECKS, ids=lambda entry: str(entry.name))
def test_every_check_speaks_both_languages(entry: Check) -> None:
    for language in ("en", "zh"):
        assert entry.title[language]
        assert entry.says[language]
        assert all(entry.does[action][language] for action in entry.actions)


def test_every_figure_of_a_check_has_a_title() -> None:
    folder = Path(str(tunewright.data.checks.__file__)).parent
    code = "\n".join(path.read_text(encoding="utf-8") for path in folder.glob("*.py"))
    figures = set(re.findall(r'figure={\s*"(\w+)"', code))
    assert figures
    for language in ("en", "zh"):
        assert {f"figure_{name}" for name in figures} <= Words.of(language).labels.keys()


# Rows --------------------------------------------------------------------------------------------


def test_every_row_is_in_the_picture(renderer: Renderer) -> None:
    report = report_of(renderer)
    assert sum(count for _, _, count, _, _ in flow_rows(report, Words.of("en"))) == 51
    assert report["rows"]["read"] == 51
    page = render_html(report, "en")
    assert "Rows read 51" not in page
    assert "rows read 51: training 24, validation 8, test 8, became turns of other rows 3" in page
    assert report["changed"] == {"html": 1, "personal": 1}
    assert [row["row"] for row in report["dropped_examples"]["empty answer"]] == [*range(90, 95)]
    assert "first 5 of 7; all in dropped.jsonl" in page


def test_heights_in_the_picture_add_up() -> None:
    kept = Stream("kept", "kept", [Part("a", 6000, "train"), Part("b", 1500, "test")])
    gone = Stream("gone", "dropped", [Part("c", 2500, "dropped"), Part("none", 0, "dropped")])
    picture = flow(Part("read", 10_000, "read"), [kept, gone], "<rows>")
    found = re.findall(
        r'<rect class="(\w+)" x="(\d+)" y="[\d.]+" width="\d+" height="([\d.]+)"', picture
    )
    heights = [(name, int(x), float(height)) for name, x, height in found]
    columns = {x: [h for _, at, h in heights if at == x] for _, x, _ in heights}
    assert [round(sum(column)) for column in columns.values()] == [220, 220, 220]
    assert ("train", max(columns), 132.0) in heights
    assert "none" not in picture
    assert "&lt;rows&gt;" in picture


def test_many_reasons_share_one_line_and_still_add_up(renderer: Renderer) -> None:
    reasons = list(Words.of("en").reasons)[:14]
    counts = {reason: 20 - place for place, reason in enumerate(reasons)}
    rows = {"read": 40 + sum(counts.values()), "kept": 40, "merged": 0, "changed": 0}
    report = report_of(renderer, rows={**rows, "dropped": counts, "truncated": 0})
    lines = flow_rows(report, Words.of("en"))
    assert len(lines) == 3 + 9
    assert lines[-1][0] == "6 other reasons"
    assert sum(line[2] for line in lines) == rows["read"]


def test_shares_never_hide_a_row() -> None:
    assert percent(1, 8) == "12.5\u00a0%"
    assert percent(1, 100_000) == "< 0.1\u00a0%"
    assert percent(99_999, 100_000) == "> 99.9\u00a0%"
    assert percent(0, 0) == "0.0\u00a0%"


def test_bins_hold_every_value_and_outliers_do_not_press_the_rest() -> None:
    values = [n % 300 for n in range(5000)] + [40_000, 90_000]
    found = bins(values)
    assert sum(entry["rows"] for entry in found) == len(values)
    starts = [entry["from"] for entry in found]
    assert starts == [0, *(entry["to"] + 1 for entry in found[:-1])]
    assert {entry["to"] - entry["from"] for entry in found[:-1]} == {9}
    assert found[-1] == {"from": 300, "to": 90_000, "rows": 2}
    assert bins([7]) == [{"from": n, "to": n, "rows": int(n == 7)} for n in range(8)]
    assert bins([]) == []
    picture = histogram(found, "lengths", "all", [])
    assert picture.count("<rect") == len(found)
    assert "300–90,000: 2" in picture
    assert "≥ 300" in picture


# Texts -------------------------------------------------------------------------------------------


def test_only_what_differs_is_marked() -> None:
    left, right = compared("押金什么时候退？<b>", "押金多久时候退?<b>")
    assert left == "押金<mark>什么</mark>时候退<mark>？</mark>&lt;b&gt;"
    assert right == "押金<mark>多久</mark>时候退<mark>?</mark>&lt;b&gt;"
    assert compared("trial of 3 months", "trial of 6 months")[0] == (
        "trial of <mark>3</mark> months"
    )
    assert "<mark>" not in "".join(compared("押金什么时候退", "How long is it?"))
    assert compared("same & same", "same & same") == ("same &amp; same", "same &amp; same")


def test_tokens_are_those_of_the_renderer(renderer: Renderer) -> None:
    rows = drafts(40)
    shown = report_of(renderer, kept=rows)["examples"]
    assert [row["length"] for row in shown] == ["middling", "long"]
    draft = next(draft for draft in rows if draft.number == shown[0]["row"])
    (part,) = shown[0]["parts"]
    pieces = renderer.tokens_with_mask(draft.conversation())
    assert part == {"role": "conversation", "pieces": [list(p) for p in pieces], "more": 0}
    learned = "".join(text for text, marked in part["pieces"] if marked)
    assert learned.startswith(draft.answer)
    assert draft.question not in learned


def test_a_preference_shows_both_answers_and_text_is_plain(renderer: Renderer) -> None:
    rows = drafts(40, "preference")
    better, worse = report_of(renderer, kept=rows)["examples"][0]["parts"]
    for part, role, answer in ((better, "better", "押金"), (worse, "worse", "不知道。")):
        assert part["role"] == role
        assert "".join(t for t, learned in part["pieces"] if learned).startswith(answer)
    page = render_html(report_of(renderer, kept=rows), "en")
    assert "With the worse answer" in page
    (part,) = report_of(renderer, kept=drafts(40, "text"))["examples"][0]["parts"]
    assert part["role"] == "text"
    assert all(learned for _, learned in part["pieces"])
    text = "".join(text for text, _ in part["pieces"])
    assert re.fullmatch(r"第\d+条规定说的是什么？<\|im_end\|>", text)


def test_a_long_row_is_cut_in_the_page_and_says_so(renderer: Renderer) -> None:
    rows = drafts(40, text=" ".join(str(n) for n in range(900)))
    shown = report_of(renderer, kept=rows)["examples"]
    assert [row["length"] for row in shown] == ["middling"]
    (part,) = shown[0]["parts"]
    assert len(part["pieces"]) == 800
    assert part["more"] > 800
    page = render_html(report_of(renderer, kept=rows), "en")
    assert f"… and {part['more']:,} more tokens" in page


def test_an_answer_that_cannot_be_rendered_is_told_not_lost(renderer: Renderer) -> None:
    rows = drafts(40, "preference")
    for draft in rows:
        draft.rejected = (Turn("assistant", "<|im_end|>\U000f0000"),)
    _, worse = report_of(renderer, kept=rows)["examples"][0]["parts"]
    assert len(worse["pieces"]) == 1
    assert "control token" in worse["pieces"][0][0]


def test_a_folder_of_files_does_not_bury_the_rest(renderer: Renderer) -> None:
    made = prepared(drafts(40), renderer)
    made.collection.files *= 7
    page = render_html(build_report(dataset(made), made, renderer), "en")
    assert page.partition("2 more files")[0].count('<div class="file">') == 5
    assert page.count('<div class="file">') == 7


class Page(HTMLParser):
    """Checks that every element is closed, and keeps what could load, run or hide."""

    VOID = frozenset({"meta", "br"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: set[str] = set()
        self.attributes: set[str] = set()
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)
        self.attributes.update(name for name, _ in attrs)
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)
        self.attributes.update(name for name, _ in attrs)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"{tag} closes another element at {self.getpos()}"


def hostile_report(renderer: Renderer) -> dict[str, Any]:
    rows = drafts(40, text=HOSTILE)
    for draft in rows:
        draft.file = draft.slice = draft.label = HOSTILE
    shown = finding(
        facts={"rows": 1234, "what": HOSTILE},
        examples=(Example(HOSTILE, 2, HOSTILE, (HOSTILE, 3, HOSTILE + "x")),),
        figure={HOSTILE: {HOSTILE: 3}, "answers": [[HOSTILE, 2]], "n": [1, 2]},
    )
    made = prepared(rows, renderer, findings=[shown])
    collection = made.collection
    collection.files[0].name = collection.files[0].format = HOSTILE
    collection.files[0].fields = {"question": HOSTILE}
    collection.files[0].notes = [{"kind": "no marks", "column": HOSTILE}]
    collection.dropped[0] = Dropped(HOSTILE, 1, "empty answer", HOSTILE, (HOSTILE, 2))
    collection.changed[0] = Changed(HOSTILE, 2, HOSTILE, HOSTILE)
    config = PrepareConfig(files=(HOSTILE,), where={HOSTILE: HOSTILE}).json_dict()
    return build_report(dataset(made, name=HOSTILE, config=config), made, renderer, (check(),))


def test_whatever_the_data_holds_is_inert(renderer: Renderer) -> None:
    report = hostile_report(renderer)
    for language in ("en", "zh"):
        text = render_html(report, language)
        page = Page(text)
        assert not page.open
        assert not page.seen & {"script", "img", "a", "link", "iframe", "form", "object", "use"}
        assert not {name for name in page.attributes if name.startswith("on")}
        assert not page.attributes & {"src", "href", "xlink:href", "srcset", "action"}
        assert "url(" not in text
        assert (
            "49"
            not in re.sub(r"\d{3,}|[\d.]+%|[\d.]+\"", "", text.partition("</style>")[2]).split()
        )
        assert "default-src 'none'" in text
        assert "&lt;script&gt;" in text
        lines = report_lines(report, Words.of(language))
        assert not [c for line in lines for c in line if ord(c) < 32 or c == "\u202e"]
    assert inert("a\x1b[31mb\u202ec\nd") == "a\ufffd[31mb\ufffdc\ufffdd"


# Recipe ------------------------------------------------------------------------------------------


def test_the_recipe_and_the_command_make_the_same_config(tmp_path: Path) -> None:
    config = PrepareConfig.build(
        {
            "files": ["客服 问答.csv", "it's $HOME.csv", "-odd.csv"],
            "test_files": ["t1.csv", "t2.csv"],
            "where": {"is_best": "1", "类 别": "a=b"},
            "map": {"question": "标题"},
            "mix": {"general": "10%"},
            "delimiter": "\t",
            "checks": {"near_duplicates": "keep", "near": 0.75},
            "split": {"test": 0.2},
        }
    )
    path = tmp_path / "recipe.yaml"
    path.write_text(recipe_yaml(config.json_dict()), encoding="utf-8")
    assert PrepareConfig.build(read_recipe(path)) == config
    assert "split:\n  test: 0.2\n" in path.read_text(encoding="utf-8")
    program, command, *words = shlex.split(command_line(config.json_dict()))
    assert (program, command) == ("tunewright", "prepare")
    assert parsed(words) == config


def parsed(words: list[str]) -> PrepareConfig:
    """The config that a command line gives."""
    found: list[PrepareConfig] = []

    @click.command()
    @click.argument("files", nargs=-1)
    @click.option("--yes", is_flag=True)
    @config_options(PrepareConfig, skip=("files",))
    def run(files: tuple[str, ...], yes: bool, values: dict[str, Any]) -> None:
        found.append(PrepareConfig.build({**values, "files": files}))

    result = CliRunner().invoke(run, words, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return found[0]


def test_defaults_are_left_out_of_the_recipe() -> None:
    config = PrepareConfig(files=("a.csv",)).json_dict()
    assert recipe_yaml(config) == "files:\n- a.csv\n"
    assert command_line(config) == "tunewright prepare --yes a.csv"


# Browser -----------------------------------------------------------------------------------------


@pytest.mark.skipif(shutil.which("chromium") is None, reason="needs a chromium on the PATH")
def test_a_browser_shows_it_whole_and_quiet(renderer: Renderer, tmp_path: Path) -> None:
    from playwright.sync_api import sync_playwright

    report = hostile_report(renderer)
    troubles: list[str] = []
    with sync_playwright() as play:
        browser = play.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        for language, width in (("en", 1100), ("zh", 390)):
            path = tmp_path / f"{language}.html"
            path.write_text(render_html(report, language), encoding="utf-8")
            tab = browser.new_page(viewport={"width": width, "height": 900})
            tab.on("console", lambda message: troubles.append(message.text))
            tab.on("request", lambda request: troubles.append(request.url))
            tab.goto(path.as_uri())
            assert tab.evaluate("window.hacked") is None
            assert tab.evaluate("document.documentElement.scrollWidth") == width
            wide = tab.locator("svg.flow")
            assert wide.is_visible() == (width > 700)
            assert tab.locator(".as-table").is_visible() == (width < 700)
        browser.close()
    assert [trouble for trouble in troubles if not trouble.startswith(tmp_path.as_uri())] == []
