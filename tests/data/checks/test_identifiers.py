"""Checksums of identifying numbers; all of them are made up."""

from __future__ import annotations

import pytest

from tunewright.data.checks.identifiers import (
    is_bank_card,
    is_credit_code,
    is_identity_card,
    is_luhn,
    is_old_identity_card,
)


@pytest.mark.parametrize(
    "number",
    ["11010519491231002X", "11010519491231002x", "440307199902145123", "620102198507310017"],
)
def test_identity_cards_with_a_right_check_character(number: str) -> None:
    assert is_identity_card(number)


@pytest.mark.parametrize(
    "number",
    [
        "110105194912310021",  # check
        "990105194912310020",  # area
        "110105194902300026",  # 30 February
        "110105179912310029",  # year
        "11010519491231002",
        "1101051949123100２X",
    ],
)
def test_other_numbers_are_no_identity_cards(number: str) -> None:
    assert not is_identity_card(number)


def test_every_other_check_character_is_refused() -> None:
    right = [c for c in "0123456789X" if is_identity_card("44030719990214512" + c)]
    assert right == ["3"]
    assert [c for c in "0123456789" if is_luhn("622202100011223" + c)] == ["0"]
    letters = "0123456789ABCDEFGHJKLMNPQRTUWXY"
    assert [c for c in letters if is_credit_code("91440300MA5EXWHW6" + c)] == ["F"]


def test_old_identity_cards_have_an_area_and_a_date() -> None:
    assert is_old_identity_card("110105491231002")
    assert not is_old_identity_card("110105491331002")
    assert not is_old_identity_card("000105491231002")


@pytest.mark.parametrize(
    "number",
    ["6222021000112230", "6217001234567890122", "4539123456789017", "5204123456789018",
     "9558800100123456780"],
)  # fmt: skip
def test_bank_cards_have_an_issuer_a_length_and_a_check(number: str) -> None:
    assert is_bank_card(number)
    assert not is_bank_card(number[:-1] + str((int(number[-1]) + 1) % 10))
    assert not is_bank_card(number[:-1])


def test_numbers_without_an_issuer_are_no_bank_cards() -> None:
    assert is_luhn("1234567812345670")
    assert not is_bank_card("1234567812345670")
    assert not is_bank_card("6222222222222222")


def test_credit_codes_know_their_alphabet_and_province() -> None:
    assert is_credit_code("91440300MA5EXWHW6F")
    assert not is_credit_code("91440300MI5EXWHW6F")
    assert not is_credit_code("91990300MA5EXWHW6F")
    assert not is_credit_code("91440300MA5EXWHW6")
