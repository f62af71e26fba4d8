"""Rewriting rows, and showing them as examples."""

from __future__ import annotations

from collections import Counter
from functools import partial

from tests.data.checks.compared import qa

from tunewright.core.messages import ToolCall
from tunewright.data.checks.shown import example, hidden
from tunewright.data.checks.turns import in_every_turn, rewritten
from tunewright.data.records import Draft, Turn


def louder(text: str) -> tuple[str, Counter[str]]:
    return text.upper(), Counter({"raised": int(text != text.upper())})


def at(text: str, place: int) -> int | None:
    return place if len(text) > place else None


def test_only_named_roles_are_edited_and_the_row_is_left_as_it_was() -> None:
    draft = qa("q", "a")
    change = rewritten(3, draft, {"assistant": louder})
    assert change is not None
    assert [turn.text for turn in change.turns] == ["q", "A"]
    assert (change.index, change.detail, change.rejected) == (3, "raised ×1", None)
    assert draft == qa("q", "a")
    assert rewritten(3, qa("Q", "A"), in_every_turn(louder)) is None


def test_calls_are_edited_when_asked() -> None:
    call = ToolCall(name="f", arguments='{"a": "x"}', id="1")
    draft = Draft((Turn("assistant", "", 0, (call,)),), "f", 1, "g")
    assert rewritten(0, draft, in_every_turn(louder)) is None
    change = rewritten(0, draft, in_every_turn(louder), calls=True)
    assert change is not None
    assert change.turns == (
        Turn("assistant", "", 0, (ToolCall(name="f", arguments='{"A": "X"}', id="1"),)),
    )


def test_an_example_hides_what_is_personal_however_it_is_cut() -> None:
    answer = "好" * 100 + "身份证110105194912310021" + "完" * 500
    draft = qa("我的手机13800138000", answer, 5)
    shown = example(draft)
    assert (shown.file, shown.row) == ("f.csv", 5)
    assert shown.text.startswith("我的手机〔手机号〕 → 好好")
    for place in range(95, 130):
        text = example(draft, partial(at, place=place)).text
        assert not any(character.isdigit() for character in text)
    assert hidden("api_key=7Qk2Zp9Xw4Lm8Rt6Vb3Nc5Hd") == "api_key=[secret]"
