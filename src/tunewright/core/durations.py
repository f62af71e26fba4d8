"""Lengths of time as people write them: ``90s``, ``15m``, ``12h``, ``30d``, ``2w``."""

from __future__ import annotations

import re

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_FORM = re.compile(r"([0-9]{1,6})([smhdw])")


def parse_duration(text: str) -> int:
    """Seconds.

    Raises:
        ValueError: for another form, or none at all.
    """
    found = _FORM.fullmatch(text.strip().lower())
    if found is None or int(found[1]) == 0:
        raise ValueError(f"{text[:64]!r} is no length of time; write 90s, 15m, 12h, 30d or 2w")
    return int(found[1]) * _UNITS[found[2]]
