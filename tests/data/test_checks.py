"""Equal, near-equal, contradicting and suspicious rows."""

from __future__ import annotations

import pytest

from tunewright.data.checks import Seen, clean, exact_key, near_key, suspicious, turns_group
from tunewright.data.records import Draft, Turn


def draft(question: str, answer: str, number: int = 1) -> Draft:
    turns = (Turn("user", question), Turn("assistant", answer))
    return Draft(turns, "f", number, turns_group(turns))


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


def test_repeated_rows_are_told_apart() -> None:
    seen = Seen()
    first = draft("怎么退押金？", "找房东。", 1)
    assert seen.verdict(first) is None
    assert seen.verdict(draft("怎么退押金？", "找房东。", 2)) == ("duplicate", first)
    assert seen.verdict(draft("怎么退押金?", "找房东.", 3)) == ("duplicate", first)
    assert seen.verdict(draft("怎么退押金？", "报警。", 4)) == ("contradicting answer", first)
    near = draft("怎么退押金", "报警。", 5)
    assert seen.verdict(near) is None
    assert seen.near_equal == 1
    assert seen.verdict(draft("怎么退押金", "报警。", 6)) == ("duplicate", near)
    assert seen.verdict(draft("别的问题", "找房东。", 7)) is None


def test_the_system_message_is_part_of_the_question() -> None:
    def with_system(system: str) -> Draft:
        turns = (Turn("system", system), Turn("user", "q"), Turn("assistant", system))
        return Draft(turns, "f", 1, turns_group(turns))

    seen = Seen()
    assert seen.verdict(with_system("Answer in English.")) is None
    assert seen.verdict(with_system("Answer in Chinese.")) is None


def test_suspicious_texts_are_counted_once_per_row() -> None:
    rows = [
        draft("电话13800138000，或13900139000", "好", 1),
        draft("编号138001380001", "好", 2),
        draft("身份证11010519491231002X", "锟斤拷", 3),
        draft("乱\ufffd码", "好", 4),
    ]
    assert [(w["kind"], w["rows"], w["row"]) for w in suspicious(rows)] == [
        ("garbled characters", 2, 3),
        ("identity card numbers", 1, 3),
        ("phone numbers", 1, 1),
    ]
