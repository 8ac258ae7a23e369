"""Curves as inline SVG; colours come from the page's style sheet, so they follow light and dark."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

_WIDTH, _HEIGHT = 520, 260
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 14, 34, 40
_MOST_POINTS = 400
_LEGEND_ROW = 18

Point = tuple[float, float]


@dataclass(frozen=True)
class Curve:
    """One line: `points` are (x, y) with rising x, a y that is None or not finite being a gap."""

    label: str
    points: Sequence[tuple[float, float | None]]


def draw_curves(title: str, curves: Sequence[Curve], x_label: str = "step", floor: float | None = None) -> str:
    """Return the curves over one pair of axes as an SVG element, or a sentence where there is nothing to draw.

    The n-th curve has the class `curve-n`. `floor` is a value that the vertical axis reaches down to in any case.
    Curves of many points are drawn by the means of neighbours.
    """
    thinned = [_thin([(x, y) for x, y in curve.points if y is not None and math.isfinite(y)]) for curve in curves]
    everything = [point for points in thinned for point in points]
    if not everything:
        return f"<p class='soft'>{escape(title)}: nothing measured yet.</p>"
    low, high, y_step = _nice_range([y for _, y in everything] + ([] if floor is None else [floor]))
    left, right = min(x for x, _ in everything), max(x for x, _ in everything)
    plane = _Plane(left, right if right > left else left + 1, low, high)
    legend, above = _draw_legend([curve.label for curve in curves])
    parts = [f'<svg viewBox="0 {-above} {_WIDTH} {_HEIGHT + above}" role="img" aria-label="{escape(title)}">']
    parts += _draw_grid(plane, low, high, y_step)
    parts += _draw_x_axis(plane, left, right, x_label)
    for index, points in enumerate(thinned):
        parts += _draw_line(plane, points, index)
    return "".join((*parts, *legend, "</svg>"))


@dataclass(frozen=True)
class _Plane:
    """The part of the picture that curves are in."""

    left: float
    right: float
    low: float
    high: float

    def x(self, value: float) -> float:
        return _LEFT + (value - self.left) / (self.right - self.left) * (_WIDTH - _LEFT - _RIGHT)

    def y(self, value: float) -> float:
        return _HEIGHT - _BOTTOM - (value - self.low) / (self.high - self.low) * (_HEIGHT - _TOP - _BOTTOM)


def _draw_grid(plane: _Plane, low: float, high: float, step: float) -> list[str]:
    parts = []
    for index in range(round((high - low) / step) + 1):
        value = low + index * step
        y = plane.y(value)
        parts.append(f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}" class="grid"/>')
        text = format_number(0.0 if abs(value) < step / 1e6 else value)
        parts.append(f'<text x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end" class="tick">{text}</text>')
    return parts


def _draw_x_axis(plane: _Plane, left: float, right: float, label: str) -> list[str]:
    y = _HEIGHT - _BOTTOM + 18
    ends = [(left, "start")] if left == right else [(left, "start"), (right, "end")]
    parts = [
        f'<text x="{plane.x(value):.1f}" y="{y}" text-anchor="{anchor}" class="tick">{format_number(value)}</text>'
        for value, anchor in ends
    ]
    middle = (_LEFT + _WIDTH - _RIGHT) / 2
    return [*parts, f'<text x="{middle:.1f}" y="{y}" text-anchor="middle" class="tick">{escape(label)}</text>']


def _draw_line(plane: _Plane, points: Sequence[Point], index: int) -> list[str]:
    places = [(plane.x(x), plane.y(y)) for x, y in points]
    if not places:
        return []
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    parts = [f'<polyline points="{path}" class="curve curve-{index}"/>']
    if len(places) <= 40:  # few enough to be told apart; a single one is no line at all
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.5" class="dot-{index}"/>' for x, y in places]
    return parts


def _draw_legend(labels: Sequence[str]) -> tuple[list[str], int]:
    """Return the legend, in as many rows as it takes, and how far they reach above the picture."""
    places, x, row = [], float(_LEFT), 0
    for label in labels:
        width = 44 + 7.2 * len(label)
        if x + width > _WIDTH and x > _LEFT:
            x, row = float(_LEFT), row + 1
        places.append((x, row))
        x += width
    parts = []
    for index, (label, (x, in_row)) in enumerate(zip(labels, places, strict=True)):
        y = 14 - _LEGEND_ROW * (row - in_row)
        parts.append(f'<line x1="{x:.0f}" x2="{x + 18:.0f}" y1="{y}" y2="{y}" class="curve curve-{index}"/>')
        parts.append(f'<text x="{x + 24:.0f}" y="{y + 4}" class="tick">{escape(label)}</text>')
    return parts, _LEGEND_ROW * row


def _thin(points: Sequence[Point]) -> list[Point]:
    """Return at most about `_MOST_POINTS` points, each the mean of as many neighbours."""
    size = math.ceil(len(points) / _MOST_POINTS)
    if size <= 1:
        return list(points)
    groups = [points[start : start + size] for start in range(0, len(points), size)]
    return [(sum(x for x, _ in group) / len(group), sum(y for _, y in group) / len(group)) for group in groups]


def _nice_range(values: Sequence[float]) -> tuple[float, float, float]:
    """Return bounds that hold all values and a step between them, all of them 1, 2 or 5 times a power of ten."""
    low, high = min(values), max(values)
    if high - low < 1e-12 * max(1.0, abs(high)):
        low, high = low - 0.5 * (abs(low) or 1.0), high + 0.5 * (abs(high) or 1.0)
    rough = (high - low) / 5
    magnitude = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * magnitude for factor in (1, 2, 5, 10) if factor * magnitude >= rough)
    return math.floor(low / step) * step, math.ceil(high / step) * step, step


def format_number(value: float) -> str:
    """Return the number with as few digits as tell it, such as 0.75, 12,000 or 2e-05."""
    if value == round(value) and abs(value) < 1e9:
        return f"{round(value):,}"
    return f"{value:.3g}"
