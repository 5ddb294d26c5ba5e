"""Line charts as SVG, for reports that are read without a script. Text and axes take the page's own colour."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from html import escape
from typing import NamedTuple

PALETTE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8c6bb1", "#999999")
BLUE, ORANGE = PALETTE[:2]
WIDTH, HEIGHT = 640, 250  # units of the drawing
LEFT, RIGHT, TOP, BOTTOM = 56, 12, 12, 34  # of what stands around the curves
TICKS = 5
POINTS = 400  # of a curve
MOST = 1e100  # of a number that is drawn
PLAIN = 0.001, 100_000  # sizes of numbers that are written without an exponent


class Line(NamedTuple):
    """A curve with its name; ``dashed`` for what is compared with. ``band``: what lies around it, as the lower and the
    upper end at each of ``x``."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    dashed: bool = False
    band: tuple[Sequence[float], Sequence[float]] | None = None


class Dots(NamedTuple):
    """What stands in one lane of ``strips``: filled dots and hollow ones, as ``name`` in ``group``."""

    group: str
    name: str
    filled: Sequence[float]
    hollow: Sequence[float]


def chart(title: str, lines: Sequence[Line], x_label: str = "training step", y_label: str = "") -> str:
    """An ``<svg>`` with a legend below it; empty where there is nothing finite to draw."""
    lines = [_finite(line) for line in lines]
    lines = [line for line in lines if line.x]
    if not lines:
        return ""
    x = _axis([value for line in lines for value in line.x])
    ends = [value for line in lines for end in line.band or () for value in end]
    y = _axis([value for line in lines for value in line.y] + ends, room=True)
    drawn = [*_grid(x, y), *_bands(lines, x, y), *_curves(lines, x, y), *_titles(x_label, y_label)]
    return _figure(title, drawn, [_entry(index, line) for index, line in enumerate(lines) if len(lines) > 1])


def strips(title: str, lanes: Sequence[Dots], y_label: str = "") -> str:
    """An ``<svg>`` with a lane for each name in each group, names by colour; empty where there is nothing to draw."""
    values = [value for lane in lanes for value in (*lane.filled, *lane.hollow)]
    if not values:
        return ""
    y = _axis(values, room=True)
    groups, names = (
        list(dict.fromkeys(found)) for found in ([one.group for one in lanes], [one.name for one in lanes])
    )
    drawn = [*_heights(y), *_columns(groups), *_titles("", y_label)]
    for lane in lanes:
        index = names.index(lane.name)
        across = (groups.index(lane.group) + (index + 1) / (len(names) + 1)) / len(groups)
        for style, found in (('fill="none" stroke=', lane.hollow), ("fill=", lane.filled)):
            places = (_place(across, y.share(value)) for value in found)
            drawn += [f'<circle cx="{x:.1f}" cy="{at:.1f}" r="3.5" {style}"{_colour(index)}"/>' for x, at in places]
    return _figure(title, drawn, [_entry(index, Line(name, (), ())) for index, name in enumerate(names)])


def _figure(title: str, drawn: Sequence[str], legend: Sequence[str]) -> str:
    box = f'viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}"'
    above, below = f"<figcaption>{escape(title)}</figcaption>", f'<p class="legend">{"".join(legend)}</p>'
    return f"<figure>{above}<svg {box}>{''.join(drawn)}</svg>{below}</figure>"


class Axis(NamedTuple):
    low: float
    high: float
    ticks: list[float]

    def share(self, value: float) -> float:
        return (value - self.low) / (self.high - self.low)


def _axis(values: Sequence[float], room: bool = False) -> Axis:
    low, high = (min(max(round(value, 100), -MOST), MOST) for value in (min(values), max(values)))
    if high - low <= abs(high) * 1e-12:
        low, high = low - (abs(low) or 1) / 2, high + (abs(high) or 1) / 2
    elif room:
        low, high = low - 0.04 * (high - low), high + 0.04 * (high - low)
    step = 10 ** math.floor(math.log10((high - low) / TICKS))
    step *= next(by for by in (1, 2, 2.5, 5, 10) if (high - low) / (step * by) <= TICKS)
    first = math.ceil(low / step)
    return Axis(low, high, [step * index for index in range(first, math.floor(high / step) + 1)])


