"""From measurements to a decision, on made measurements."""

from __future__ import annotations

import pytest

from tunewright.evaluation.advice.decide import decide
from tunewright.evaluation.advice.knowledge import Asked, Knowledge
from tunewright.evaluation.advice.nature import KINDS, Nature


def asked(right: bool, draws: int, shown: bool | None = None) -> Asked:
    return Asked(0, "?", "reference", "answer", right, draws, 4, shown)


def nature(factual: float, specific: float = 0.0, uniform: float = 0.0) -> Nature:
    kinds = {**dict.fromkeys(KINDS, 0.0), "prices": specific, "figures": factual}
    return Nature(500, kinds, factual, specific, uniform, 0.0, 40)


def measured(
    greedy: int, drawn: int, what: Nature, shown: int | None = None, count: int = 40
) -> Knowledge:
    """``greedy`` of the questions are right, ``drawn`` more only sometimes."""
    rows = [
        asked(n < greedy, 4 if n < greedy else int(n < greedy + drawn), shown and n < shown)
        for n in range(count)
    ]
    return Knowledge(rows, what, 0.5)


@pytest.mark.parametrize(
    ("knowledge", "decision"),
    [
        (measured(38, 0, nature(0.9, 0.9)), "nothing"),
        (measured(4, 2, nature(0.9, 0.9), shown=38), "prompt only"),
        (measured(0, 4, nature(0.9, 0.9)), "knowledge base"),
        (measured(0, 4, nature(0.9, 0.9, uniform=0.8)), "both"),
        (measured(0, 4, nature(0.25, 0.2)), "both"),
        (measured(10, 20, nature(0.9, 0.9)), "fine-tune"),
        (measured(0, 0, nature(0.1, 0.05)), "fine-tune"),
        # Nine of ten are right, but ten questions prove nothing.
        (measured(9, 0, nature(0.1), count=10), "fine-tune"),
    ],
)
def test_decisions(knowledge: Knowledge, decision: str) -> None:
    found = decide(knowledge)
    assert found.decision == decision
    assert found.json("en")["recommendation"] == decision
    for language in ("en", "zh"):
        texts = found.texts(language)
        assert len(texts) >= 2
        assert not any("{" in text for text in texts)


def test_reasons_have_the_numbers() -> None:
    english = decide(measured(8, 12, nature(0.9, 0.6), shown=20)).texts("en")
    assert "knows 8, may know 12 and does not know 20" in english[0]
    assert "50% (35%–65%)" in english[1]
    assert "figures 90%, prices 60%" in english[2]
    chinese = decide(measured(8, 12, nature(0.9, 0.6), shown=20)).texts("zh")
    assert "知道 8 道，可能知道 12 道，不知道 20 道" in chinese[0]
    assert "数字 90%、价格金额 60%" in chinese[2]


def test_kinds_of_knowledge() -> None:
    assert asked(True, 2).kind == "known"
    assert asked(True, 1).kind == "maybe"
    assert asked(False, 1).kind == "maybe"
    assert asked(False, 0).kind == "unknown"
