"""When two texts are equal or near-equal."""

from __future__ import annotations

import pytest

from tunewright.data.normal import clean, clean_all, exact_key, near_key


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("合同怎么写？", "合同怎么写"),
        ("合同怎么写？？", "合同，怎么写?"),
        ("ＡＢＣ 公司", "abc公司"),
        ("1１2", "112"),
        ("What is it?", "what, is  it"),
    ],
)
def test_near_equal_questions_share_a_key(one: str, other: str) -> None:
    assert near_key(one) == near_key(other)


@pytest.mark.parametrize(("one", "other"), [("1+1", "1<1"), ("２＋３", "2=3"), ("??", "!!")])
def test_signs_that_carry_the_meaning_stay(one: str, other: str) -> None:
    assert near_key(one) != near_key(other)
    assert near_key("２＋３") == near_key("2+3")


def test_exact_keys_ignore_width_and_space_only() -> None:
    assert exact_key("可以。　请  看\n合同（一）") == exact_key("可以. 请 看 合同(一)")
    assert exact_key("可以。") != exact_key("可以")
    assert exact_key("ABC") != exact_key("abc")


def test_cells_are_cleaned_of_what_nobody_typed() -> None:
    assert clean(" a\r\nb\rc\x07\ufeff ") == "a\nb\nc"
    assert clean("a\ud800b") == "a\ufffdb"
    assert clean("tab\tstays") == "tab\tstays"


@pytest.mark.parametrize(
    "odd", ["a\r\nb", "\x07a", "a\x7f", "\ufeffa", "a\ud800", "\x1fa\x1f", "\0", ""]
)
def test_many_cells_are_cleaned_like_one(odd: str) -> None:
    texts = [" 空格\u3000", "两\n行\t", odd, "\n\n"]
    assert clean_all(texts) == [clean(text) for text in texts]
    assert clean_all(texts[:2]) == ["空格", "两\n行"]
    assert clean_all([]) == []
