"""HTML: what is taken out, what only looks like it, and rows that speak about it."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from tests.data.checks.compared import found, qa, rows, run, said

from tunewright.data.checks import html
from tunewright.data.checks.html import HTML
from tunewright.data.records import Draft, Turn
from tunewright.model.rendering import Renderer


@pytest.fixture(scope="module")
def renderer(tiny_base: Path) -> Renderer:
    return Renderer(tiny_base)


def cleaned(text: str) -> str:
    """The cleaned text, once the prefilter is known not to pass it over."""
    result, done = html.cleaned(text)
    if done:
        assert pl.Series([text]).str.contains(html.SUSPECT)[0], text
    return result


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("一<br>二<br/>三<BR />四", "一\n二\n三\n四"),
        ("<p>第一段</p><p>第二段</p>", "第一段\n第二段"),
        ("<p>第一段</p>\n\n<p>第二段</p>\n", "第一段\n\n第二段"),
        ("一<br><br><br>二", "一\n\n二"),
        ("一<br>\n二", "一\n二"),
        ('<div class="a">你<b>好</b></div>', "你好"),
        ("<ul><li>甲</li><li>乙</li></ul>完", "甲\n乙\n完"),
        ("<table><tr><td>甲</td><td>乙</td></tr></table>", "甲\t乙"),
        ('看<a href="http://x.cn?a=1&amp;b=2">这里</a>', "看这里"),
        ("<span style='color:red'>红</span>", "红"),
        ("图<img src=x.png>片", "图片"),
        ("甲&nbsp;乙&emsp;丙", "甲 乙 丙"),
        ("A&amp;B &lt; C &gt; D &quot;E&quot; &#39;F&#x27;", "A&B < C > D \"E\" 'F'"),
        ("&#x4e2d;&#22269;", "中国"),
        ("&lt;p&gt;你好&lt;/p&gt;", "你好"),
        ("甲&amp;nbsp;乙", "甲 乙"),
        ("前<!-- 注 -->后", "前后"),
        ("<style>p {color: red}</style>文<script>if (a<b) x()</script>", "文"),
        ("| a<br>b | c |", "| a b | c |"),
        ("<title>甲</title><p>乙</p>", "甲\n乙"),
        ("Hello<br>world", "Hello\nworld"),
        ("<p>看`<b>`</p>", "看`<b>`"),
        ("<hr>", ""),
    ],
)
def test_leftovers_of_a_page_are_taken_out(text: str, clean: str) -> None:
    assert cleaned(text) == clean


@pytest.mark.parametrize(
    "text",
    [
        "if a < b and c > d",
        "if a<b and c>d",
        "x<p and y>q",
        "List<int> 和 Map<String, Object>",
        "List<P> 和 vector<T>",
        "Promise<Data>, Option<Time>",
        "请填<title>和<address>",
        "<title>合同</title>",
        "<think>想</think>",
        "<answer>好</answer>",
        "<b> 没有结尾",
        "<https://x.cn> <me@x.cn>",
        "?a=1&copy=2&lt=3",
        "AT&T; R&D;",
        "&#0; &#xD800;",
        "用`<br>`换行",
        "```html\n<p>x</p>\n```",
        "```\n<p>x</p>",
        "1 <2> 3",
        "a <- b; c -> d",
        "<o_o> (>_<)",
        '<p title="x',
        "<!-- 没有结尾",
    ],
)
def test_what_only_looks_like_it_stays(text: str) -> None:
    assert cleaned(text) == text


def test_rows_about_html_are_reported_and_left_alone(renderer: Renderer) -> None:
    drafts = rows(
        ("怎么写段落？", "HTML 里写 <p>内容</p>。"),
        ("换行", "<p>第一</p><p>第二</p>"),
        ("给我一个表格", "<p>如下</p>\n```\n<table><tr><td>1</td></tr></table>\n```"),
    )
    outcome = run(HTML, drafts, renderer)
    assert [change.index for change in outcome.changes] == [1]
    facts = found(outcome).facts
    assert (facts["rows"], facts["leftover"], facts["about"]) == (3, 1, 2)
    assert "In 1 they came along" in said(HTML, outcome)
    only = run(HTML, drafts[:1], renderer)
    assert (found(only).rows, found(only).level, only.changes) == (1, "info", [])


def test_every_turn_but_a_tools_is_cleaned(renderer: Renderer) -> None:
    turns = (
        Turn("system", "<p>规则</p>"),
        Turn("user", "问&nbsp;题"),
        Turn("tool", '{"page": "<p>原文</p>"}', call_id="1"),
        Turn("assistant", "<p>答</p>"),
    )
    draft = Draft(turns, "f", 3, "g", kind="preference", rejected=(Turn("assistant", "<p>差</p>"),))
    (change,) = run(HTML, [draft], renderer).changes
    texts = [turn.text for turn in change.turns]
    assert texts == ["规则", "问 题", '{"page": "<p>原文</p>"}', "答"]
    assert change.rejected == (Turn("assistant", "差"),)
    assert change.detail == "tag ×6, entity ×1"
    assert draft.turns == turns


def test_the_user_may_keep_it(renderer: Renderer) -> None:
    outcome = run(HTML, rows(("问", "一<br>二")), renderer, "keep")
    assert (found(outcome).level, outcome.changes) == ("care", ())
    assert found(outcome).examples[0].text == "一<br>二"
    assert run(HTML, rows(("问", "a < b")), renderer).finding is None


def test_examples_hide_personal_data(renderer: Renderer) -> None:
    outcome = run(HTML, [qa("问", "打13800138000<br>找张三")], renderer)
    assert "13800138000" not in repr(outcome.finding)


def test_long_hostile_texts_are_read_in_time() -> None:
    for unit in ("<a", "<a b=", "<a b='", '<a b="', "<!--", "</a", "&a", "<p ", "`", "~~~", "&#"):
        text = unit * 50_000
        assert html.cleaned(text) == (text, {})
    assert html.cleaned("<p>x" * 50_000)[0] == "\n".join("x" * 50_000)
