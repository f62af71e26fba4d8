"""Dates as business data writes them."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest

from tunewright.data.formats.dates import comparable_date


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("2024-1-5", "2024-01-05"),
        ("2024/01/05 9:30", "2024-01-05 09:30"),
        ("2024-01-05T09:30:00Z", "2024-01-05 09:30:00Z"),
        ("2024.1.5", "2024-01-05"),
        ("2024年1月5日", "2024-01-05"),
        (20240105, "2024-01-05"),
        (1704447000, "2024-01-05 09:30:00"),
        ("1704447000123", "2024-01-05 09:30:00123"),
        (date(2024, 1, 5), "2024-01-05"),
        (datetime(2024, 1, 5, 9, 30, tzinfo=UTC), "2024-01-05 09:30:00+00:00"),
        ("01/02/2024", None),
        ("昨天", None),
        ("", None),
        (None, None),
        (12, None),
    ],
)
def test_dates_become_text_that_sorts(value: object, expected: str | None) -> None:
    assert comparable_date(value) == expected


def test_later_is_greater() -> None:
    told = ["2023/12/31", "2024-1-5 8:00", "2024年1月5日 10:00", "20240106", "2024-10-01"]
    comparable = [str(comparable_date(value)) for value in told]
    assert comparable == sorted(comparable)
