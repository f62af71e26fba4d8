"""Training rows that meet a test set."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.data.checks.compared import dropped, found, qa, run, said

from tunewright.data.checks.leakage import LEAKAGE, overlap
from tunewright.model.rendering import Renderer

HELD = "房东在租期未满时要求提前收回房屋，押金和剩余租金应当怎么退还？"
NEAR = "房东在租期未满时要求提前收回房屋，押金和剩余租金应当怎么退还呢？"
SHARES = (
    "去年我和朋友合租，结果房东在租期未满时要求提前收回房屋，我想知道这种情况下的装修损失由谁来赔。"
)
OTHER = "交通事故对方全责但是保险公司拖着不赔付应该向谁投诉？"
ENGLISH = (
    "My landlord wants the flat back before the end of the lease, what about the deposit I paid?"
)
SHARES_WORDS = (
    "Hello there. My landlord wants the flat back before the end of the lease, what about him?"
)


@pytest.fixture(scope="module")
def renderer(tiny_base: Path) -> Renderer:
    return Renderer(tiny_base)


def test_how_texts_overlap() -> None:
    train = [OTHER, SHARES, NEAR, HELD.replace("？", " ?"), ENGLISH.upper(), SHARES_WORDS]
    found = overlap(train, [ENGLISH, HELD], 0.8)
    assert [(one.train, one.held, one.how) for one in found] == [
        (1, 1, "13-gram"),
        (2, 1, "near"),
        (3, 1, "same"),
        (4, 0, "same"),
        (5, 0, "13-gram"),
    ]
    scores = {one.train: one.score for one in found}
    assert scores[3] == 1
    assert 0.8 <= scores[2] < 1
    assert 0 < scores[1] < 0.5


def test_twelve_characters_or_words_are_no_overlap() -> None:
    assert overlap(["甲乙丙丁戊己庚辛壬癸子丑寅卯"], ["前甲乙丙丁戊己庚辛壬癸子丑后面"], 0.8) == []
    assert (
        len(overlap(["甲乙丙丁戊己庚辛壬癸子丑寅卯"], ["前甲乙丙丁戊己庚辛壬癸子丑寅后"], 0.8)) == 1
    )
    words = [f"w{n}" for n in range(14)]
    other = ["one", "two", "three", "four"] * 5
    assert overlap([" ".join([*other, *words[:12]])], [" ".join(words)], 0.8) == []
    assert len(overlap([" ".join([*other, *words[:13]])], [" ".join(words)], 0.8)) == 1


def test_the_frame_of_a_task_is_no_overlap() -> None:
    frame = "请根据以下的商品属性写一段吸引人的广告文案："
    train = [f"{frame}{chr(0x4E00 + 9 * n) * 30}" for n in range(40)]
    assert overlap(train, [frame + "红色连衣裙收腰显瘦百搭款式夏季新款雪纺面料"], 0.8) == []
    assert len(overlap(train[:5], [frame + "红色连衣裙收腰显瘦百搭款式"], 0.8)) == 5


def test_the_nearest_held_text_is_named() -> None:
    found = overlap([NEAR], [OTHER, NEAR + "谢谢您", NEAR + "谢"], 0.8)
    assert [(one.held, one.how) for one in found] == [(2, "near")]


def test_nothing_held_and_nothing_to_learn() -> None:
    assert overlap([], [HELD], 0.8) == overlap([HELD], [], 0.8) == overlap([""], [HELD], 0.8) == []


def test_only_equal_questions_go_unless_asked(renderer: Renderer) -> None:
    drafts = [qa(text, "a", n) for n, text in enumerate((OTHER, SHARES, NEAR, HELD))]
    held = [qa(HELD, "b", 7), qa("另一个问题", "b", 8)]
    outcome = run(LEAKAGE, drafts, renderer, held=held)
    assert dropped(outcome) == {3: None}
    assert outcome.drops[0].reason == "question stands in the test set"
    finding = found(outcome)
    assert (finding.rows, finding.level) == (3, "care")
    assert "3 training rows meet 1 of the 2 questions" in said(LEAKAGE, outcome)
    shown = [(example.row, example.other) for example in finding.examples]
    assert [row for row, _ in shown] == [2, 1, 3]
    assert shown[0][1] == ("f.csv", 7, HELD)
    assert list(dropped(run(LEAKAGE, drafts, renderer, "drop", held))) == [1, 2, 3]
    assert dropped(run(LEAKAGE, drafts, renderer, "keep", held)) == {}
    assert run(LEAKAGE, drafts, renderer).finding is None
