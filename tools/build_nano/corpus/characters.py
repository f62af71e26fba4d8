"""Which Chinese characters count as common."""

from __future__ import annotations

from functools import cache


@cache
def common_characters() -> tuple[str, ...]:
    """The 3,755 characters of GB 2312's first level, in its order (by pinyin)."""
    found = []
    for row in range(0xB0, 0xD8):
        for cell in range(0xA1, 0xFF):
            if (row, cell) <= (0xD7, 0xF9):
                found.append(bytes((row, cell)).decode("gb2312"))
    return tuple(found)
