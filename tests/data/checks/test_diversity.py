"""How many really different questions there are."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.data.checks.compared import found, qa, run, said

from tunewright.data.checks.diversity import DIVERSITY
from tunewright.data.records import Draft, Turn
from tunewright.model.rendering import Renderer


@pytest.fixture(scope="module")
def renderer(tiny_base: Path) -> Renderer:
    return Renderer(tiny_base)


def different(count: int) -> list[Draft]:
    """Questions that share no run of three characters."""
    return [
        qa("".join(chr(0x4E00 + (n * 12 + k) % 20000) for k in range(12)), f"{n}", n)
        for n in range(count)
    ]


@pytest.mark.parametrize(
    ("count", "level", "words"),
    [
        (49, "care", "too few"),
        (50, "info", "just enough to try"),
        (100, "info", "enough to start"),
        (500, "info", "clear effect"),
        (1000, "info", "plenty"),
    ],
)
def test_advice_follows_the_number_of_clusters(
    count: int, level: str, words: str, renderer: Renderer
) -> None:
    outcome = run(DIVERSITY, different(count), renderer)
    assert found(outcome).facts["clusters"] == count
    assert found(outcome).level == level
    assert words in said(DIVERSITY, outcome)
    assert outcome.drops == ()


def test_rewordings_do_not_count(renderer: Renderer) -> None:
    base = "公司拖欠我三个月工资一直不发我应该怎么办才能要回来"
    drafts = different(60) + [qa(base + end, "a", 0) for end in ("呢", "吗", "啊", "请问") * 20]
    outcome = run(DIVERSITY, drafts, renderer)
    assert found(outcome).facts["clusters"] == 61
    assert found(outcome).facts["largest"] == pytest.approx(80 / 140)
    assert found(outcome).level == "care"
    assert base[:5] in found(outcome).examples[0].text


def test_repeated_phrases_lower_the_distinct_measure(renderer: Renderer) -> None:
    fresh = [qa(draft.question, draft.question) for draft in different(100)]
    stale = [
        qa(draft.question, "您好请咨询当地有关部门" + draft.answer) for draft in different(100)
    ]
    assert found(run(DIVERSITY, fresh, renderer)).facts["distinct"] == 1
    assert found(run(DIVERSITY, stale, renderer)).facts["distinct"] < 0.3


def test_plain_texts_have_variety_too(renderer: Renderer) -> None:
    texts = [Draft((Turn("user", d.question),), "f", 0, "g", kind="text") for d in different(60)]
    assert found(run(DIVERSITY, texts, renderer)).facts["distinct"] == 1


def test_large_sets_are_sampled(renderer: Renderer) -> None:
    facts = found(run(DIVERSITY, different(1000) * 21, renderer)).facts
    assert (facts["rows"], facts["sampled"], facts["clusters"]) == (21_000, 20_000, 1000)
