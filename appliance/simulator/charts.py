"""Line charts as SVG text, without a library: one panel per measure, a logarithmic axis."""

import math
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 380, 300
LEFT, RIGHT, TOP, BOTTOM = 56, 12, 34, 40
LEGEND = 20
COLOURS = ("#d62728", "#1f77b4", "#2ca02c", "#9467bd", "#ff7f0e", "#8c564b", "#17becf", "#7f7f7f")


@dataclass(frozen=True)
class Panel:
    """`lines` maps a name to one value per entry of `ticks`; all values must be positive."""

    title: str
    ticks: tuple[str, ...]
    lines: dict[str, list[float]]
    unit: str


def chart(title: str, panels: list[Panel]) -> str:
    """The panels side by side under one title, with one legend."""
    names = list(panels[0].lines)
    width, height = WIDTH * len(panels), HEIGHT + LEGEND * -(-len(names) // 4) + 30
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="12">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
        f'<text x="{width / 2}" y="18" text-anchor="middle" font-size="15">{escape(title)}</text>',
    ]
    for number, panel in enumerate(panels):
        parts.append(f'<g transform="translate({number * WIDTH} 24)">')
        parts += _panel(panel)
        parts.append("</g>")
    for number, name in enumerate(names):
        x = 30 + (number % 4) * (width - 40) / 4
        y = HEIGHT + 40 + LEGEND * (number // 4)
        colour = COLOURS[number % len(COLOURS)]
        parts.append(
            f'<line x1="{x}" x2="{x + 22}" y1="{y}" y2="{y}" stroke="{colour}" stroke-width="3"/>'
            f'<text x="{x + 28}" y="{y + 4}">{escape(name)}</text>'
        )
    return "\n".join([*parts, "</svg>", ""])


def _panel(panel: Panel) -> list[str]:
    values = [value for line in panel.lines.values() for value in line]
    low = math.floor(math.log10(min(values)) * 2) / 2
    high = max(low + 0.5, math.ceil(math.log10(max(values)) * 2) / 2)

    def y(value: float) -> float:
        share = (math.log10(value) - low) / (high - low)
        return HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)

    def x(index: int) -> float:
        steps = max(1, len(panel.ticks) - 1)
        return LEFT + (WIDTH - LEFT - RIGHT) * index / steps

    parts = [f'<text x="{LEFT}" y="{TOP - 12}">{escape(panel.title)}, {panel.unit}</text>']
    for half in range(round(low * 2), round(high * 2) + 1):
        at, value = y(10 ** (half / 2)), 10 ** (half / 2)
        parts.append(
            f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{at:.1f}" y2="{at:.1f}" stroke="#ddd"/>'
            f'<text x="{LEFT - 6}" y="{at + 4:.1f}" text-anchor="end">{value:.3g}</text>'
        )
    for index, tick in enumerate(panel.ticks):
        parts.append(
            f'<text x="{x(index):.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">'
            f"{escape(tick)}</text>"
        )
    for number, line in enumerate(panel.lines.values()):
        points = " ".join(f"{x(i):.1f},{y(value):.1f}" for i, value in enumerate(line))
        width = 3.5 if number == 0 else 1.5
        parts.append(
            f'<polyline points="{points}" fill="none" stroke="{COLOURS[number % len(COLOURS)]}" '
            f'stroke-width="{width}"/>'
        )
    return parts
