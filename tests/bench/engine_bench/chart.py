"""The chart of ratios: one bar per measure with a line at 1, as SVG for light and dark pages."""

from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

WIDTH, LABEL_WIDTH, ROW, TOP = 760, 300, 26, 56
STYLE = """
text { font: 13px system-ui, sans-serif; fill: #24292f }
.faint { fill: #57606a } .axis { stroke: #57606a }
.better { fill: #1a7f64 } .worse { fill: #bf5f00 }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 } .faint { fill: #9aa4b0 } .axis { stroke: #9aa4b0 }
  .better { fill: #3fb68b } .worse { fill: #e3893b }
}
"""


@dataclass(frozen=True, slots=True)
class Bar:
    """How many times better than the other server; 1 is equal."""

    label: str
    factor: float


def svg(bars: Sequence[Bar], *, title: str, note: str) -> str:
    """A chart as SVG text; the longest bar is as long as there is room."""
    height = TOP + ROW * len(bars) + 34
    longest = max(1.0, *(bar.factor for bar in bars)) if bars else 1.0
    unit = (WIDTH - LABEL_WIDTH - 70) / longest
    equal = LABEL_WIDTH + unit
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
        f'width="{WIDTH}" height="{height}" role="img" aria-label="{escape(title)}">',
        f"<style>{STYLE}</style>",
        f'<text x="12" y="24" font-weight="600">{escape(title)}</text>',
    ]
    for number, bar in enumerate(bars):
        parts += _row(bar, TOP + ROW * number, unit)
    parts += [
        f'<line class="axis" x1="{equal:.1f}" y1="{TOP - 8}" x2="{equal:.1f}" '
        f'y2="{TOP + ROW * len(bars)}" stroke-dasharray="4 3"/>',
        f'<text class="faint" x="{equal:.1f}" y="{TOP - 12}" text-anchor="middle">equal</text>',
        f'<text class="faint" x="12" y="{height - 12}">{escape(note)}</text>',
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _row(bar: Bar, y: int, unit: float) -> list[str]:
    length = unit * bar.factor
    kind = "better" if bar.factor >= 1 else "worse"
    return [
        f'<text x="{LABEL_WIDTH - 10}" y="{y + 15}" text-anchor="end">{escape(bar.label)}</text>',
        f'<rect class="{kind}" x="{LABEL_WIDTH}" y="{y + 3}" width="{length:.1f}" '
        f'height="{ROW - 8}" rx="2"/>',
        f'<text x="{LABEL_WIDTH + length + 6:.1f}" y="{y + 15}">{bar.factor:.2f} ×</text>',
    ]
