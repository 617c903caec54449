"""Bars and lines as SVG, readable on light and dark pages."""

from xml.sax.saxutils import escape

WIDTH, LABELS, BAR, GAP = 720, 150, 22, 8
STYLE = (
    "<style>text{font:13px system-ui,sans-serif;fill:#1c2127}.title{font-weight:600}"
    ".ours{fill:#0a5fc2}.others{fill:#98a2ae}"
    "@media(prefers-color-scheme:dark){text{fill:#e4e8ed}.ours{fill:#75b3ff}.others{fill:#59636e}}</style>"
)


def bars(title: str, unit: str, values: dict[str, float], ours: set[str]) -> str:
    """Return a horizontal bar for each value."""
    longest = max(values.values())
    height = 40 + len(values) * (BAR + GAP)
    parts = [f'<text class="title" x="0" y="18">{escape(title)}</text>']
    for index, (name, value) in enumerate(values.items()):
        top = 36 + index * (BAR + GAP)
        width = (WIDTH - LABELS - 110) * value / longest
        kind = "ours" if name in ours else "others"
        parts += [
            f'<text x="{LABELS - 10}" y="{top + 16}" text-anchor="end">{escape(name)}</text>',
            f'<rect class="{kind}" x="{LABELS}" y="{top}" width="{width:.1f}" height="{BAR}" rx="3"/>',
            f'<text x="{LABELS + width + 8:.1f}" y="{top + 16}">{value:.1f} {escape(unit)}</text>',
        ]
    box = f'viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(title)}"'
    return "\n".join([f'<svg xmlns="http://www.w3.org/2000/svg" {box}>', STYLE, *parts, "</svg>", ""])
