"""Charts as inline SVG; colours come from the page's style sheet through class names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from tunewright.core.curves import Points, round_numbers, thinned
from tunewright.evaluation.texts import percent

WIDTH = 960
_LABELS = 150  # left column
_VALUES = 64  # room for the last value label
_LINE = 20  # one series within a row
_GAP = 18  # between rows
_SMOOTHING = 0.8
_MOST_POINTS = 600


@dataclass(frozen=True, slots=True)
class Dot:
    """A share in 0..1 with its interval, if there is one."""

    value: float
    interval: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True)
class DotRow:
    """One labelled row with a dot for every series."""

    label: str
    dots: Sequence[Dot]


def dots(rows: Sequence[DotRow], title: str) -> Markup:
    """Rows of dots with intervals on an axis from 0 to 100 %, one line per series."""
    series = max(len(row.dots) for row in rows)
    height = len(rows) * (series * _LINE + _GAP) + 34
    parts = [_axis(height)]
    for number, row in enumerate(rows):
        top = number * (series * _LINE + _GAP) + _GAP / 2
        middle = top + series * _LINE / 2 + 4
        parts.append(_text("label", 0, middle, "start", _short(row.label, 24)))
        parts += [
            _dot(dot, index, top + (index + 0.5) * _LINE) for index, dot in enumerate(row.dots)
        ]
    return _svg(height, title, parts)


def _dot(dot: Dot, series: int, y: float) -> Markup:
    low, high = dot.interval or (dot.value, dot.value)
    band = (
        Markup('<line class="band" x1="{:.1f}" x2="{:.1f}" y1="{:.1f}" y2="{:.1f}"/>').format(
            _share_x(low), _share_x(high), y, y
        )
        if dot.interval
        else Markup("")
    )
    return Markup(
        '<g class="s{}">{}<circle cx="{:.1f}" cy="{:.1f}" r="5"/>'
        '<text class="value" x="{:.1f}" y="{:.1f}">{}</text></g>'
    ).format(
        series,
        band,
        _share_x(dot.value),
        y,
        max(_share_x(high), _share_x(dot.value) + 5) + 9,
        y + 4,
        percent(dot.value),
    )


def _share_x(share: float) -> float:
    return _LABELS + share * (WIDTH - _LABELS - _VALUES)


def _axis(height: float) -> Markup:
    bottom = height - 28
    return Markup("").join(
        Markup(
            '<line class="grid" x1="{0:.1f}" x2="{0:.1f}" y1="0" y2="{1}"/>'
            '<text class="tick" x="{0:.1f}" y="{2}" text-anchor="middle">{3}</text>'
        ).format(_share_x(share), bottom, bottom + 18, percent(share, 0))
        for share in (0, 0.25, 0.5, 0.75, 1)
    )


def whisker(delta: float, low: float, high: float, reach: float, tone: str) -> Markup:
    """A difference with its interval on a small axis from ``-reach`` to ``reach``.

    ``tone`` is good, bad or flat.
    """

    def x(value: float) -> float:
        return 70 + 64 * max(-1.0, min(1.0, value / reach))

    return Markup(
        '<svg class="whisker {}" viewBox="0 0 140 16" width="140" height="16" aria-hidden="true">'
        '<line class="zero" x1="70" x2="70" y1="0" y2="16"/>'
        '<line class="band" x1="{:.1f}" x2="{:.1f}" y1="8" y2="8"/>'
        '<circle cx="{:.1f}" cy="8" r="4"/></svg>'
    ).format(tone, x(low), x(high), x(delta))


@dataclass(frozen=True, slots=True)
class CurveLabels:
    """The words on a loss chart; ``used`` describes the marked step."""

    title: str
    step: str
    used: str


def loss_chart(
    train: Points, validation: Points, used_step: int | None, labels: CurveLabels
) -> Markup:
    """Loss by optimizer step: every training loss faint, its running mean and validation clear."""
    height, left, right, top, bottom = 320, 56, 16, 16, 44
    smooth = _running_mean(train)
    steps = [step for step, _ in (*train, *validation)]
    clear = [loss for _, loss in (*smooth, *validation)]
    ticks = round_numbers(min(clear), max(clear))
    last = max(1, *steps)
    span = (ticks[-1] - ticks[0]) or 1.0

    def xy(point: tuple[int, float]) -> tuple[float, float]:
        x = left + (WIDTH - left - right) * point[0] / last
        share = (min(point[1], ticks[-1]) - ticks[0]) / span
        return x, top + (height - top - bottom) * (1 - max(0.0, share))

    parts = [_loss_axes([(xy((0, tick))[1], tick) for tick in ticks], left, WIDTH - right)]
    for step in round_numbers(0, last):
        if step <= last and step == int(step):
            x = xy((int(step), 0))[0]
            parts.append(_text("tick", x, height - bottom + 20, "middle", f"{int(step)}"))
    parts.append(_text("tick", WIDTH - right, height - 4, "end", labels.step))
    if used_step is not None and used_step <= last:
        parts.append(_used(xy((used_step, 0))[0], top, height - bottom, labels.used))
    parts.append(_path("raw", [xy(point) for point in thinned(train, _MOST_POINTS)]))
    parts.append(_path("train", [xy(point) for point in thinned(smooth, _MOST_POINTS)]))
    parts.append(_path("validation", [xy(point) for point in validation]))
    parts += [
        Markup('<circle class="validation" cx="{:.1f}" cy="{:.1f}" r="3.5"/>').format(*xy(point))
        for point in (validation if len(validation) <= 60 else ())
    ]
    return _svg(height, labels.title, parts)


def _loss_axes(lines: Sequence[tuple[float, float]], left: float, right: float) -> Markup:
    return Markup("").join(
        Markup('<line class="grid" x1="{}" x2="{}" y1="{:.1f}" y2="{:.1f}"/>{}').format(
            left, right, y, y, _text("tick", left - 10, y + 4, "end", f"{loss:g}")
        )
        for y, loss in lines
    )


def _used(x: float, top: float, bottom: float, label: str) -> Markup:
    end = x > WIDTH / 2
    return Markup('<line class="used" x1="{0:.1f}" x2="{0:.1f}" y1="{1}" y2="{2}"/>{3}').format(
        x,
        top,
        bottom,
        _text("tick", x - 8 if end else x + 8, top + 10, "end" if end else "start", label),
    )


def _running_mean(points: Points) -> list[tuple[int, float]]:
    """Exponential running mean with Adam's bias correction, so that it starts at the first loss."""
    mean, result = 0.0, []
    for number, (step, loss) in enumerate(points, start=1):
        mean = _SMOOTHING * mean + (1 - _SMOOTHING) * loss
        result.append((step, mean / (1 - _SMOOTHING**number)))
    return result


def _path(name: str, points: Sequence[tuple[float, float]]) -> Markup:
    data = " ".join(f"{'L' if n else 'M'}{x:.1f} {y:.1f}" for n, (x, y) in enumerate(points))
    return Markup('<path class="{}" d="{}"/>').format(name, data) if points else Markup("")


def _text(name: str, x: float, y: float, anchor: str, text: str) -> Markup:
    return Markup('<text class="{}" x="{:.1f}" y="{:.1f}" text-anchor="{}">{}</text>').format(
        name, x, y, anchor, text
    )


def _svg(height: float, title: str, parts: Sequence[Markup]) -> Markup:
    return Markup(
        '<svg class="chart" viewBox="0 0 {0} {1:.0f}" role="img" aria-label="{2}">'
        "<title>{2}</title>{3}</svg>"
    ).format(WIDTH, height, title, Markup("").join(parts))


def _short(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"
