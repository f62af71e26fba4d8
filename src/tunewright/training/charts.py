"""Curves of several runs over each other: as inline SVG, and as one line of text each."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from tunewright.core.curves import Points, round_numbers, thinned

_WIDTH, _HEIGHT = 960, 320
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 16, 12, 40
_MOST_POINTS = 600
_LOG_RATIO = 20.0
"""From this ratio of the largest to the smallest value on, the axis is logarithmic."""
_BLOCKS = "▁▂▃▄▅▆▇█"


@dataclass(frozen=True)
class Scale:
    """Losses → 0 (lowest) to 1; logarithmic where the losses span more than one magnitude."""

    low: float
    high: float
    logarithmic: bool

    @classmethod
    def over(cls, curves: Sequence[Points]) -> Scale:
        """A scale that holds every value of the curves."""
        values = [value for curve in curves for _, value in curve] or [0.0, 1.0]
        low, high = min(values), max(values)
        return cls(low, high, low > 0 and high / low > _LOG_RATIO)

    def share(self, value: float) -> float:
        """Where a value lies between the lowest and the highest."""
        low, high, value = (self._axis(number) for number in (self.low, self.high, value))
        return (value - low) / (high - low) if high > low else 0.5

    def ticks(self) -> list[float]:
        """Round numbers within the scale."""
        if not self.logarithmic:
            return [tick for tick in round_numbers(self.low, self.high) if self._holds(tick)]
        decades = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
        steps = (1, 2, 5) if len(decades) <= 4 else (1,)
        ticks = [step * 10.0**decade for decade in decades for step in steps]
        return [tick for tick in ticks if self._holds(tick)]

    def _axis(self, value: float) -> float:
        return math.log10(value) if self.logarithmic else value

    def _holds(self, value: float) -> bool:
        return self.low <= value <= self.high


def overlay(curves: Sequence[Points], title: str, step: str) -> Markup:
    """Curves over one another; number ``n`` bears the class ``s<n>``, which gives its colour."""
    scale = Scale.over(curves)
    last = max((points[-1][0] for points in curves if points), default=1) or 1
    bottom = _HEIGHT - _BOTTOM

    def place(point: tuple[int, float]) -> tuple[float, float]:
        x = _LEFT + (_WIDTH - _LEFT - _RIGHT) * point[0] / last
        return x, _TOP + (bottom - _TOP) * (1 - scale.share(point[1]))

    parts = [_line(place((0, tick))[1], f"{tick:g}") for tick in scale.ticks()]
    for tick in round_numbers(0, last):
        if tick <= last and tick == int(tick):
            parts.append(
                _text(place((int(tick), scale.low))[0], bottom + 18, "middle", f"{tick:g}")
            )
    parts.append(_text(_WIDTH - _RIGHT, _HEIGHT - 4, "end", step))
    for number, points in enumerate(curves):
        parts.append(_path(number, [place(point) for point in thinned(points, _MOST_POINTS)]))
    return Markup(
        '<svg class="chart" viewBox="0 0 {0} {1}" role="img" aria-label="{2}">'
        "<title>{2}</title>{3}</svg>"
    ).format(_WIDTH, _HEIGHT, title, Markup("").join(parts))


def sparkline(points: Points, scale: Scale, width: int, last: int) -> str:
    """A curve in ``width`` characters over the steps up to ``last``; spaces where it has none."""
    columns: list[list[float]] = [[] for _ in range(width)]
    for step, value in points:
        columns[min(width - 1, (step - 1) * width // max(last, 1))].append(value)
    held: float | None = None
    shown = []
    end = points[-1][0] if points else 0
    for number, values in enumerate(columns):
        held = sum(values) / len(values) if values else held
        within = number * max(last, 1) // width < end
        shown.append(" " if held is None or not within else _block(scale.share(held)))
    return "".join(shown)


def _block(share: float) -> str:
    return _BLOCKS[min(len(_BLOCKS) - 1, max(0, int(share * len(_BLOCKS))))]


def _line(y: float, label: str) -> Markup:
    return Markup('<line class="grid" x1="{}" x2="{}" y1="{:.1f}" y2="{:.1f}"/>{}').format(
        _LEFT, _WIDTH - _RIGHT, y, y, _text(_LEFT - 8, y + 4, "end", label)
    )


def _path(series: int, points: Sequence[tuple[float, float]]) -> Markup:
    if not points:
        return Markup("")
    if len(points) == 1:
        return Markup('<circle class="s{}" cx="{:.1f}" cy="{:.1f}" r="4"/>').format(
            series, *points[0]
        )
    data = " ".join(f"{'L' if n else 'M'}{x:.1f} {y:.1f}" for n, (x, y) in enumerate(points))
    return Markup('<path class="s{}" d="{}"/>').format(series, data)


def _text(x: float, y: float, anchor: str, text: str) -> Markup:
    return Markup('<text class="tick" x="{:.1f}" y="{:.1f}" text-anchor="{}">{}</text>').format(
        x, y, anchor, text
    )
