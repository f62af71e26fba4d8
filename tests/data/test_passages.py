"""Long plain text in pieces: they fit, nothing is lost, and cuts stand where a reader pauses."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tunewright.data.passages import split_text
from tunewright.data.records import Draft, Turn
from tunewright.model.rendering import Renderer

SENTENCES = (
    "试用期最长六个月。",
    "押金应当退还！",
    "Three months, at most. ",
    "为什么？",
    "See 3.14 there. ",
)


@pytest.fixture
def renderer(tiny_base: Path) -> Renderer:
    return Renderer(tiny_base)


def draft(text: str) -> Draft:
    return Draft((Turn("user", text),), "laws.txt", 7, "g7", kind="text", label="law")


def texts(drafts: list[Draft]) -> list[str]:
    return [one.turns[0].text for one in drafts]


def random_text(seed: int) -> str:
    draw = random.Random(seed)
    parts = []
    for _ in range(60):
        parts.append("".join(draw.choices(SENTENCES, k=draw.randint(1, 9))))
        parts.append(draw.choice(["\n\n", "\n", " \n \n", ""]))
    return "".join(parts)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("limit", [12, 40, 200])
def test_pieces_fit_and_nothing_is_lost(renderer: Renderer, seed: int, limit: int) -> None:
    text = f"\n {random_text(seed)}\n"
    pieces = split_text(draft(text), renderer, limit)
    assert len(pieces) > 1
    assert "".join("".join(texts(pieces)).split()) == "".join(text.split())
    assert max(renderer.count_texts(texts(pieces))) <= limit
    # As long as fits: no two neighbours would have fitted together.
    joined = [a + b for a, b in zip(texts(pieces), texts(pieces)[1:], strict=False)]
    assert sum(n > limit for n in renderer.count_texts(joined)) >= len(joined) // 2


def test_pieces_stay_what_the_row_was(renderer: Renderer) -> None:
    for piece in split_text(draft(random_text(1)), renderer, 60):
        assert (piece.file, piece.number, piece.group) == ("laws.txt", 7, "g7")
        assert (piece.kind, piece.label, piece.turns[0].role) == ("text", "law", "user")


def test_a_text_that_fits_stays_one_row(renderer: Renderer) -> None:
    row = draft("试用期最长六个月。")
    assert split_text(row, renderer, 256) == [row]


def test_cuts_stand_between_paragraphs_then_sentences(renderer: Renderer) -> None:
    paragraphs = ["试用期最长六个月。" * 3 + end for end in ("\n\n", "\n \n", "")]
    limit = max(renderer.count_texts(paragraphs))
    assert texts(split_text(draft("".join(paragraphs)), renderer, limit)) == paragraphs
    for piece in texts(split_text(draft(paragraphs[2]), renderer, limit - 8)):
        assert piece.endswith("。")


def test_a_number_is_no_end_of_a_sentence(renderer: Renderer) -> None:
    text = "The value is 3.14159 here. And it is 2.71828 there. "
    limit = renderer.count_texts([text])[0] - 2
    assert texts(split_text(draft(text), renderer, limit)) == [
        "The value is 3.14159 here. ", "And it is 2.71828 there."
    ]  # fmt: skip


def test_text_without_any_pause_is_cut_between_characters(renderer: Renderer) -> None:
    text = "押金" * 400
    pieces = texts(split_text(draft(text), renderer, 30))
    assert "".join(pieces) == text
    assert max(renderer.count_texts(pieces)) <= 30
    words = "fox " * 300
    for piece in texts(split_text(draft(words), renderer, 30)):
        assert set(piece.split()) == {"fox"}


def test_what_looks_like_one_character_stays_whole(renderer: Renderer) -> None:
    family, accent = "\U0001f469\u200d\U0001f469\u200d\U0001f467", "e\u0301"
    pieces = texts(split_text(draft((family + accent) * 20), renderer, 64))
    assert "".join(pieces) == (family + accent) * 20
    for piece in pieces:
        assert not piece.startswith(("\u200d", "\u0301"))
        assert not piece.endswith("\u200d")


def test_a_limit_below_one_character_still_ends(renderer: Renderer) -> None:
    pieces = texts(split_text(draft("🙂🙂🙂"), renderer, 2))
    assert pieces == ["🙂", "🙂", "🙂"]


def test_white_space_makes_no_piece_of_its_own(renderer: Renderer) -> None:
    pieces = texts(split_text(draft("押金" * 30 + "\n" * 300 + "退还" * 30), renderer, 40))
    assert all(piece.strip() for piece in pieces)
    assert "".join("".join(pieces).split()) == "押金" * 30 + "退还" * 30


def test_spelled_control_tokens_are_measured_as_text(renderer: Renderer) -> None:
    pieces = texts(split_text(draft("<|im_end|>押金。" * 40), renderer, 50))
    assert "".join(pieces) == "<|im_end|>押金。" * 40
    assert max(renderer.count_texts(pieces)) <= 50
