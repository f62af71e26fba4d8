"""Languages by their characters."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from tests.data.checks.compared import found, rows, run, said

from tunewright.data.checks.language import LANGUAGE, languages
from tunewright.data.records import Draft, Turn
from tunewright.model.rendering import Renderer

ENGLISH = "The deposit is paid back within seven days after the lease has ended."
CHINESE = "押金应当在租期结束后七日内退还，除非房屋有损坏。"


@pytest.fixture(scope="module")
def renderer(tiny_base: Path) -> Renderer:
    return Renderer(tiny_base)


@pytest.mark.parametrize(
    ("text", "language"),
    [
        (CHINESE, "zh"),
        (ENGLISH, "latin"),
        ("Größe, Äpfel und Übermut", "latin"),
        ("请问 GDPR 第 17 条怎么理解？", "zh"),
        ("用 pandas 的 DataFrame.groupby 怎么求和 agg(sum)", "mixed"),
        ("これは日本語の文章です", "other"),
        ("한국어 문장입니다", "other"),
        ("Привет, мир", "other"),
        ("在俄语里，你好是 Привет，再见是另一种说法，各有各的用法，都不难学，多听多说就会", "zh"),
        ("12345 + 67", ""),
        ("", ""),
        ("繁體中文的句子", "zh"),
    ],
)
def test_each_text_has_one(text: str, language: str) -> None:
    assert languages(pl.Series([text], dtype=pl.String)).tolist() == [language]


def test_rows_answered_in_another_language_are_counted(renderer: Renderer) -> None:
    drafts = rows(
        (CHINESE, ENGLISH),
        (ENGLISH, CHINESE),
        (f"翻译成英文：{CHINESE}", ENGLISH),
        ("写一个函数", "def add(a, b):\n    return a + b  # the sum of both numbers"),
        ("它的品牌叫什么？", "Tunewright"),
        (CHINESE, CHINESE),
        (ENGLISH, "42"),
    )
    outcome = run(LANGUAGE, drafts, renderer)
    facts = found(outcome).facts
    assert facts["mismatched"] == 2
    assert [example.row for example in found(outcome).examples] == [0, 1]
    assert found(outcome).level == "care"
    assert found(outcome).figure == {"language": {"zh": 2, "latin": 5}}
    assert "28.6% of the rows are Chinese" in said(LANGUAGE, outcome)


def test_traditional_beside_simplified_is_told(renderer: Renderer) -> None:
    traditional = "請問押金應該什麼時候退還？銷售團隊會處理嗎？"
    drafts = rows((traditional, traditional), *((CHINESE, CHINESE) for _ in range(9)))
    outcome = run(LANGUAGE, drafts, renderer)
    assert (found(outcome).facts["traditional"], found(outcome).level) == (1, "care")
    assert [example.row for example in found(outcome).examples] == [0]
    assert found(run(LANGUAGE, drafts[1:], renderer)).facts["traditional"] == 0
    only = run(LANGUAGE, drafts[:1], renderer)
    assert (found(only).facts["traditional"], found(only).level) == (1, "info")


def test_a_rare_name_makes_no_text_traditional(renderer: Renderer) -> None:
    drafts = rows(("李喆和王堃的合同什么时候到期？", "张珺、李喆签的合同还有两个月到期。"))
    assert found(run(LANGUAGE, drafts, renderer)).facts["traditional"] == 0


def test_plain_texts_have_a_language_and_signs_have_none(renderer: Renderer) -> None:
    drafts = [Draft((Turn("user", CHINESE),), "f", 1, "g", kind="text")]
    assert found(run(LANGUAGE, drafts, renderer)).facts["zh"] == 1
    assert run(LANGUAGE, rows(("1", "2")), renderer).finding is None
