"""Lengths of large sets: exact where it matters, close where it does not."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tunewright.core.events import ignore
from tunewright.data import estimate
from tunewright.data.estimate import lengths_of
from tunewright.data.measure import measure, summary
from tunewright.data.records import Draft, Turn
from tunewright.model.rendering import Renderer
from tunewright.model.tokenizer_files import bounded_by_bytes


@pytest.fixture(scope="module")
def renderer(tiny_base: Path) -> Renderer:
    return Renderer(tiny_base)


def drafts(count: int) -> list[Draft]:
    draw = random.Random(0)
    rows = []
    for number in range(count):
        answer = "".join(draw.choices("合同押金房东退还时间 ab", k=draw.randint(1, 40)))
        answer = answer.strip() or "好"
        if number % 100 == 7:
            answer *= 20
        turns: tuple[Turn, ...] = (Turn("user", f"问题{number}"), Turn("assistant", answer))
        if number == 1500:
            turns = (*turns, *turns)
        rows.append(Draft(turns, "f", number, f"g{number}"))
    return rows


def test_rows_that_may_not_fit_are_measured(
    renderer: Renderer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(estimate, "MEASURED", 200)
    monkeypatch.setattr(estimate, "SAMPLE", 100)
    rows = drafts(2000)
    exact, quick = measure(rows, renderer, ignore), lengths_of(rows, renderer, 256, ignore)
    assert sum(length.estimated for length in quick) > 500
    for one, other in zip(exact, quick, strict=True):
        if other.estimated:
            assert one.tokens <= 256
        else:
            assert (one.tokens, one.supervised) == (other.tokens, other.supervised)
    assert not quick[1500].estimated, "the first rows of a pattern of roles are measured"
    whole, guess = summary(exact), summary(quick)
    assert guess["measured"] == sum(not length.estimated for length in quick)
    for name in ("p50", "total", "supervised"):
        assert abs(guess[name] - whole[name]) <= 0.1 * whole[name], name


def test_rows_that_cannot_fit_are_not_even_tokenized(renderer: Renderer) -> None:
    rows = drafts(3)
    endless = Draft((Turn("user", "q"), Turn("assistant", "长" * 3_000_000)), "f", 9, "g")
    lengths = lengths_of([rows[0], endless, *rows[1:]], renderer, 256, ignore)
    assert lengths[1].estimated
    assert lengths[1].tokens > 256
    assert [lengths[0], *lengths[2:]] == measure(rows, renderer, ignore)


def test_small_sets_are_measured_whole(renderer: Renderer) -> None:
    rows = drafts(50)
    assert lengths_of(rows, renderer, 256, ignore) == measure(rows, renderer, ignore)


def test_normalizers_that_may_lengthen_a_text_break_the_bound() -> None:
    from tokenizers import Tokenizer, models, normalizers

    tokenizer = Tokenizer(models.BPE())
    assert bounded_by_bytes(tokenizer)
    for normalizer, bounded in (
        (normalizers.NFC(), True),
        (normalizers.Sequence([normalizers.NFC(), normalizers.Replace(" ", "▁")]), True),
        (normalizers.NFKC(), False),
        (normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()]), False),
        (normalizers.Replace("a", "aaaaaa"), False),
    ):
        tokenizer.normalizer = normalizer
        assert bounded_by_bytes(tokenizer) is bounded, normalizer
