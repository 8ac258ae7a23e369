"""Bar charts as inline SVG; colours come from the page's style sheet, so they follow light and dark."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

_WIDTH = 480
_LABEL = 116
_VALUE = 92
_ROW = 30
_AXIS = 26


@dataclass(frozen=True)
class Bar:
    """One bar; `value` None draws none and shows `text` alone. `tone` is a class of the style sheet."""

    label: str
    value: float | None
    text: str
    tone: str = "bar"


def draw_bars(title: str, bars: Sequence[Bar]) -> str:
    """Return horizontal bars from zero to the largest value."""
    largest = max((bar.value for bar in bars if bar.value is not None), default=0.0) or 1.0
    shares = [None if bar.value is None else bar.value / largest for bar in bars]
    return _draw(title, bars, shares, None, "")


def draw_log_bars(title: str, bars: Sequence[Bar], bound: float) -> str:
    """Return horizontal bars on a logarithmic axis, with a line at `bound`, the most that is allowed."""
    values = [bar.value for bar in bars if bar.value]
    lowest = math.floor(math.log10(min([*values, bound]))) - 0.5
    highest = math.log10(max([*values, bound])) + 0.4

    def share(value: float | None) -> float | None:
        if value is None:
            return None
        return 0.0 if value <= 0 else (math.log10(value) - lowest) / (highest - lowest)

    return _draw(title, bars, [share(bar.value) for bar in bars], share(bound), f"bound {bound:.0e}")


def _draw(title: str, bars: Sequence[Bar], shares: Sequence[float | None], bound: float | None, bound_text: str) -> str:
    height = len(bars) * _ROW + (_AXIS if bound is not None else 4)
    span = _WIDTH - _LABEL - _VALUE
    parts = [f'<svg viewBox="0 0 {_WIDTH} {height}" role="img" aria-label="{escape(title)}">']
    for index, (bar, part) in enumerate(zip(bars, shares, strict=True)):
        y = index * _ROW
        length = 0.0 if part is None else max(2.0, part * span)
        parts.append(f'<text x="{_LABEL - 10}" y="{y + 20}" text-anchor="end" class="name">{escape(bar.label)}</text>')
        parts.append(f'<rect x="{_LABEL}" y="{y + 6}" width="{span}" height="18" rx="4" class="track"/>')
        if part is not None:
            parts.append(
                f'<rect x="{_LABEL}" y="{y + 6}" width="{length:.1f}" height="18" rx="4" class="{escape(bar.tone)}"/>'
            )
        parts.append(f'<text x="{_LABEL + span + 10}" y="{y + 20}" class="value">{escape(bar.text)}</text>')
    if bound is not None:
        x = _LABEL + bound * span
        bottom = len(bars) * _ROW
        parts.append(f'<line x1="{x:.1f}" y1="0" x2="{x:.1f}" y2="{bottom}" class="bound"/>')
        parts.append(
            f'<text x="{x:.1f}" y="{bottom + 18}" text-anchor="middle" class="bound">{escape(bound_text)}</text>'
        )
    return "".join((*parts, "</svg>"))
