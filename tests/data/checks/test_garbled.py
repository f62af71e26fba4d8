"""Mojibake: what is undone, what is lost, and real text in many languages, which stays."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from tests.data.checks.compared import found, qa, rows, run, said

from tunewright.data.checks.garbled import GARBLED
from tunewright.data.checks.mojibake import HINT, first_damage, losses, repaired
from tunewright.data.records import Draft, Turn
from tunewright.model.rendering import Renderer

# Of an even number of bytes in all, so that a reader of GBK meets no half character.
CHINESE = "合同怎么写？公司规定"
LOST = "押金，什么时候退。".encode().decode("gbk", "ignore")


@pytest.fixture(scope="module")
def renderer(tiny_base: Path) -> Renderer:
    return Renderer(tiny_base)


def suspected(text: str) -> bool:
    return bool(pl.Series([text]).str.contains(HINT)[0])


@pytest.mark.parametrize(
    ("wrong", "name"),
    [
        (CHINESE.encode().decode("gb18030"), "UTF-8 read as GBK"),
        ("你好".encode().decode("gbk"), "UTF-8 read as GBK"),
        (CHINESE.encode().decode("latin-1"), "UTF-8 read as Latin-1"),
        (CHINESE.encode("gb18030").decode("latin-1"), "GBK read as Latin-1"),
        ("你好".encode("gbk").decode("latin-1"), "GBK read as Latin-1"),
    ],
)
def test_chinese_is_restored(wrong: str, name: str) -> None:
    assert suspected(wrong)
    right, done = repaired(wrong)
    assert right in (CHINESE, "你好")
    assert done == {name: 1}
    assert losses(right) == []


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("FranÃ§oise a Ã©tÃ© lÃ\xa0", "Françoise a été là"),
        ("itâ€™s â€œfineâ€\x9d", "it’s “fine”"),
        ("25 Â°C, Â£5", "25 °C, £5"),
        ("it\x92s \x93fine\x94", "it’s “fine”"),
        ("rÃ©sumÃ© von Herrn MÃ¼ller", "résumé von Herrn Müller"),
    ],
)
def test_western_text_is_restored(wrong: str, right: str) -> None:
    assert suspected(wrong)
    assert repaired(wrong)[0] == right


def test_the_euro_sign_of_windows_is_a_byte() -> None:
    assert repaired("銆€銆€鍚堝悓")[0] == "\u3000\u3000合同"


def test_lines_are_restored_one_by_one() -> None:
    wrong = "正常的一行\n" + CHINESE.encode().decode("gb18030") + "\n又一行"
    assert repaired(wrong)[0] == f"正常的一行\n{CHINESE}\n又一行"


@pytest.mark.parametrize(
    "text",
    [
        CHINESE,
        "喆璇骞浜涓涓细流，相濡以沫，绗缝工艺，寰宇瑕疵，张骞",
        "繁體中文：請問押金應該什麼時候退還？銷售團隊",
        "龘靐齉爩𠮷野家",
        "「日本語」の文章です。한국어 문장입니다. Привет, мир!",
        "Élève à l’école – «\xa0café\xa0» très “naïf”…",
        "„Größe“ über Äpfel – Straße … ½ × ¾ ±5 %",
        "IRMÃ” E AMANHÃ… disse «NÃO»",
        "Señor, ¿qué? ¡Mañana! İstanbul, žluťoučký kůň, Ærø, Ångström",
        "号码××××，金额￥100，★★★★☆ ①②③ → ≥ √ 25℃",
        "怎么办????急急急",
        "为什么？？？？",
        "Why????",
        "真烫烫烫！",
        "😀👍🏽 ok ❤️",
        "¥¥¥¥ °°°° »»»»",
    ],
)
def test_real_text_stays(text: str) -> None:
    assert repaired(text) == (text, {})
    assert losses(text) == []
    assert first_damage(text) is None


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("押\ufffd怎么退", "U+FFFD"),
        ("锟斤拷锟斤拷", "U+FFFD read as GBK"),
        ("内容烫烫烫烫烫", "uninitialised memory"),
        ("a\x81b", "control characters"),
        (LOST, "UTF-8 read as GBK"),
        ("æŠ¼é‡‘ä»? ä¹ˆæ—", "UTF-8 read as Latin-1"),
        ("?????????2021?10?", "question marks for characters"),
    ],
)
def test_damage_beyond_repair_is_told(text: str, why: str) -> None:
    assert suspected(text)
    assert why in losses(repaired(text)[0])
    assert first_damage(text) is not None


def test_rows_are_restored_or_left_out(renderer: Renderer) -> None:
    wrong = CHINESE.encode().decode("latin-1")
    drafts = rows(("合同", "好的"), ("合同", wrong), (wrong, "押\ufffd"), ("问", "答"))
    outcome = run(GARBLED, drafts, renderer)
    (change,), (drop,) = outcome.changes, outcome.drops
    assert (change.index, change.turns[1].text) == (1, CHINESE)
    assert change.detail == "UTF-8 read as Latin-1 ×1"
    assert (drop.index, drop.reason, drop.detail) == (2, "garbled characters", "U+FFFD")
    facts = found(outcome).facts
    assert (facts["rows"], facts["repairable"], facts["lost"]) == (2, 1, 1)
    assert "1 of them can be restored" in said(GARBLED, outcome)
    dropped = run(GARBLED, drafts, renderer, "drop")
    assert [drop.index for drop in dropped.drops] == [1, 2]
    assert dropped.changes == []
    kept = run(GARBLED, drafts, renderer, "keep")
    assert (kept.drops, kept.changes, found(kept).level) == ((), (), "care")


def test_worse_answers_and_tools_are_restored_too(renderer: Renderer) -> None:
    wrong = CHINESE.encode().decode("gb18030")
    draft = qa("问", "答", kind="preference")
    draft.rejected = (Turn("assistant", wrong),)
    (change,) = run(GARBLED, [draft], renderer).changes
    assert change.rejected == (Turn("assistant", CHINESE),)
    assert found(run(GARBLED, [draft], renderer)).level == "info"


def test_rows_about_mojibake_stay(renderer: Renderer) -> None:
    drafts = rows(("为什么会出现“锟斤拷”这样的乱码？", "因为 UTF-8 的替换字符被当作 GBK 读。"))
    assert run(GARBLED, drafts, renderer).finding is None


def test_sound_rows_say_nothing(renderer: Renderer) -> None:
    assert run(GARBLED, rows(("café?", CHINESE)), renderer).finding is None


def test_examples_show_the_place(renderer: Renderer) -> None:
    draft = Draft((Turn("user", "好" * 500 + "\ufffd坏"),), "f", 1, "g", kind="text")
    (example,) = found(run(GARBLED, [draft], renderer)).examples
    assert example.text.startswith("…好")
    assert "\ufffd坏" in example.text


def test_long_hostile_texts_are_read_in_time() -> None:
    for unit in ("ä¸", "涓", "锛\n", "ÖÐ", "?", "\x81", "é"):
        repaired(unit * 50_000)
        losses(unit * 50_000)
