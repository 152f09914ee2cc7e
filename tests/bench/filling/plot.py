"""Line plots as SVG, small enough to be read in a review."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

Points = Sequence[tuple[float, float]]
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 640, 320, 60, 170, 34, 44
COLOURS = ("#0b62a4", "#c2410c", "#15803d", "#7e22ce", "#57534e")


def lines(title: str, across: str, series: Mapping[str, Points], *, logarithmic: bool = False) -> str:
    """Return the SVG of `series` over a logarithmic axis `across`; `logarithmic`: the other axis, too."""
    places = [place for points in series.values() for place in points]
    lowest, highest = min(x for x, _ in places), max(x for x, _ in places)
    top, bottom = max(y for _, y in places) * 1.08, (min(y for _, y in places) if logarithmic else 0.0)

    def x_of(x: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * (math.log(x / lowest) / math.log(highest / lowest) if highest > lowest else 0.5)

    def y_of(y: float) -> float:
        share = math.log(y / bottom) / math.log(top / bottom) if logarithmic else (y - bottom) / (top - bottom)
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * share

    parts = [f'<text x="{LEFT}" y="18" font-size="14">{escape(title)}</text>']
    for y in _ticks(bottom, top, logarithmic):
        parts.append(f'<path d="M{LEFT} {y_of(y):.1f}H{WIDTH - RIGHT}" stroke="#d6d3d1"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y_of(y) + 4:.1f}" text-anchor="end">{y:.3g}</text>')
    for x in sorted({x for x, _ in places}):
        parts.append(f'<text x="{x_of(x):.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{x:g}</text>')
    parts.append(f'<text x="{(LEFT + WIDTH - RIGHT) / 2:.0f}" y="{HEIGHT - 8}" text-anchor="middle">{escape(across)}</text>')
    for number, (name, points) in enumerate(series.items()):
        colour, y = COLOURS[number % len(COLOURS)], TOP + 10 + 18 * number
        path = " ".join(f"{x_of(x):.1f},{y_of(y_):.1f}" for x, y_ in points)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [f'<circle cx="{x_of(x):.1f}" cy="{y_of(y_):.1f}" r="3" fill="{colour}"/>' for x, y_ in points]
        parts.append(f'<text x="{WIDTH - RIGHT + 12}" y="{y + 4}" fill="{colour}">{escape(name)}</text>')
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="11">'
    return "\n".join([head, f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>', *parts, "</svg>", ""])


def _ticks(bottom: float, top: float, logarithmic: bool) -> list[float]:
    if logarithmic:
        return [10.0**power for power in range(math.ceil(math.log10(bottom)), math.floor(math.log10(top)) + 1)]
    step = next(step for step in (0.1, 0.2, 0.25, 0.5, 1, 2, 5, 10, 20, 50, 100) if top / step <= 8)
    return [step * number for number in range(int(top / step) + 1)]
