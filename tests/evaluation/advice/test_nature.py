"""Facts told from form, by rules over texts of our own."""

from __future__ import annotations

import pytest

from tunewright.core.messages import Conversation, conversation
from tunewright.evaluation.advice.nature import facts_in, nature_of, new_facts


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("请在 2026年3月5日 之前办理。", "dates"),
        ("七个工作日内退还。", "dates"),
        ("Opening hours are 9:30 to 18:00.", "dates"),
        ("Within 14 business days.", "dates"),
        ("押金为三百元。", "prices"),
        ("It costs $12 a month.", "prices"),
        ("违约金不超过百分之二十。", "shares"),
        ("依据《民法典》第五百八十五条。", "articles"),
        ("See section 7.", "articles"),
        ("Order a TX-2041 instead.", "codes"),
        ("请致电 4008123123。", "codes"),
        ("The rated power is 1250.", "figures"),
    ],
)
def test_facts_are_seen(text: str, kind: str) -> None:
    assert facts_in(text)[kind]


@pytest.mark.parametrize(
    "text", ["好的，我们马上为您处理。", "I would rather not, but thank you.", ""]
)
def test_tone_is_no_fact(text: str) -> None:
    assert not any(facts_in(text).values())


def test_what_the_question_gives_is_no_knowledge() -> None:
    found = new_facts("我 2026年3月 交了 300元 押金", "您于2026年3月交了300元，七日内退还。")
    assert not found["prices"]
    assert found["dates"] == {"七日"}


def rows(pairs: list[tuple[str, str]]) -> list[Conversation]:
    return [conversation(("user", asked), ("assistant", answer)) for asked, answer in pairs]


def test_shares_of_answers() -> None:
    facts = [(f"第{n}项收费多少？", f"该项目每次收费{n}5元，可分期。") for n in range(10)]
    tone = [
        (f"我很难过{n}", f"您好，很抱歉让您久等了。情况{n}我们已记下，祝您生活愉快！")
        for n in range(10)
    ]
    found = nature_of(rows([*facts, *tone]))
    assert found.rows == 20
    assert found.kinds["prices"] == 0.5
    assert found.factual == found.specific == 0.5
    assert found.uniform == 0.5
    assert found.brief == 0
    labels = nature_of(rows([(f"text {n}", "refund") for n in range(10)]))
    assert (labels.factual, labels.brief, labels.uniform) == (0, 1, 0)
