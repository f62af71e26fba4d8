"""Seconds and bytes as people read them."""

from __future__ import annotations


def seconds(value: float) -> str:
    """``75`` → ``1m15s``."""
    whole = round(value)
    hours, rest = divmod(whole, 3600)
    minutes, left = divmod(rest, 60)
    if hours:
        return f"{hours}h{minutes:02d}m"
    return f"{minutes}m{left:02d}s" if minutes else f"{left}s"


def size(count: float) -> str:
    """Bytes in the unit that reads best: ``123456789`` → ``123 MB``."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"
