"""Numbers by step, and what drawing them takes."""

from __future__ import annotations

import math
from collections.abc import Sequence

Points = Sequence[tuple[int, float]]


def round_numbers(low: float, high: float, about: int = 5) -> list[float]:
    """Round numbers that enclose ``low`` … ``high``, some ``about`` of them: an axis's ticks."""
    span = (high - low) or abs(high) or 1.0
    raw = span / about
    magnitude = 10.0 ** math.floor(math.log10(raw))
    step = next(m * magnitude for m in (1, 2, 2.5, 5, 10) if m * magnitude >= raw * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(number * step, 10) for number in range(first, max(last, first + 1) + 1)]


def thinned(points: Points, most: int) -> Points:
    """At most about ``most`` of the points, evenly spread, and always the last."""
    stride = max(1, math.ceil(len(points) / most))
    return [*points[:-1:stride], points[-1]] if points else points
