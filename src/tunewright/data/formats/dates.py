"""Dates as business data writes them, made comparable as text."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from typing import Any

_DATE = re.compile(
    r"(\d{4})[-/.年](\d{1,2})[-/.月](\d{1,2})日?[T ]*(?:(\d{1,2})(?=[:：时点]))?(.*)", re.S
)
_COMPACT = re.compile(r"(19|20)(\d\d)(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])(\d{6})?")
# Seconds since 1970 in the years 2001 to 2286; in milliseconds they have three digits more.
_SECONDS = range(10**9, 10**10)


def comparable_date(value: Any) -> str | None:
    """A date as text that sorts by time: year first, two digits for each part.

    Understood are dates with the year first (2024-1-5, 2024/01/05 9:30, 2024年1月5日,
    20240105), seconds or milliseconds since 1970, and date objects. Others give None:
    whether 01/02/2024 is in January or February cannot be known.
    """
    if isinstance(value, (datetime, date)):
        return value.isoformat(sep=" ") if isinstance(value, datetime) else value.isoformat()
    text = "" if value is None else str(value).strip()
    if match := _DATE.match(text):
        year, month, day, hour, rest = match.groups()
        time = f" {hour:0>2}{rest}" if hour else ""
        return f"{year}-{month:0>2}-{day:0>2}{time}"
    if match := _COMPACT.fullmatch(text):
        century, year, month, day, time = match.groups()
        return f"{century}{year}-{month}-{day}{f' {time}' if time else ''}"
    return _from_epoch(text)


def _from_epoch(text: str) -> str | None:
    whole = text.split(".", 1)[0]
    if not (whole.isascii() and whole.isdigit()):
        return None
    seconds = int(whole[:10]) if len(whole) in (10, 13) else 0
    if seconds not in _SECONDS:
        return None
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S") + whole[10:]
