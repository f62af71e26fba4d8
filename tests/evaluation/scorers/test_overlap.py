from __future__ import annotations

import pytest

from tunewright.evaluation.scorers.base import Sample
from tunewright.evaluation.scorers.normal import pieces
from tunewright.evaluation.scorers.overlap import char_f1, exact, length
from tunewright.evaluation.scorers.table import BASIC, basic_metrics


@pytest.mark.parametrize(
    ("answer", "reference"),
    [
        ("Yes.", "yes"),
        ("ＡＢＣ １２３！", "abc 123"),
        ("  two\n words ", "two words"),
        ("三个月。", "三个月"),
        ("STRASSE", "straße"),
        ("", "。"),
    ],
)
def test_exact_overlooks_writing_habits(answer: str, reference: str) -> None:
    assert exact(answer, reference) == 1


@pytest.mark.parametrize(
    ("answer", "reference"),
    [("10%", "10"), ("C++", "C"), ("不可以", "可以"), ("3.5", "35"), ("a b", "ab")],
)
def test_exact_keeps_meaning(answer: str, reference: str) -> None:
    assert exact(answer, reference) == 0


def test_pieces_are_characters_in_chinese_and_words_elsewhere() -> None:
    assert pieces("赔偿 Two-Months 工资，3.5倍") == [
        "赔",
        "偿",
        "two",
        "months",
        "工",
        "资",
        "3",
        "5",
        "倍",
    ]


def test_char_f1_counts_the_multiset() -> None:
    assert char_f1("a a b", "a b b") == pytest.approx(2 * 2 / 6)
    assert char_f1("三个月", "六个月") == pytest.approx(2 / 3)
    assert char_f1("same words here", "here same words") == 1
    assert char_f1("", "something") == 0
    assert char_f1("!!", "?!") == 1, "nothing but final marks on both sides"


def test_length_is_one_at_equal_length() -> None:
    assert length("一二三四", "一二") == 0.5
    assert length("", "一二") == 0
    assert length("", "") == 1


def score(answer: str, reference: str, finish: str) -> dict[str, float]:
    """What every basic metric says of one answer."""
    sample = Sample(answer, reference, finish)
    found = {metric.name: metric.score([sample])[0] for metric in basic_metrics()}
    return {name: one.value for name, one in found.items() if one is not None}


def test_every_metric_stays_in_bounds() -> None:
    for answer in ("", "好的", "well then", "\u0000\ud7ff😀"):
        for reference in ("", "好", "😀"):
            values = score(answer, reference, "length")
            assert tuple(values) == BASIC
            assert all(0 <= value <= 1 for value in values.values())


def test_stop_reads_the_finish_reason() -> None:
    assert score("a", "a", "stop")["stop"] == 1
    assert score("a", "a", "length")["stop"] == 0