def _finite(line: Line) -> Line:
    pairs = [(x, y) for x, y in zip(line.x, line.y, strict=True) if abs(y) <= MOST]
    if line.band is not None:
        return line  # means over runs: few, and finite
    stride = max(1, -(-len(pairs) // POINTS))
    kept = pairs[::stride] + (pairs[-1:] if pairs and (len(pairs) - 1) % stride else [])
    return line._replace(x=[x for x, _ in kept], y=[y for _, y in kept])


def _place(x: float, y: float) -> tuple[float, float]:
    """Of shares of both axes, in units of the drawing."""
    return LEFT + x * (WIDTH - LEFT - RIGHT), HEIGHT - BOTTOM - y * (HEIGHT - TOP - BOTTOM)


def _heights(y: Axis) -> Iterator[str]:
    for value in y.ticks:
        left, at = _place(0, y.share(value))
        yield f'<path class="grid" d="M{left:.1f} {at:.1f}H{WIDTH - RIGHT}"/>'
        yield f'<text x="{left - 6}" y="{at + 4:.1f}" text-anchor="end">{_number(value)}</text>'


def _columns(groups: Sequence[str]) -> Iterator[str]:
    for index, group in enumerate(groups):
        (left, bottom), (middle, top) = _place(index / len(groups), 0), _place((index + 0.5) / len(groups), 1)
        yield f'<path class="grid" d="M{left:.1f} {bottom:.1f}V{top:.1f}"/>'
        yield f'<text x="{middle:.1f}" y="{bottom + 16:.1f}" text-anchor="middle">{escape(group)}</text>'


def _grid(x: Axis, y: Axis) -> Iterator[str]:
    yield from _heights(y)
    for value in x.ticks:
        at, bottom = _place(x.share(value), 0)
        yield f'<path class="grid" d="M{at:.1f} {bottom:.1f}v4"/>'
        yield f'<text x="{at:.1f}" y="{bottom + 16:.1f}" text-anchor="middle">{_number(value)}</text>'


def _bands(lines: Sequence[Line], x: Axis, y: Axis) -> Iterator[str]:
    for index, line in enumerate(lines):
        if line.band is not None:
            low, high = (list(zip(line.x, end, strict=True)) for end in line.band)
            points = [_place(x.share(one), y.share(other)) for one, other in [*low, *high[::-1]]]
            path = " ".join(f"{across:.1f},{down:.1f}" for across, down in points)
            yield f'<polygon points="{path}" fill="{_colour(index)}" fill-opacity="0.15"/>'


def _curves(lines: Sequence[Line], x: Axis, y: Axis) -> Iterator[str]:
    for index, line in enumerate(lines):
        points = [_place(x.share(one), y.share(other)) for one, other in zip(line.x, line.y, strict=True)]
        path = " ".join(f"{across:.1f},{down:.1f}" for across, down in points)
        dashes = "6 4" if line.dashed else "2 3" if index >= len(PALETTE) else ""
        style = f'stroke="{_colour(index)}"' + (f' stroke-dasharray="{dashes}"' if dashes else "")
        if len(points) == 1:
            yield f'<circle cx="{points[0][0]:.1f}" cy="{points[0][1]:.1f}" r="3" fill="{_colour(index)}"/>'
        yield f'<polyline class="curve" points="{path}" {style}/>'


def _titles(x_label: str, y_label: str) -> Iterator[str]:
    yield f'<text x="{WIDTH - RIGHT}" y="{HEIGHT - 4}" text-anchor="end">{escape(x_label)}</text>'
    if y_label:
        yield f'<text transform="translate(12 {TOP}) rotate(-90)" text-anchor="end">{escape(y_label)}</text>'


def _entry(index: int, line: Line) -> str:
    style = "dashed" if line.dashed else "dotted" if index >= len(PALETTE) else "solid"
    mark = f'<i style="border-top:3px {style} {_colour(index)}"></i>'
    return f"<span>{mark}{escape(line.name)}</span> "


def _colour(index: int) -> str:
    return PALETTE[index % len(PALETTE)]


def _number(value: float) -> str:
    if value == 0 or PLAIN[0] <= abs(value) < PLAIN[1]:
        return f"{round(value, 6):,.6g}"
    return f"{value:.2g}"
