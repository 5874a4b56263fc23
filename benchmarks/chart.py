"""A bar chart as SVG, readable on light and on dark."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from benchmarks.figures import number

WIDTH, LABEL, BAR, GAP, ROW, HEAD = 860, 210, 16, 90, 24, 44
STYLE = """
    text { font: 13px system-ui, sans-serif; fill: #1f2328 }
    .title { font-weight: 600; font-size: 14px }
    .bar { fill: #8c959f } .ours { fill: #1a7f37 } .limit { fill: none; stroke: #57606a;
      stroke-dasharray: 3 2 } .spread { stroke: #1f2328; stroke-width: 1 }
    .ours-text { font-weight: 600 }
    @media (prefers-color-scheme: dark) {
      text { fill: #e6edf3 } .bar { fill: #6e7681 } .ours { fill: #3fb950 }
      .limit { stroke: #9198a1 } .spread { stroke: #e6edf3 }
    }
"""


@dataclass(frozen=True)
class Bar:
    """One system's median and spread. `kind`: "ours", "limit" or "bar"."""

    label: str
    kind: str
    median: float
    low: float
    high: float


@dataclass(frozen=True)
class Panel:
    """One group of bars under a title."""

    title: str
    bars: Sequence[Bar]


def render(panels: Sequence[Panel]) -> str:
    """Return the chart: one panel under the other, each with a scale of its own."""
    shown = [panel for panel in panels if panel.bars]
    parts, top = list[str](), 0
    for panel in shown:
        parts += _panel(panel, top)
        top += HEAD + ROW * len(panel.bars)
    height = top + 12
    title = escape("; ".join(panel.title for panel in shown))
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
        f'width="{WIDTH}" height="{height}" role="img" aria-label="{title}">\n'
        f"<style>{STYLE}</style>\n{body}\n</svg>\n"
    )


def _panel(panel: Panel, top: int) -> list[str]:
    most = max(bar.high for bar in panel.bars) or 1
    scale = (WIDTH - LABEL - GAP) / most
    lines = [f'<text class="title" x="0" y="{top + 28}">{escape(panel.title)}</text>']
    for place, bar in enumerate(panel.bars):
        y = top + HEAD + place * ROW
        lines += _bar(bar, y, scale)
    return lines


def _bar(bar: Bar, y: int, scale: float) -> list[str]:
    middle, end = y + BAR / 2, LABEL + bar.high * scale
    text = ' class="ours-text"' if bar.kind == "ours" else ""
    return [
        f'<text{text} x="{LABEL - 8}" y="{y + 13}" text-anchor="end">{escape(bar.label)}</text>',
        f'<rect class="{bar.kind}" x="{LABEL}" y="{y}" width="{bar.median * scale:.1f}" '
        f'height="{BAR}" rx="2"/>',
        f'<line class="spread" x1="{LABEL + bar.low * scale:.1f}" x2="{end:.1f}" '
        f'y1="{middle}" y2="{middle}"/>',
        f'<text{text} x="{end + 8:.1f}" y="{y + 13}">{number(bar.median)}</text>',
    ]
