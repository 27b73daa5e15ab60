"""Figures of reports as inline SVG: curves and histograms, without a plotting library."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import numpy as np

_WIDTH, _HEIGHT = 340, 260
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 14, 26, 38
_MAX_POINTS = 300
COLORS = ('#2b6cb0', '#c53030', '#2f855a', '#b7791f')


def curve_figure(
    title: str,
    x_label: str,
    y_label: str,
    curves: Sequence[tuple[str, np.ndarray, np.ndarray]],
    x_limit: float = 1.0,
) -> str:
    """Curves in the square 0..x_limit by 0..1.

    Args:
        title: above the figure.
        x_label: below.
        y_label: at the side.
        curves: name, x (N,) ascending, y (N,) each.
        x_limit: right end of the axis.

    Returns:
        An SVG element.
    """
    parts = [_frame(title, x_label, y_label, (0, x_limit), (0, 1))]
    for index, (name, x, y) in enumerate(curves):
        x, y = _clip_curve(np.asarray(x, float), np.asarray(y, float), x_limit)
        points = ' '.join(f'{_px(a, 0, x_limit):.1f},{_py(b, 0, 1):.1f}' for a, b in zip(x, y))
        color = COLORS[index % len(COLORS)]
        parts.append(
            f'<polyline points="{points}" fill="none" stroke="{color}" stroke-width="1.8"/>'
        )
        parts.append(_legend(index, name, color, _HEIGHT - _BOTTOM - 8 - 14 * (len(curves) - 1)))
    return _svg(parts)


def histogram_figure(
    title: str,
    x_label: str,
    groups: Sequence[tuple[str, Sequence[float]]],
    marks: Sequence[tuple[str, float]] = (),
    bins: int = 24,
) -> str:
    """Histograms of several groups of values side by side, with vertical marks.

    Args:
        title: above the figure.
        x_label: below.
        groups: name and values; values that are not finite are left out.
        marks: name and place of vertical lines; those that are not finite are left out.
        bins: number of bins over all groups.

    Returns:
        An SVG element.
    """
    kept = [(name, np.asarray([v for v in values if np.isfinite(v)])) for name, values in groups]
    marks = [(name, value) for name, value in marks if np.isfinite(value)]
    everything = np.concatenate([v for _, v in kept] + [np.array([v for _, v in marks])])
    low = min(0.0, float(everything.min())) if everything.size else 0.0
    high = float(everything.max()) * 1.02 if everything.size else 1.0
    high = high if high > low else low + 1.0
    edges = np.linspace(low, high, bins + 1)
    counts = [np.histogram(values, edges)[0] for _, values in kept]
    top = max([1, *(int(c.max()) for c in counts)])
    parts = [_frame(title, x_label, 'pictures', (low, high), (0, top))]
    slot = (_px(edges[1], low, high) - _px(edges[0], low, high)) / max(1, len(kept))
    for index, ((name, _), count) in enumerate(zip(kept, counts)):
        color = COLORS[index % len(COLORS)]
        for edge, number in zip(edges, count):
            if number:
                y = _py(number, 0, top)
                x = _px(edge, low, high) + index * slot
                parts.append(
                    f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(1.0, slot - 0.5):.1f}" '
                    f'height="{_py(0, 0, top) - y:.1f}" fill="{color}" fill-opacity=".8"/>'
                )
        parts.append(_legend(index, name, color, _TOP + 14))
    for name, value in marks:
        x = _px(value, low, high)
        parts.append(
            f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP}" y2="{_HEIGHT - _BOTTOM}" '
            'stroke="#222" stroke-dasharray="4 3"/>'
            f'<text x="{x + 3:.1f}" y="{_HEIGHT - _BOTTOM - 4}" class="small">'
            f'{escape(name)}</text>'
        )
    return _svg(parts)


def _svg(parts: Sequence[str]) -> str:
    """The parts in an SVG element."""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" '
        f'width="{_WIDTH}" height="{_HEIGHT}" role="img">{"".join(parts)}</svg>'
    )


def _px(value: float, low: float, high: float) -> float:
    """Horizontal place of a value."""
    return _LEFT + (value - low) / (high - low) * (_WIDTH - _LEFT - _RIGHT)


def _py(value: float, low: float, high: float) -> float:
    """Vertical place of a value."""
    return _HEIGHT - _BOTTOM - (value - low) / (high - low) * (_HEIGHT - _TOP - _BOTTOM)


def _ticks(low: float, high: float) -> list[float]:
    """About five round numbers from low to high."""
    step = 10 ** np.floor(np.log10((high - low) / 4))
    while (high - low) / step > 6:
        step *= 2 if round(step / 10 ** np.floor(np.log10(step))) != 2 else 2.5
    first = np.ceil(low / step - 1e-9)
    return [float(step * k) + 0.0 for k in np.arange(first, np.floor(high / step + 1e-9) + 1)]


def _frame(
    title: str,
    x_label: str,
    y_label: str,
    x_range: tuple[float, float],
    y_range: tuple[float, float],
) -> str:
    """Axes, grid and labels."""
    bottom, right = _HEIGHT - _BOTTOM, _WIDTH - _RIGHT
    parts = [
        f'<text x="{_WIDTH / 2}" y="15" class="title">{escape(title)}</text>',
        f'<text x="{(_LEFT + right) / 2}" y="{_HEIGHT - 6}">{escape(x_label)}</text>',
        f'<text x="12" y="{(_TOP + bottom) / 2}" '
        f'transform="rotate(-90 12 {(_TOP + bottom) / 2})">{escape(y_label)}</text>',
    ]
    for value in _ticks(*x_range):
        x = _px(value, *x_range)
        parts.append(
            f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP}" y2="{bottom}" class="grid"/>'
            f'<text x="{x:.1f}" y="{bottom + 13}" class="tick">{value:g}</text>'
        )
    for value in _ticks(*y_range):
        y = _py(value, *y_range)
        parts.append(
            f'<line x1="{_LEFT}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}" class="grid"/>'
            f'<text x="{_LEFT - 4}" y="{y + 3:.1f}" class="tick end">{value:g}</text>'
        )
    parts.append(
        f'<rect x="{_LEFT}" y="{_TOP}" width="{right - _LEFT}" height="{bottom - _TOP}" '
        'fill="none" stroke="#888"/>'
    )
    return ''.join(parts)


def _legend(index: int, name: str, color: str, y: float) -> str:
    """One line of the legend; its first line is at y."""
    return (
        f'<text x="{_WIDTH - _RIGHT - 8}" y="{y + 14 * index}" class="end" '
        f'style="fill:{color}">{escape(name)}</text>'
    )


def _clip_curve(x: np.ndarray, y: np.ndarray, limit: float) -> tuple[np.ndarray, np.ndarray]:
    """A curve up to a limit, with few enough points to draw."""
    end = np.interp(limit, x, y)
    keep = x <= limit
    x, y = np.append(x[keep], limit), np.append(y[keep], end)
    if len(x) > _MAX_POINTS:
        grid = np.linspace(0, limit, _MAX_POINTS)
        x, y = np.append(0.0, grid), np.append(y[0], np.interp(grid, x, y))
    return x, y
