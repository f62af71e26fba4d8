"""Checksums and fixed parts of identifying numbers."""

from __future__ import annotations

import re
from datetime import date

# GB/T 2260: the provinces that may begin an area code.
_PROVINCES = re.compile("1[1-5]|2[1-3]|3[1-7]|4[1-6]|5[0-4]|6[1-5]|71|8[1-3]|91")
_CREDIT_ALPHABET = "0123456789ABCDEFGHJKLMNPQRTUWXY"


def is_province(code: str) -> bool:
    """Whether an area code begins with a Chinese province."""
    return _PROVINCES.match(code) is not None


def is_identity_card(number: str) -> bool:
    """Whether 18 characters are a valid number of a Chinese identity card (GB 11643-1999).

    Area, date of birth and the check character (ISO 7064 MOD 11-2) must all be right.
    """
    return has_identity_card_form(number) and _mod_11_2(number[:17]) == number[17].upper()


def has_identity_card_form(number: str) -> bool:
    """Whether 18 characters have the area and date of an identity card, whatever the check."""
    return (
        re.fullmatch(r"[1-9][0-9]{16}[0-9Xx]", number) is not None
        and is_province(number)
        and _is_date(number[6:14])
    )


def is_old_identity_card(number: str) -> bool:
    """Whether 15 digits may be a number of the first generation, which has no check digit."""
    return (
        re.fullmatch(r"[1-9][0-9]{14}", number) is not None
        and is_province(number)
        and _is_date("19" + number[6:12])
    )


def is_luhn(number: str) -> bool:
    """Whether digits pass the check of ISO/IEC 7812-1 (Luhn)."""
    digits = [int(digit) for digit in reversed(number)]
    doubled = (sum(divmod(2 * digit, 10)) for digit in digits[1::2])
    return (sum(digits[::2]) + sum(doubled)) % 10 == 0


def is_bank_card(number: str) -> bool:
    """Whether digits are a card number of a known issuer range with a right check digit."""
    lengths = (
        (r"62", range(16, 20)),  # UnionPay
        (r"4|5[1-5]|35(?:2[89]|[3-8])|6011|65|64[4-9]", range(16, 17)),  # Visa, MC, JCB, Discover
        (r"95588|95599|9558[0-9]", range(19, 20)),  # before UnionPay: ICBC, ABC
    )
    known = any(len(number) in sizes and re.match(prefix, number) for prefix, sizes in lengths)
    return known and len(set(number)) > 2 and is_luhn(number)


def is_credit_code(code: str) -> bool:
    """Whether 18 characters are a valid unified social credit code (GB 32100-2015)."""
    if len(code) != 18 or any(character not in _CREDIT_ALPHABET for character in code):
        return False
    total = sum(
        _CREDIT_ALPHABET.index(character) * pow(3, place, 31)
        for place, character in enumerate(code[:17])
    )
    return is_province(code[2:4]) and _CREDIT_ALPHABET[-total % 31] == code[17]


def _mod_11_2(digits: str) -> str:
    """The check character after 17 digits, by ISO 7064 MOD 11-2."""
    total = sum(int(digit) * pow(2, 17 - place, 11) for place, digit in enumerate(digits))
    return "0123456789X"[(12 - total % 11) % 11]


def _is_date(digits: str) -> bool:
    """Whether eight digits are a day from 1850 to 2099."""
    try:
        day = date(int(digits[:4]), int(digits[4:6]), int(digits[6:8]))
    except ValueError:
        return False
    return 1850 <= day.year <= 2099
