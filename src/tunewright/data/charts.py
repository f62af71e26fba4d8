"""Pictures of the data report as inline SVG; colours come from the page through class names."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from markupsafe import Markup

WIDTH = 880
BINS = 40
Bin = Mapping[str, int]

_STEP = 24  # least height of a labelled line of the flow
_GAP = 7
_THIN = 1.5  # a single row among a million still shows


def bins(values: Sequence[int], most: int = BINS) -> list[dict[str, int]]:
    """Counts of non-negative values in bins of one round width: ``[{from, to, rows}]``.

    Bounds are inclusive. A few values far above all others share one last, wider bin, so that
    they do not press the rest into a corner.
    """
    if not len(values):
        return []
    array = np.asarray(values, dtype=np.int64)
    top = int(array.max())
    usual = int(np.quantile(array, 0.99, method="higher"))
    cut = top if top <= 1.5 * usual else usual
    width = _round_width((cut + 1) / most)
    last = cut // width
    counts = np.bincount(np.minimum(array // width, last + (cut < top)), minlength=last + 1)
    ends = [(place + 1) * width - 1 for place in range(len(counts))]
    if cut < top:
        # Values of the last usual bin that lie above the cut belong there all the same.
        ends[-1] = top
    return [
        {"from": place * width, "to": end, "rows": int(count)}
        for place, (end, count) in enumerate(zip(ends, counts, strict=True))
    ]


def _round_width(least: float) -> int:
    """The smallest of 1, 2, 5, 10, 20, 50 … that is not below ``least``."""
    power = int(10 ** math.floor(math.log10(max(least, 1.0))))
    return next(m * power for m in (1, 2, 5, 10) if m * power >= least)


# Where every row went ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Part:
    """One end of the flow: how many rows came there; ``style`` is its class in the page."""

    label: str
    count: int
    style: str


@dataclass(frozen=True, slots=True)
class Stream:
    """Ends that belong together, such as the splits of the rows that are kept."""

    label: str
    style: str
    parts: Sequence[Part]

    @property
    def count(self) -> int:
        """Rows of all its ends."""
        return sum(part.count for part in self.parts)


@dataclass(slots=True)
class _Pen:
    """Draws the flow and keeps how far it has come down each column; x of the three columns."""

    unit: float  # height of one row
    columns: tuple[int, int, int] = (0, 285, 580)
    bar: int = 12
    top: float = 2.0
    ribbons: list[Markup] = field(default_factory=list)
    nodes: list[Markup] = field(default_factory=list)

    def thickness(self, count: int) -> float:
        return max(_THIN, count * self.unit)

    def ribbon(self, level: int, style: str, y: tuple[float, float], thick: float) -> None:
        """From the bar of column ``level`` to the next one, at heights ``y``."""
        left, right = self.columns[level] + self.bar, self.columns[level + 1]
        middle = (left + right) / 2
        (a, b), (c, d) = y, (y[0] + thick, y[1] + thick)
        path = (
            f"M{left} {a:.1f}C{middle:.0f} {a:.1f} {middle:.0f} {b:.1f} {right} {b:.1f}"
            f"V{d:.1f}C{middle:.0f} {d:.1f} {middle:.0f} {c:.1f} {left} {c:.1f}Z"
        )
        self.ribbons.append(Markup('<path class="ribbon {}" d="{}"/>').format(style, path))

    def node(self, level: int, style: str, y: float, thick: float, name: str, count: int) -> None:
        """A bar with its label to the right."""
        x = self.columns[level]
        self.nodes.append(
            Markup(
                '<rect class="{}" x="{}" y="{:.1f}" width="{}" height="{:.1f}" rx="2"/>'
                '<text x="{}" y="{:.1f}"><tspan class="count">{:,}</tspan>'
                '<tspan dx="8">{}</tspan></text>'
            ).format(style, x, y, self.bar, thick, x + self.bar + 9, y + thick / 2 + 5, count, name)
        )


def flow(read: Part, streams: Sequence[Stream], title: str) -> Markup:
    """All rows from the left to where they went; heights are in proportion and add up.

    Args:
        read: label and count of all rows.
        streams: where they went; empty parts are left out.
        title: what the picture says in words, for those who cannot see it.
    """
    shown = [
        Stream(s.label, s.style, [part for part in s.parts if part.count])
        for s in streams
        if s.count
    ]
    pen = _Pen(220 / max(1, read.count))
    thick = [[pen.thickness(part.count) for part in stream.parts] for stream in shown]
    slots = sum(max(t, _STEP) + _GAP for stream in thick for t in stream) + 8 * len(shown)
    total = sum(sum(stream) for stream in thick)
    left = pen.top + (slots - total) / 2
    pen.node(0, read.style, left, total, read.label, read.count)
    down = pen.top
    for stream, sizes in zip(shown, thick, strict=True):
        down = _stream(pen, stream, sizes, left, down) + 8
        left += sum(sizes)
    return _svg(down, title, [*pen.ribbons, *pen.nodes], "flow")


def _stream(pen: _Pen, stream: Stream, sizes: list[float], left: float, down: float) -> float:
    """Draw one stream from ``left`` on the first bar; returns where the next may begin."""
    extent = sum(max(t, _STEP) + _GAP for t in sizes) - _GAP
    whole = sum(sizes)
    middle = down + (extent - whole) / 2
    pen.ribbon(0, stream.style, (left, middle), whole)
    pen.node(1, stream.style, middle, whole, stream.label, stream.count)
    for part, size in zip(stream.parts, sizes, strict=True):
        slot = max(size, _STEP)
        at = down + (slot - size) / 2
        pen.ribbon(1, part.style, (middle, at), size)
        pen.node(2, part.style, at, size, part.label, part.count)
        middle += size
        down += slot + _GAP
    return down


# Histogram ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Marker:
    """A vertical line of a histogram, with its label."""

    value: int
    label: str
    style: str = ""


def histogram(found: Sequence[Bin], title: str, style: str, markers: Sequence[Marker]) -> Markup:
    """Columns on an axis from 0; a marker beyond the axis is named at its right end.

    A last bin that is wider than the others stands apart from them, paler.
    """
    height, base, head = 232, 204, 20.0 * len(markers) + 4
    width = found[0]["to"] - found[0]["from"] + 1
    wide = found[-1]["to"] - found[-1]["from"] + 1 > width
    end = len(found) * width
    step = WIDTH / (len(found) + 0.6 * wide)
    peak = max(entry["rows"] for entry in found)
    parts = [
        Markup('<line class="axis" x1="0" x2="{}" y1="{}" y2="{}"/>').format(WIDTH, base, base)
    ]
    for place, entry in enumerate(found):
        rise = entry["rows"] / peak * (base - head)
        shape = (base - max(rise, _THIN * bool(entry["rows"])), rise)
        apart = 0.6 * step if wide and place == len(found) - 1 else 0.0
        kind = f"{style} rest" if apart else style
        parts.append(_column(kind, place * step + apart, step, shape, entry))
    parts += _ticks(width, step, len(found) - wide, base)
    if wide:
        edge = (len(found) - 0.4) * step
        label = f"≥ {found[-1]['from']:,}"
        parts.append(_text("tick", min(edge + step / 2, WIDTH - 4), base + 18, "end", label))
    for line, marker in enumerate(markers):
        inside = marker.value <= end - wide * width
        x = marker.value / width * step if inside else float(WIDTH)
        parts.append(_marker(marker, x, inside, 14 + 20.0 * line, base))
    return _svg(height, title, parts, "histogram")


def _column(style: str, x: float, step: float, shape: tuple[float, float], entry: Bin) -> Markup:
    pad = min(1.0, step / 8)
    return Markup(
        '<rect class="{}" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}" rx="1.5">'
        "<title>{:,}–{:,}: {:,}</title></rect>"
    ).format(
        style,
        x + pad,
        shape[0],
        step - 2 * pad,
        max(shape[1], _THIN if entry["rows"] else 0),
        entry["from"],
        entry["to"],
        entry["rows"],
    )


def _ticks(width: int, step: float, places: int, base: float) -> list[Markup]:
    """Round values below the axis, some six of them."""
    every = _round_width(max(1.0, places * width / 6))
    values = range(0, places * width + 1, every)
    return [
        _text("tick", value / width * step, base + 18, "middle" if value else "start", f"{value:,}")
        for value in values
        if value / width * step < WIDTH - 60 or not value
    ]


def _marker(marker: Marker, x: float, inside: bool, y: float, base: float) -> Markup:
    before = x > WIDTH * 0.6
    label = marker.label if inside else f"{marker.label} →"
    line = (
        Markup('<line class="marker {}" x1="{:.1f}" x2="{:.1f}" y1="{:.1f}" y2="{}"/>').format(
            marker.style, x, x, y - 10, base
        )
        if inside
        else Markup("")
    )
    anchor = "end" if before else "start"
    shift = 0 if not inside else -7 if before else 7
    return line + _text(f"mark {marker.style}", x + shift, y, anchor, label)


def sizes(values: Sequence[int], title: str) -> Markup:
    """A few numbers as columns, the largest first, such as the sizes of clusters."""
    shown = sorted(values, reverse=True)[:60]
    height, step = 96, 480 / max(24, len(shown))
    parts = [
        Markup(
            '<rect class="size" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}" rx="1.5">'
            "<title>{:,}</title></rect>"
        ).format(
            place * step,
            height - max(_THIN, value / shown[0] * (height - 20)),
            step - 2,
            max(_THIN, value / shown[0] * (height - 20)),
            value,
        )
        for place, value in enumerate(shown)
    ]
    parts.append(_text("tick", 0, 12, "start", f"{shown[0]:,}"))
    return _svg(height, title, parts, "sizes", 480)


def _text(name: str, x: float, y: float, anchor: str, text: str) -> Markup:
    return Markup('<text class="{}" x="{:.1f}" y="{:.1f}" text-anchor="{}">{}</text>').format(
        name, x, y, anchor, text
    )


def _svg(
    height: float, title: str, parts: Sequence[Markup], name: str, width: int = WIDTH
) -> Markup:
    return Markup(
        '<svg class="{0}" viewBox="0 0 {1} {2:.0f}" role="img" aria-label="{3}">'
        "<title>{3}</title>{4}</svg>"
    ).format(name, width, height, title, Markup("").join(parts))
